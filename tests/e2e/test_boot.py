"""A provisioned image boots with its own kernel: the driver without a card, and what dlbox reports about it.

It is installed in a container at native speed and booted under QEMU without hardware virtualization. The card on the
bus is a folder mounted over sysfs; the kernel sees no card, so the module reports that there is none.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.ansible.variables import driver
from provision.artifacts import lockfiles, own_wheel
from tests.e2e import base, layers, virtual_machine
from tests.e2e.container import Container
from tests.e2e.test_provision import play
from tests.e2e.virtual_machine import VirtualMachine

FAKE_BUS = "sudo mount --bind /var/lib/fake-bus /sys/bus/pci/devices"
Make = Callable[..., VirtualMachine]


@pytest.fixture(scope="module")
def folder(containers_available: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    why = virtual_machine.lacking()
    if why and os.environ.get("DLBOX_E2E") == "required":
        pytest.fail(why)
    if why:
        pytest.skip(why)
    where = base.cache() / "machines" / str(os.getpid())
    where.mkdir(parents=True)
    yield where
    shutil.rmtree(where)


@pytest.fixture(scope="module")
def image(folder: Path) -> Path:
    """The disk of a box with the real driver and dlbox, installed by the roles."""
    layer = layers.driver("bookworm")
    with Container("provisioned", cards=["GTX 1060"], layers=[layer]) as container:
        container.output("sudo apt-get update -q", timeout_s=300)
        for name, needs in {"tensorflow": ["six==1.17.0"], "dlbox": own_wheel.requirements()}.items():
            (folder / f"{name}.txt").write_text(lockfiles.lock(needs, container.python))
        wheel = own_wheel.build(folder)
        role_vars: dict[str, Any] = {
            **driver(layers.plan("bookworm", "GTX 1060")),
            "frameworks_environments": [{"name": "tensorflow", "lock": str(folder / "tensorflow.txt")}],
            "frameworks_python_packages": ["python3", "python3-venv"],
            "dlbox_app_lock": str(folder / "dlbox.txt"),
            "dlbox_app_wheel": {"path": str(wheel.path), "sha256": wheel.sha256},
            "extra_ca_bundle": os.environ.get("SSL_CERT_FILE", ""),
        }
        host = play(container, folder, "site.yml", role_vars, "driver", "frameworks", "dlbox")
        assert host.status == "changed", host
        shutil.copytree(container.card_folder, container.root / "var/lib/fake-bus")
        shutil.copy(container.root / "etc/ssh/ssh_host_ed25519_key.pub", folder / "host.pub")
        loaders = virtual_machine.loaders(container, folder) if virtual_machine.FIRMWARE.exists() else None
        container.halt()
        for path in virtual_machine.kernel(container.root):
            shutil.copy(path, folder / path.name.partition("-")[0])
        if loaders:
            virtual_machine.efi(loaders, folder / "esp", folder / "vmlinuz", folder / "initrd.img")
        virtual_machine.disk(container.root, folder / "disk")
        subprocess.run(["cp", "--sparse=always", folder / "disk", folder / "second-disk"], check=True)
    return folder / "disk"


@pytest.fixture(scope="module")
def vm(folder: Path, image: Path) -> Iterator[VirtualMachine]:
    public = " ".join((folder / "host.pub").read_text().split()[:2])
    with VirtualMachine(folder, image, folder / "vmlinuz", folder / "initrd.img", public) as booted:
        yield booted


def findings(vm: VirtualMachine) -> dict[str, Any]:
    """Findings of `dlbox check` on the box by their id, with the card on its bus."""
    found = json.loads(vm.run("dlbox check --json", timeout_s=600).stdout)
    wrong = {row["id"]: row["message"] for row in found["findings"] if row["status"] == "fail"}
    return {"verdict": found["verdict"], "wrong": wrong, **{row["id"]: row for row in found["findings"]}}


def test_the_module_loads_and_finds_no_card(vm: VirtualMachine) -> None:
    assert vm.output("uname -r") != Path("/proc/sys/kernel/osrelease").read_text()
    loaded = vm.run("sudo modprobe nvidia")
    assert loaded.returncode != 0
    assert "No such device" in loaded.stderr
    assert "NVRM: No NVIDIA GPU found" in vm.output("sudo dmesg")
    assert "couldn't communicate with the NVIDIA driver" in vm.run("nvidia-smi").stdout


def test_nouveau_is_not_loaded(vm: VirtualMachine) -> None:
    assert "nouveau" not in vm.output("cat /proc/modules")
    blacklists = vm.output("sudo lsinitramfs /boot/initrd.img-$(uname -r) | grep modprobe.d")
    assert "dlbox-nouveau.conf" in blacklists


def test_dlbox_on_the_box_reports_what_is_wrong(vm: VirtualMachine) -> None:
    vm.output(FAKE_BUS)
    box = findings(vm)
    assert box["verdict"] == "not-ready"
    assert box["driver.loaded"]["status"] == "fail", box["wrong"]
    assert "10de:1c03" in box["driver.loaded"]["message"]
    assert box["driver.packages"]["status"] == "pass", box["driver.packages"]


def test_a_kernel_without_a_module_is_reported_after_its_boot(vm: VirtualMachine) -> None:
    """As after a kernel update without headers: the running kernel has no module."""
    vm.output("sudo mv /lib/modules/$(uname -r)/updates /root/ && sudo depmod")
    box = findings(vm)
    assert box["driver.module-built"]["status"] == "fail", box["wrong"]
    vm.output("sudo mv /root/updates /lib/modules/$(uname -r)/ && sudo depmod")


@pytest.fixture(scope="module")
def guarded(folder: Path, image: Path) -> Iterator[VirtualMachine]:
    """The same box with firmware that has Microsoft's keys: it trusts Debian's kernel but not the module's key."""
    if not (folder / "esp").exists():
        pytest.skip("Secure Boot needs Debian's package: sudo apt install ovmf")
    public = " ".join((folder / "host.pub").read_text().split()[:2])
    own = folder / "guarded"
    own.mkdir()
    with VirtualMachine(
        own, folder / "second-disk", folder / "vmlinuz", folder / "initrd.img", public, esp=folder / "esp"
    ) as booted:
        yield booted


def test_dlbox_reports_that_secure_boot_refuses_the_module(guarded: VirtualMachine) -> None:
    assert "SecureBoot enabled" in guarded.output("mokutil --sb-state")
    refused = guarded.run("sudo modprobe nvidia")
    assert refused.returncode != 0
    assert "Key was rejected by service" in refused.stderr
    guarded.output(FAKE_BUS)
    box = findings(guarded)
    assert box["verdict"] == "not-ready"
    assert box["driver.secure-boot"]["status"] == "fail", box["wrong"]
    assert "mokutil --import /var/lib/dkms/mok.pub" in box["driver.secure-boot"]["remedy"]
