"""What goes wrong in the middle of an installation: the next run repairs it and finishes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from provision.artifacts import lockfiles
from provision.artifacts.environments import INSTALLER, INSTALLER_BOUNDS
from tests.conftest import ROOT
from tests.e2e import base
from tests.e2e.bed import Bed
from tests.e2e.test_provision import play

WORKS = (
    "/opt/dlbox/venv/tensorflow/bin/python -c 'import matplotlib.pyplot, numpy, scipy.linalg; print(numpy.e)'"
)
CONTROLLER = """
import json, sys
from pathlib import Path
from provision.ansible import playbook
from tests.test_playbook import RecordingProgress
folder = Path(sys.argv[1])
job = playbook.PlaybookJob(playbook=Path("site.yml"), inventories=(folder / "hosts.yml",), tags=tuple(sys.argv[2:]),
                   variables=json.loads((folder / "variables.json").read_text()))
playbook.run(job, RecordingProgress(), folder / "logs")
"""


@pytest.fixture
def told(bed: Bed, tmp_path: Path) -> dict[str, Any]:
    """A lock file that takes pip a while, on a bed as new."""
    bed.reset()
    bed.output("sudo apt-get update -q", timeout_s=300)
    lock = tmp_path / "lock.txt"
    needs = ["numpy", "matplotlib", "scipy"]
    lock.write_text(lockfiles.lock(needs, "3.11"))
    return {
        "site_preflight": False,
        "environment_uv_lock": str(uv_lock(tmp_path)),
        "frameworks_environments": [{"name": "tensorflow", "lock": str(lock)}],
        "frameworks_python_packages": ["python3", "python3-venv"],
        "extra_ca_bundle": os.environ.get("SSL_CERT_FILE", ""),
    }


def uv_lock(folder: Path) -> Path:
    """As a plan names it."""
    path = folder / "uv.txt"
    path.write_text(lockfiles.lock([INSTALLER + INSTALLER_BOUNDS], "3.11"))
    return path


def start(
    bed: base.Box, folder: Path, told: dict[str, Any], tags: tuple[str, ...] = ("frameworks",)
) -> subprocess.Popen[bytes]:
    """A controller in a process of its own."""
    bed.inventory(folder)
    (folder / "variables.json").write_text(json.dumps({bed.name: told}))
    return subprocess.Popen([sys.executable, "-c", CONTROLLER, str(folder), *tags], cwd=ROOT)


def wait_for_pip(bed: Bed) -> None:
    """Until packages begin to come: uv's into its cache, pip's to where they belong."""
    deadline = time.monotonic() + 300
    places = ("cache/uv-cache/archive-v0/*/*", "versions/*/lib/python3*/site-packages/numpy")
    while not any(path for place in places for path in bed.root.glob(f"opt/dlbox/{place}")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finishes(bed: Bed, folder: Path, told: dict[str, Any]) -> None:
    assert play(bed, folder, "site.yml", told, "frameworks").status == "changed"
    assert bed.output(WORKS).startswith("2.718")
    assert play(bed, folder, "site.yml", told, "frameworks").changed == ()


def test_a_power_cut_while_pip_works(bed: Bed, told: dict[str, Any], tmp_path: Path) -> None:
    controller = start(bed, tmp_path, told)
    wait_for_pip(bed)
    bed.kill()
    assert controller.wait(timeout=240) == 0
    bed.boot()
    assert bed.run(WORKS).returncode != 0
    finishes(bed, tmp_path, told)


def test_the_controller_is_killed_while_pip_works(bed: Bed, told: dict[str, Any], tmp_path: Path) -> None:
    controller = start(bed, tmp_path, told)
    wait_for_pip(bed)
    family = psutil.Process(controller.pid).children(recursive=True)
    for process in (psutil.Process(controller.pid), *family):
        process.kill()
    controller.wait()
    finishes(bed, tmp_path, told)


def test_a_second_run_is_refused_and_the_first_one_finishes(
    bed: Bed, told: dict[str, Any], tmp_path: Path
) -> None:
    controller = start(bed, tmp_path, told)
    wait_for_pip(bed)
    second = play(bed, tmp_path, "rollback.yml", told)
    assert (second.status, second.changed) == ("failed", ())
    assert second.task == "preflight: No other run works on this box"
    assert "has been at work on this box with `dlbox provision` since" in (second.message or "")
    assert controller.wait(timeout=240) == 0
    assert play(bed, tmp_path, "site.yml", told, "frameworks").changed == ()
