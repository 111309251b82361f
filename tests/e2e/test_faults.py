"""Interrupted installations: the next run repairs and finishes them."""

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
from tests.e2e.container import Container
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
def role_vars(container: Container, tmp_path: Path) -> dict[str, Any]:
    """Variables with a lock file that takes some time to install; the container is reset."""
    container.reset()
    container.output("sudo apt-get update -q", timeout_s=300)
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
    """uv's lock file, as in a plan."""
    path = folder / "uv.txt"
    path.write_text(lockfiles.lock([INSTALLER + INSTALLER_BOUNDS], "3.11"))
    return path


def start(
    container: base.TargetMachine,
    folder: Path,
    role_vars: dict[str, Any],
    tags: tuple[str, ...] = ("frameworks",),
) -> subprocess.Popen[bytes]:
    """Start a controller in a separate process."""
    container.inventory(folder)
    (folder / "variables.json").write_text(json.dumps({container.name: role_vars}))
    return subprocess.Popen([sys.executable, "-c", CONTROLLER, str(folder), *tags], cwd=ROOT)


def wait_for_pip(container: Container) -> None:
    """Wait for the first package: uv puts it into its cache, pip into the environment."""
    deadline = time.monotonic() + 300
    places = ("cache/uv-cache/archive-v0/*/*", "versions/*/lib/python3*/site-packages/numpy")
    while not any(path for place in places for path in container.root.glob(f"opt/dlbox/{place}")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finishes(container: Container, folder: Path, role_vars: dict[str, Any]) -> None:
    assert play(container, folder, "site.yml", role_vars, "frameworks").status == "changed"
    assert container.output(WORKS).startswith("2.718")
    assert play(container, folder, "site.yml", role_vars, "frameworks").changed == ()


def test_a_power_cut_while_pip_works(container: Container, role_vars: dict[str, Any], tmp_path: Path) -> None:
    controller = start(container, tmp_path, role_vars)
    wait_for_pip(container)
    container.kill()
    assert controller.wait(timeout=240) == 0
    container.boot()
    assert container.run(WORKS).returncode != 0
    finishes(container, tmp_path, role_vars)


def test_killing_the_controller_while_pip_works(
    container: Container, role_vars: dict[str, Any], tmp_path: Path
) -> None:
    controller = start(container, tmp_path, role_vars)
    wait_for_pip(container)
    family = psutil.Process(controller.pid).children(recursive=True)
    for process in (psutil.Process(controller.pid), *family):
        process.kill()
    controller.wait()
    finishes(container, tmp_path, role_vars)


def test_a_second_run_is_refused_and_the_first_finishes(
    container: Container, role_vars: dict[str, Any], tmp_path: Path
) -> None:
    controller = start(container, tmp_path, role_vars)
    wait_for_pip(container)
    second = play(container, tmp_path, "rollback.yml", role_vars)
    assert (second.status, second.changed) == ("failed", ())
    assert second.task == "preflight: No other run works on this machine"
    assert "has been at work on this box with `dlbox provision` since" in (second.message or "")
    assert controller.wait(timeout=240) == 0
    assert play(container, tmp_path, "site.yml", role_vars, "frameworks").changed == ()
