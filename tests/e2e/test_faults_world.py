"""What goes wrong around the box: the network, the disk, a foreign hold on apt's lock, a card nobody has heard of."""

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
from tests.e2e.bed import Bed
from tests.e2e.test_faults import WORKS, start, uv_lock, wait_for_pip
from tests.e2e.test_provision import play
from tests.test_playbook import RecordingProgress

FRAMEWORKS = "frameworks"


@contextlib.contextmanager
def open_progress() -> Iterator[RecordingProgress]:
    yield RecordingProgress()


@pytest.fixture(scope="module")
def island(beds_are_possible: None) -> Iterator[Bed]:
    """Debian 12 with a network of its own."""
    with Bed("island", own_network=True) as machine:
        yield machine


def packages(folder: Path, *needs: str) -> dict[str, Any]:
    """An environment of some packages, on a bed whose Python cannot make environments yet."""
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


def finishes(bed: Bed, folder: Path, told: dict[str, Any]) -> None:
    assert play(bed, folder, "site.yml", told, FRAMEWORKS).status == "changed"
    assert play(bed, folder, "site.yml", told, FRAMEWORKS).changed == ()


def test_no_way_to_the_archive_then_none_to_the_index(island: Bed, tmp_path: Path) -> None:
    """The controller reaches the box all the time; the box reaches nothing, first before apt, then before pip."""
    told = packages(tmp_path, "six==1.17.0")
    island.network.cut_off_the_world()
    cut = play(island, tmp_path, "site.yml", told, FRAMEWORKS)
    assert cut.status == "failed"
    assert "check its network" in (cut.message or "")
    assert cut.task is not None
    assert cut.task.startswith("record: "), cut.task
    island.network.mend()
    island.output("sudo apt-get update -q && sudo apt-get install -q -y python3-venv", timeout_s=300)
    island.network.cut_off_the_world()
    cut = play(island, tmp_path, "site.yml", told, FRAMEWORKS)
    assert (cut.status, cut.task) == ("failed", "environment: The packages are installed"), cut
    assert "check its network" in (cut.message or "")
    assert island.run("test -e /opt/dlbox/venv/tensorflow").returncode == 1
    island.network.mend()
    finishes(island, tmp_path, told)


def test_the_cable_is_pulled_while_pip_works(island: Bed, tmp_path: Path) -> None:
    island.reset()
    island.output("sudo apt-get update -q", timeout_s=300)
    told = packages(tmp_path, "numpy", "matplotlib", "scipy")
    controller = start(island, tmp_path, told)
    wait_for_pip(island)
    island.network.cut()
    assert controller.wait(timeout=400) == 0
    island.network.mend()
    island.wait()
    assert play(island, tmp_path, "site.yml", told, FRAMEWORKS).status in ("ok", "changed")
    assert island.output(WORKS).startswith("2.718")
    assert play(island, tmp_path, "site.yml", told, FRAMEWORKS).changed == ()


def test_a_full_disk_below_opt(bed: Bed, tmp_path: Path) -> None:
    bed.reset()
    bed.output("sudo apt-get update -q; sudo mount -t tmpfs -o size=40M none /opt", timeout_s=300)
    told = packages(tmp_path, "numpy")
    full = play(bed, tmp_path, "site.yml", told, FRAMEWORKS)
    assert full.status == "failed"
    assert "No space left on device" in (full.message or ""), full.message
    bed.output("sudo mount -o remount,size=2G /opt")
    finishes(bed, tmp_path, told)


def test_a_full_disk_below_apts_cache(bed: Bed, tmp_path: Path) -> None:
    bed.reset()
    bed.output(
        "sudo apt-get update -q; sudo mount -t tmpfs -o size=2M none /var/cache/apt/archives;"
        " sudo mkdir -p /var/cache/apt/archives/partial",
        timeout_s=300,
    )
    told = packages(tmp_path, "six==1.17.0") | {"frameworks_python_packages": ["python3-venv", "gcc"]}
    full = play(bed, tmp_path, "site.yml", told, FRAMEWORKS)
    assert full.status == "failed"
    assert "enough free space" in (full.message or "") or "No space left" in (full.message or ""), (
        full.message
    )
    bed.output("sudo umount /var/cache/apt/archives")
    finishes(bed, tmp_path, told)


def test_too_little_room_is_said_before_anything_is_done(bed: Bed, tmp_path: Path) -> None:
    bed.reset()
    bed.output("sudo mount -t tmpfs -o size=1G none /opt")
    before = bed.output("dpkg -l")
    refused = play(bed, tmp_path, "preflight.yml", {})
    assert refused.status == "failed"
    assert "/opt has 1.0 GiB free and 8 are needed" in (refused.message or ""), refused.message
    assert bed.output("dpkg -l") == before


HOLD = """
import fcntl, os, time
lock = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
with open("/root/number", "w") as file:
    file.write(str(os.getpid()))
os.rename("/root/number", "/root/held")
time.sleep({})
"""


def held(bed: Bed, seconds: int) -> str:
    """A stranger's program that has apt's lock for so many seconds; its process number."""
    (bed.root / "root/hold.py").write_text(HOLD.format(seconds))
    bed.output("sudo sh -c 'nohup python3 /root/hold.py >/root/hold.log 2>&1 </dev/null &'")
    deadline = time.monotonic() + 60
    while not (bed.root / "root/held").exists():
        assert time.monotonic() < deadline, (bed.root / "root/hold.log").read_text()
        time.sleep(0.1)
    return (bed.root / "root/held").read_text()


def test_who_holds_the_lock_is_named_after_a_wait(bed: Bed, tmp_path: Path) -> None:
    bed.reset()
    number = held(bed, 600)
    began = time.monotonic()
    refused = play(bed, tmp_path, "preflight.yml", {"preflight_lock_timeout_s": 10})
    assert time.monotonic() - began >= 10
    assert refused.status == "failed"
    assert f"python3, process {number} has held apt's lock for 10 s" in (refused.message or ""), (
        refused.message
    )
    bed.output(f"sudo kill {number}")
    assert play(bed, tmp_path, "preflight.yml", {"preflight_lock_timeout_s": 10}).status == "ok"


def test_a_lock_that_is_let_go_is_waited_for(bed: Bed, tmp_path: Path) -> None:
    bed.reset()
    held(bed, 15)
    assert play(bed, tmp_path, "preflight.yml", {}).status == "ok"


@pytest.mark.parametrize(
    ("card", "words"),
    [("0x1180", "Kepler family, which drivers serve up to branch 470"), ("0x5abc", "no family")],
    ids=["Kepler", "of the future"],
)
def test_a_card_that_no_driver_is_known_for(
    beds_are_possible: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    card: str,
    words: str,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with Bed("unknown", cards=[card]) as box:
        before = box.output("dpkg -l")
        wishes = ProvisionOptions(hosts=(box.name,), inventory=box.inventory(tmp_path))
        said: list[str] = []
        assert (
            provision.run(wishes, Interaction(open_progress, lambda question: True, said.append, True)) == 1
        )
        (host,) = json.loads(capsys.readouterr().out)["hosts"]
        assert host["status"] == "failed"
        assert words in host["message"], host["message"]
        assert f"10de:{card[2:]}" in host["message"]
        assert box.output("dpkg -l") == before
