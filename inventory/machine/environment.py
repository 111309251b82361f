"""Recognises where the system runs: on the computer itself, in a virtual machine, in a container or under WSL.

``provision/roles/preflight/files/box.py`` has a copy of these rules, because it runs on the box without dlbox. A test
compares both.
"""

from __future__ import annotations

import re
from pathlib import Path

from inventory.machine import kernel_files
from inventory.machine.records import Environment

_WSL_FILES = ("proc/sys/fs/binfmt_misc/WSLInterop", "proc/sys/fs/binfmt_misc/WSLInterop-late", "run/WSL")
_CONTAINER_FILES = (
    ".dockerenv",
    "run/.containerenv",
    "run/systemd/container",
    "run/host/container-manager",
    "run/secrets/kubernetes.io",
    "var/run/secrets/kubernetes.io",
    "dev/lxd/sock",
    "dev/incus/sock",
    ".singularity.d",
    ".flatpak-info",
)
"""Files of Docker, Podman, systemd-nspawn, Kubernetes, LXD, Incus, Apptainer and Flatpak."""
_CONTAINER_GROUP = re.compile(r"docker|kubepods|libpod|lxc|containerd|crio|machine\.slice/.*nspawn")
_CONTAINER_LAYER = re.compile(r"(docker|containerd|containers|crio|buildkit)/")
_VIRTUAL_VENDOR = re.compile(
    r"QEMU|KVM|VMware|innotek|VirtualBox|Xen|Parallels|OpenStack|Bochs|Nutanix|oVirt"
)


def read(sysroot: Path) -> Environment:
    """The environment, from files below ``sysroot``; no root is needed.

    A container under WSL2 counts as WSL2: in both, Windows has the driver. A chroot has the environment of its host.
    """
    if _is_wsl(sysroot):
        return "wsl2"
    if _is_container(sysroot):
        return "container"
    return "virtual-machine" if _is_virtual(sysroot) else "bare-metal"


def _text(path: Path) -> str:
    return kernel_files.text(path) or ""


def _is_wsl(sysroot: Path) -> bool:
    release = f"{_text(sysroot / 'proc/version')[:200]}\n{_text(sysroot / 'proc/sys/kernel/osrelease')}"
    if re.search(r"^(Linux version )?\S*(microsoft|WSL)", release, re.IGNORECASE | re.MULTILINE):
        return True
    manager = _text(sysroot / "run/systemd/container").strip()
    return manager == "wsl" or any((sysroot / file).exists() for file in _WSL_FILES)


def _is_container(sysroot: Path) -> bool:
    if any((sysroot / file).exists() for file in _CONTAINER_FILES):
        return True
    variables = _text(sysroot / "proc/1/environ").split("\0")
    if any(re.match(r"container=.", variable) for variable in variables):
        return True
    if _CONTAINER_GROUP.search(_text(sysroot / "proc/1/cgroup")):
        return True
    for line in _text(sysroot / "proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        place = (left.split() + [""] * 5)[4]
        if place.startswith("/proc/") and right.startswith("fuse.lxcfs"):
            return True
        if place == "/" and right.startswith("overlay") and _CONTAINER_LAYER.search(right):
            return True
    return False


def _is_virtual(sysroot: Path) -> bool:
    if "control_d" in _text(sysroot / "proc/xen/capabilities"):
        return False  # the first domain of Xen has the hardware, and the flag of a hypervisor
    if re.search(r"^flags\s*:.*\bhypervisor\b", _text(sysroot / "proc/cpuinfo"), re.MULTILINE):
        return True
    vendor = _text(sysroot / "sys/class/dmi/id/sys_vendor").strip()
    product = _text(sysroot / "sys/class/dmi/id/product_name").strip()
    if vendor == "Amazon EC2":
        return not product.endswith(".metal")
    if vendor == "Microsoft Corporation":
        return product == "Virtual Machine"
    if vendor == "Google":
        return product == "Google Compute Engine"
    return bool(_VIRTUAL_VENDOR.search(f"{vendor} {product}"))
