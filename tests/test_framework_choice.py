"""Which lock files the launcher installs for the card in the computer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from inventory import gather
from provision.commands import framework_choice
from tests import scenario


@pytest.mark.parametrize(
    ("name", "arguments", "printed"),
    [
        ("cpu_only", [], "cpu:no card that can train"),
        ("cpu_only", ["--framework", "torch"], "cpu torch-cpu:no card that can train"),
        ("rtx3060_idle", [], "cuda:for GeForce RTX 3060 12GB"),
        ("rtx3060_idle", ["--framework", "torch"], "torch-cuda:"),
        ("rtx3060_idle", ["--framework", "jax"], "cuda jax-cuda:"),
    ],
)
def test_the_build_follows_the_plan(
    name: str,
    arguments: list[str],
    printed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    machine = scenario.load(name).machine(tmp_path)
    monkeypatch.setattr(gather, "gather", lambda: machine)
    assert framework_choice.main(arguments) == 0
    assert capsys.readouterr().out.startswith(printed)


def test_this_python_fits_and_a_bare_one_does_not(tmp_path: Path) -> None:
    assert framework_choice.fits(Path(sys.executable))
    assert not framework_choice.fits(tmp_path / "python")
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    assert not framework_choice.fits(bare)
