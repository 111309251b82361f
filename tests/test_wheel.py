"""The installed wheel: the command works with its own data files, without the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.samples import document


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel, first on the path."""
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run(site: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    packages = "bench, inventory, provision, workshops"
    where = f"import {packages}; assert all(m.__file__.startswith({str(site)!r}) for m in ({packages}))"
    code = f"{where}; import sys, dlbox; sys.argv = ['dlbox', *{list(arguments)!r}]; dlbox.main()"
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(site)},
    )


def test_the_wheel_contains_only_the_packages(installed: Path) -> None:
    top = {p.name for p in installed.iterdir() if not p.name.endswith(".dist-info")}
    assert top == {"dlbox.py", "common", "inventory", "provision", "bench", "workshops"}
    for name in (
        "inventory/cards/catalogue/mining.yml",
        "inventory/cards/pci_ids.tsv",
        "bench/results/record/schema.json",
        "bench/results/report/templates/report.html",
    ):
        assert (installed / name).is_file(), name


def test_plan_parts_check_and_report_run_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    planned = run(installed, "plan", "--card", "RTX 3060", "--distro", "ubuntu-24.04", "--json", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["driver"]["branch"] >= 535
    (tmp_path / "hosts.yml").write_text("all: {hosts: {'desk-[1:3]': {card: RTX 5060, distribution: noble}}}")
    several = run(installed, "plan", "--inventory", "hosts.yml", "--json", cwd=tmp_path)
    assert list(json.loads(several.stdout)["hosts"]) == ["desk-1", "desk-2", "desk-3"], several.stderr
    judged = run(installed, "parts", "under-1000", "--json", cwd=tmp_path)
    assert json.loads(judged.stdout)["build"]["card"] == "GeForce RTX 5060", judged.stderr
    checked = run(installed, "check", "--json", cwd=tmp_path)
    assert json.loads(checked.stdout)["command"] == "check", checked.stderr

    from bench.results.store.history import History, default_path

    history = History(default_path())
    history.save(history.begin(document()), document(), "complete")
    history.close()
    reported = run(installed, "report", "--output", str(tmp_path), cwd=tmp_path)
    assert reported.returncode == 0, reported.stderr
    assert Path(reported.stdout.strip()).read_text().startswith("<!doctype html>")
