"""A power failure while apt works, on a virtual machine: the next run repairs and finishes the installation.

Under QEMU without hardware virtualization, with dummy driver packages: dpkg, file system and kernel are interrupted.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import base, stand_in, virtual_machine
from tests.e2e.container import Container
from tests.e2e.test_faults import start
from tests.e2e.test_faults_driver import TAGS, role_vars
from tests.e2e.test_provision import play
from tests.e2e.virtual_machine import VirtualMachine

MODULE = "/sbin/modinfo -k $(uname -r) -F version nvidia-current"


@pytest.fixture
def vm(containers_available: None) -> Iterator[VirtualMachine]:
    """A bare Debian 12 whose apt has the dummy packages; a build does not finish while /root/slow exists."""
    why = virtual_machine.lacking()
    if why and os.environ.get("DLBOX_E2E") == "required":
        pytest.fail(why)
    if why:
        pytest.skip(why)
    folder = base.cache() / "machines" / f"{os.getpid()}-power"
    folder.mkdir(parents=True)
    with Container("bare") as container:
        container.output("sudo apt-get update -q", timeout_s=300)
        stand_in.install(container)
        (container.root / "root/slow").touch()
        public = (container.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
        container.halt()
        vmlinuz, initrd = (shutil.copy(path, folder) for path in virtual_machine.kernel(container.root))
        virtual_machine.disk(container.root, folder / "disk", gib=16)
    try:
        with VirtualMachine(folder, folder / "disk", Path(vmlinuz), Path(initrd), " ".join(public)) as booted:
            yield booted
    finally:
        shutil.rmtree(folder)


def test_a_power_failure_while_apt_works(vm: VirtualMachine, tmp_path: Path) -> None:
    # The stand-ins need no other component, and reading Debian's lists takes minutes here.
    wanted = {**role_vars(), "nvidia_driver_components": []}
    controller = start(vm, tmp_path, wanted, TAGS)
    deadline = time.monotonic() + 1200
    while vm.run("sudo test -e /root/begun").returncode != 0:
        assert time.monotonic() < deadline
        assert controller.poll() is None
        time.sleep(5)
    vm.cut_power()
    assert controller.wait(timeout=300) == 0
    vm.boot()
    assert "nvidia-kernel-dkms" in vm.output("sudo dpkg --audit")
    vm.output("sudo rm /root/slow")

    repaired = play(vm, tmp_path, "site.yml", wanted, *TAGS)
    assert repaired.status == "changed", repaired
    assert vm.output("sudo dpkg --audit") == ""
    assert vm.output(MODULE).strip() == stand_in.VERSION.partition("-")[0]
    assert "nvidia-kernel-dkms" in vm.output("apt-mark showhold").split()
    assert json.loads(vm.output("cat /var/lib/dlbox/driver.json"))["finished"] is True

    again = play(vm, tmp_path, "site.yml", wanted, *TAGS)
    assert (again.status, again.changed) == ("ok", ()), again
