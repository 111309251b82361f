"""Which framework the launcher installs for the card in the computer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from provision.commands import framework_choice
from tests import scenario


@pytest.mark.parametrize(
    ("name", "build", "why"),
    [
        ("cpu_only", "cpu", "no NVIDIA card is on the bus"),
        ("rtx3060_idle", "cuda", "for GeForce RTX 3060 12GB"),
    ],
)
def test_the_build_follows_the_plan(name: str, build: str, why: str, tmp_path: Path) -> None:
    machine = scenario.load(name).machine(tmp_path)
    assert framework_choice.choose(machine) == (build, why)


def test_this_python_fits_and_a_bare_one_does_not(tmp_path: Path) -> None:
    assert framework_choice.fits(Path(sys.executable))
    assert not framework_choice.fits(tmp_path / "python")
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    assert not framework_choice.fits(bare)
