"""Faults outside dlbox: network, disk, a locked apt, an unknown card."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.artifacts import lockfiles
from provision.commands import provision
from provision.commands.interaction import Interaction
from provision.commands.options import ProvisionOptions
from tests.e2e.container import Container
from tests.e2e.test_faults import WORKS, start, uv_lock, wait_for_pip
from tests.e2e.test_provision import play
from tests.test_playbook import RecordingProgress

FRAMEWORKS = "frameworks"


@contextlib.contextmanager
def open_progress() -> Iterator[RecordingProgress]:
    yield RecordingProgress()


@pytest.fixture(scope="module")
def island(containers_available: None) -> Iterator[Container]:
    """Debian 12 with its own network."""
    with Container("island", own_network=True) as started:
        yield started


def packages(folder: Path, *needs: str) -> dict[str, Any]:
    """Variables for an environment with these packages; python3-venv is not installed yet."""
    lock = folder / "lock.txt"
    lock.write_text(lockfiles.lock(needs, "3.11"))
    return {
        "site_preflight": False,
        "environment_uv_lock": str(uv_lock(folder)),
        "frameworks_environments": [{"name": "tensorflow", "lock": str(lock)}],
        "frameworks_python_packages": ["python3", "python3-venv"],
        "frameworks_pip_retries": 0,
        "extra_ca_bundle": os.environ.get("SSL_CERT_FILE", ""),
    }


def finishes(container: Container, folder: Path, variables: dict[str, Any]) -> None:
    assert play(container, folder, "site.yml", variables, FRAMEWORKS).status == "changed"
    assert play(container, folder, "site.yml", variables, FRAMEWORKS).changed == ()


def test_no_internet_access_during_apt_then_during_pip(island: Container, tmp_path: Path) -> None:
    """The controller always reaches the box; the box has no internet access, first during apt, then during pip."""
    variables = packages(tmp_path, "six==1.17.0")
    island.network.cut_internet()
    cut = play(island, tmp_path, "site.yml", variables, FRAMEWORKS)
    assert cut.status == "failed"
    assert "check its network" in (cut.message or "")
    assert cut.task is not None
    assert cut.task.startswith("record: "), cut.task
    island.network.restore()
    island.output("sudo apt-get update -q && sudo apt-get install -q -y python3-venv", timeout_s=300)
    island.network.cut_internet()
    cut = play(island, tmp_path, "site.yml", variables, FRAMEWORKS)
    assert (cut.status, cut.task) == ("failed", "environment: The packages are installed"), cut
    assert "check its network" in (cut.message or "")
    assert island.run("test -e /opt/dlbox/venv/tensorflow").returncode == 1
    island.network.restore()
    finishes(island, tmp_path, variables)


def test_the_cable_is_pulled_while_pip_works(island: Container, tmp_path: Path) -> None:
    island.reset()
    island.output("sudo apt-get update -q", timeout_s=300)
    variables = packages(tmp_path, "numpy", "matplotlib", "scipy")
    controller = start(island, tmp_path, variables)
    wait_for_pip(island)
    island.network.cut()
    assert controller.wait(timeout=400) == 0
    island.network.restore()
    island.wait()
    assert play(island, tmp_path, "site.yml", variables, FRAMEWORKS).status in ("ok", "changed")
    assert island.output(WORKS).startswith("2.718")
    assert play(island, tmp_path, "site.yml", variables, FRAMEWORKS).changed == ()


def test_a_full_disk_below_opt(container: Container, tmp_path: Path) -> None:
    container.reset()
    container.output("sudo apt-get update -q; sudo mount -t tmpfs -o size=40M none /opt", timeout_s=300)
    variables = packages(tmp_path, "numpy")
    full = play(container, tmp_path, "site.yml", variables, FRAMEWORKS)
    assert full.status == "failed"
    assert "No space left on device" in (full.message or ""), full.message
    container.output("sudo mount -o remount,size=2G /opt")
    finishes(container, tmp_path, variables)


def test_a_full_disk_below_apts_cache(container: Container, tmp_path: Path) -> None:
    container.reset()
    container.output(
        "sudo apt-get update -q; sudo mount -t tmpfs -o size=2M none /var/cache/apt/archives;"
        " sudo mkdir -p /var/cache/apt/archives/partial",
        timeout_s=300,
    )
    variables = packages(tmp_path, "six==1.17.0") | {"frameworks_python_packages": ["python3-venv", "gcc"]}
    full = play(container, tmp_path, "site.yml", variables, FRAMEWORKS)
    assert full.status == "failed"
    assert "enough free space" in (full.message or "") or "No space left" in (full.message or ""), (
        full.message
    )
    container.output("sudo umount /var/cache/apt/archives")
    finishes(container, tmp_path, variables)


def test_too_little_disk_space_is_reported_before_any_change(container: Container, tmp_path: Path) -> None:
    container.reset()
    container.output("sudo mount -t tmpfs -o size=1G none /opt")
    before = container.output("dpkg -l")
    refused = play(container, tmp_path, "preflight.yml", {})
    assert refused.status == "failed"
    assert "/opt has 1.0 GiB free and 8 are needed" in (refused.message or ""), refused.message
    assert container.output("dpkg -l") == before


HOLD = """
import fcntl, os, time
lock = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
with open("/root/number", "w") as file:
    file.write(str(os.getpid()))
os.rename("/root/number", "/root/held")
time.sleep({})
"""


def lock_apt(container: Container, seconds: int) -> str:
    """Start a program that keeps apt's lock for this many seconds; returns its process id."""
    (container.root / "root/hold.py").write_text(HOLD.format(seconds))
    container.output("sudo sh -c 'nohup python3 /root/hold.py >/root/hold.log 2>&1 </dev/null &'")
    deadline = time.monotonic() + 60
    while not (container.root / "root/held").exists():
        assert time.monotonic() < deadline, (container.root / "root/hold.log").read_text()
        time.sleep(0.1)
    return (container.root / "root/held").read_text()


def test_the_process_that_locks_apt_is_named_after_a_wait(container: Container, tmp_path: Path) -> None:
    container.reset()
    number = lock_apt(container, 600)
    began = time.monotonic()
    refused = play(container, tmp_path, "preflight.yml", {"preflight_lock_timeout_s": 10})
    assert time.monotonic() - began >= 10
    assert refused.status == "failed"
    assert f"python3, process {number} has held apt's lock for 10 s" in (refused.message or ""), (
        refused.message
    )
    container.output(f"sudo kill {number}")
    assert play(container, tmp_path, "preflight.yml", {"preflight_lock_timeout_s": 10}).status == "ok"


def test_the_run_waits_until_apt_is_unlocked(container: Container, tmp_path: Path) -> None:
    container.reset()
    lock_apt(container, 15)
    assert play(container, tmp_path, "preflight.yml", {}).status == "ok"


@pytest.mark.parametrize(
    ("card", "words"),
    [("0x1180", "Kepler family, which drivers serve up to branch 470"), ("0x5abc", "no family")],
    ids=["Kepler", "of the future"],
)
def test_a_card_without_a_known_driver(
    containers_available: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    card: str,
    words: str,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with Container("unknown", cards=[card]) as box:
        before = box.output("dpkg -l")
        options = ProvisionOptions(hosts=(box.name,), inventory=box.inventory(tmp_path))
        messages: list[str] = []
        assert (
            provision.run(options, Interaction(open_progress, lambda question: True, messages.append, True))
            == 1
        )
        (host,) = json.loads(capsys.readouterr().out)["hosts"]
        assert host["status"] == "failed"
        assert words in host["message"], host["message"]
        assert f"10de:{card[2:]}" in host["message"]
        assert box.output("dpkg -l") == before
