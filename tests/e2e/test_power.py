"""The power goes while apt works, on a computer with a kernel and a disk of its own: the next run repairs and finishes.

Under QEMU in software, with stand-ins of the driver's packages: what is cut is dpkg, the file system and the kernel.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import base, machine, stand_in
from tests.e2e.bed import Bed
from tests.e2e.machine import Machine
from tests.e2e.test_faults import start
from tests.e2e.test_faults_driver import TAGS, told
from tests.e2e.test_provision import play

MODULE = "/sbin/modinfo -k $(uname -r) -F version nvidia-current"


@pytest.fixture
def computer(beds_are_possible: None) -> Iterator[Machine]:
    """A bare Debian 12 whose apt gives the stand-ins, and where a build takes until /root/slow is gone."""
    why = machine.lacking()
    if why and os.environ.get("DLBOX_E2E") == "required":
        pytest.fail(why)
    if why:
        pytest.skip(why)
    folder = base.cache() / "machines" / f"{os.getpid()}-power"
    folder.mkdir(parents=True)
    with Bed("bare") as bed:
        bed.output("sudo apt-get update -q", timeout_s=300)
        stand_in.install(bed)
        (bed.root / "root/slow").touch()
        public = (bed.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
        bed.halt()
        vmlinuz, initrd = (shutil.copy(path, folder) for path in machine.kernel(bed.root))
        machine.disk(bed.root, folder / "disk", gib=16)
    try:
        with Machine(folder, folder / "disk", Path(vmlinuz), Path(initrd), " ".join(public)) as booted:
            yield booted
    finally:
        shutil.rmtree(folder)


def test_the_power_goes_while_apt_works(computer: Machine, tmp_path: Path) -> None:
    # The stand-ins need no other component, and reading Debian's lists takes minutes here.
    wanted = {**told(), "nvidia_driver_components": []}
    controller = start(computer, tmp_path, wanted, TAGS)
    deadline = time.monotonic() + 1200
    while computer.run("sudo test -e /root/begun").returncode != 0:
        assert time.monotonic() < deadline
        assert controller.poll() is None
        time.sleep(5)
    computer.cut_power()
    assert controller.wait(timeout=300) == 0
    computer.boot()
    assert "nvidia-kernel-dkms" in computer.output("sudo dpkg --audit")
    computer.output("sudo rm /root/slow")

    repaired = play(computer, tmp_path, "site.yml", wanted, *TAGS)
    assert repaired.status == "changed", repaired
    assert computer.output("sudo dpkg --audit") == ""
    assert computer.output(MODULE).strip() == stand_in.VERSION.partition("-")[0]
    assert "nvidia-kernel-dkms" in computer.output("apt-mark showhold").split()
    assert json.loads(computer.output("cat /var/lib/dlbox/driver.json"))["finished"] is True

    again = play(computer, tmp_path, "site.yml", wanted, *TAGS)
    assert (again.status, again.changed) == ("ok", ()), again
