"""Debian packages of the driver and metapackages of kernels, from dpkg's status file."""

from __future__ import annotations

import re
from pathlib import Path

from inventory.machine import kernel_files
from inventory.machine.reading import Reading
from inventory.machine.records import Package

_DRIVER = re.compile(
    r"(nvidia-(driver|kernel|dkms|utils|open|firmware|compute|headless|smi|modprobe|tesla|legacy)|"
    r"libnvidia-|libcuda1|linux-modules-nvidia|linux-objects-nvidia|xserver-xorg-video-nvidia|cuda-drivers)"
)
_KERNEL = re.compile(
    r"linux-(image-)?(generic|lowlatency|oem|virtual|aws|azure|gcp|nvidia|amd64|cloud-amd64|rt-amd64|arm64)[a-z0-9.-]*|"
    r"proxmox-(default-kernel|kernel-\d+\.\d+)"
)
_BLOCK = re.compile(
    r"^Package: (\S+)\nStatus: (\w+) \w+ (installed|triggers-\w+|unpacked|half-\w+)\n(?:.+\n)*?Version: (\S+)",
    re.MULTILINE,
)


def read(sysroot: Path) -> tuple[Reading[tuple[Package, ...]], Reading[tuple[str, ...]]]:
    """Installed driver packages, with whether each is on hold, and the names of the metapackages that bring kernels."""
    content = kernel_files.text(sysroot / "var/lib/dpkg/status", 32 << 20)
    if content is None:
        why = "this distribution does not use dpkg"
        return Reading.not_supported(why), Reading.not_supported(why)
    packages: list[Package] = []
    kernels: list[str] = []
    for start in re.finditer(
        r"^Package: (?=.*nvidia|libcuda1$|cuda-drivers|linux-|proxmox-)", content, re.MULTILINE
    ):
        block = _BLOCK.match(content, start.start())
        if block is None:
            continue
        name, wanted, state, version = block.groups()
        if _DRIVER.match(name):
            done = state == "installed" or state.startswith("triggers-")
            packages.append(Package(name=name, version=version, held=wanted == "hold", configured=done))
        elif _KERNEL.fullmatch(name):
            kernels.append(name)
    return Reading.of(tuple(packages)), Reading.of(tuple(kernels))
