"""A provisioned image boots with its own kernel: what the driver does without a card, and what dlbox says of it.

Installed on a bed at native speed, booted under QEMU in software. The card on the bus is a folder laid over sysfs: the
kernel itself sees none, so that its module says so.
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
from tests.e2e import base, layers, machine
from tests.e2e.bed import Bed
from tests.e2e.machine import Machine
from tests.e2e.test_provision import play

FAKE_BUS = "sudo mount --bind /var/lib/fake-bus /sys/bus/pci/devices"
Make = Callable[..., Machine]


@pytest.fixture(scope="module")
def folder(beds_are_possible: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    why = machine.lacking()
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
    """The disk of a box with the real driver and dlbox, provisioned by the real roles."""
    layer = layers.driver("bookworm")
    with Bed("provisioned", cards=["GTX 1060"], layers=[layer]) as bed:
        bed.output("sudo apt-get update -q", timeout_s=300)
        for name, needs in {"tensorflow": ["six==1.17.0"], "dlbox": own_wheel.requirements()}.items():
            (folder / f"{name}.txt").write_text(lockfiles.lock(needs, bed.python))
        wheel = own_wheel.build(folder)
        told: dict[str, Any] = {
            **driver(layers.plan("bookworm", "GTX 1060")),
            "frameworks_environments": [{"name": "tensorflow", "lock": str(folder / "tensorflow.txt")}],
            "frameworks_python_packages": ["python3", "python3-venv"],
            "dlbox_app_lock": str(folder / "dlbox.txt"),
            "dlbox_app_wheel": {"path": str(wheel.path), "sha256": wheel.sha256},
            "extra_ca_bundle": os.environ.get("SSL_CERT_FILE", ""),
        }
        host = play(bed, folder, "site.yml", told, "driver", "frameworks", "dlbox")
        assert host.status == "changed", host
        shutil.copytree(bed.card_folder, bed.root / "var/lib/fake-bus")
        shutil.copy(bed.root / "etc/ssh/ssh_host_ed25519_key.pub", folder / "host.pub")
        loaders = machine.loaders(bed, folder) if machine.FIRMWARE.exists() else None
        bed.halt()
        for path in machine.kernel(bed.root):
            shutil.copy(path, folder / path.name.partition("-")[0])
        if loaders:
            machine.efi(loaders, folder / "esp", folder / "vmlinuz", folder / "initrd.img")
        machine.disk(bed.root, folder / "disk")
        subprocess.run(["cp", "--sparse=always", folder / "disk", folder / "second-disk"], check=True)
    return folder / "disk"


@pytest.fixture(scope="module")
def computer(folder: Path, image: Path) -> Iterator[Machine]:
    public = " ".join((folder / "host.pub").read_text().split()[:2])
    with Machine(folder, image, folder / "vmlinuz", folder / "initrd.img", public) as booted:
        yield booted


def said(computer: Machine) -> dict[str, Any]:
    """Findings of the box's own check, by their id, with the card on its bus."""
    found = json.loads(computer.run("dlbox check --json", timeout_s=600).stdout)
    wrong = {row["id"]: row["message"] for row in found["findings"] if row["status"] == "fail"}
    return {"verdict": found["verdict"], "wrong": wrong, **{row["id"]: row for row in found["findings"]}}


def test_the_module_loads_as_far_as_it_can_without_a_card(computer: Machine) -> None:
    assert computer.output("uname -r") != Path("/proc/sys/kernel/osrelease").read_text()
    loaded = computer.run("sudo modprobe nvidia")
    assert loaded.returncode != 0
    assert "No such device" in loaded.stderr
    assert "NVRM: No NVIDIA GPU found" in computer.output("sudo dmesg")
    assert "couldn't communicate with the NVIDIA driver" in computer.run("nvidia-smi").stdout


def test_nouveau_stays_away(computer: Machine) -> None:
    assert "nouveau" not in computer.output("cat /proc/modules")
    blacklists = computer.output("sudo lsinitramfs /boot/initrd.img-$(uname -r) | grep modprobe.d")
    assert "dlbox-nouveau.conf" in blacklists


def test_dlbox_on_the_box_says_what_is_wrong(computer: Machine) -> None:
    computer.output(FAKE_BUS)
    box = said(computer)
    assert box["verdict"] == "not-ready"
    assert box["driver.loaded"]["status"] == "fail", box["wrong"]
    assert "10de:1c03" in box["driver.loaded"]["message"]
    assert box["driver.packages"]["status"] == "pass", box["driver.packages"]


def test_a_kernel_without_a_module_is_said_after_its_boot(computer: Machine) -> None:
    """What a kernel update without headers comes to: the module of the running kernel is not there."""
    computer.output("sudo mv /lib/modules/$(uname -r)/updates /root/ && sudo depmod")
    box = said(computer)
    assert box["driver.module-built"]["status"] == "fail", box["wrong"]
    computer.output("sudo mv /root/updates /lib/modules/$(uname -r)/ && sudo depmod")


@pytest.fixture(scope="module")
def guarded(folder: Path, image: Path) -> Iterator[Machine]:
    """The same box behind firmware with Microsoft's keys, which trust Debian's kernel and not the module's own key."""
    if not (folder / "esp").exists():
        pytest.skip("Secure Boot needs Debian's package: sudo apt install ovmf")
    public = " ".join((folder / "host.pub").read_text().split()[:2])
    own = folder / "guarded"
    own.mkdir()
    with Machine(
        own, folder / "second-disk", folder / "vmlinuz", folder / "initrd.img", public, esp=folder / "esp"
    ) as booted:
        yield booted


def test_secure_boot_refuses_the_module_and_dlbox_says_so(guarded: Machine) -> None:
    assert "SecureBoot enabled" in guarded.output("mokutil --sb-state")
    refused = guarded.run("sudo modprobe nvidia")
    assert refused.returncode != 0
    assert "Key was rejected by service" in refused.stderr
    guarded.output(FAKE_BUS)
    box = said(guarded)
    assert box["verdict"] == "not-ready"
    assert box["driver.secure-boot"]["status"] == "fail", box["wrong"]
    assert "mokutil --import /var/lib/dkms/mok.pub" in box["driver.secure-boot"]["remedy"]
