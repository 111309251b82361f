"""How much disk space a plan needs on a box, added up per file system.

Sizes are installed sizes and downloads of the packages and wheels, in bytes, rounded up: measured for TensorFlow, the
drivers and the toolkit; derived from the download sizes for torch and JAX.
"""

from __future__ import annotations

from typing import Any

import msgspec

from provision.resolve.model import DriverPlan, Stack

_MB, _GB = 10**6, 10**9

DRIVER_INSTALLED, DRIVER_DOWNLOAD = 1_100 * _MB, 350 * _MB
"""NVIDIA's driver with its recommended packages: 306 MB to download and 1.07 GB installed (measured, branch 535)."""
COMPILED = 900 * _MB
"""Compiler, headers and DKMS' build folder, for modules that are compiled on the box."""
TOOLKIT_INSTALLED, TOOLKIT_DOWNLOAD = 8 * _GB, 2_600 * _MB
"""System CUDA toolkit (measured, version 11.8)."""
ENVIRONMENT = {
    "tensorflow": (2_200 * _MB, 6_500 * _MB),
    "torch": (1_300 * _MB, 7_500 * _MB),
    "jax": (1_000 * _MB, 6_000 * _MB),
}
"""Framework -> size of its environment with the CPU build and with the CUDA build."""
ENVIRONMENT_DOWNLOAD = {
    "tensorflow": (330 * _MB, 3_400 * _MB),
    "torch": (220 * _MB, 3_000 * _MB),
    "jax": (120 * _MB, 2_600 * _MB),
}
"""Framework -> size of the download of its environment with the CPU build and with the CUDA build: the launcher's own
figures, and an estimate for JAX with CUDA; not measured."""
APPLICATION_DOWNLOAD = 200 * _MB
"""An estimate for dlbox, JupyterLab and a Python that uv installs; not measured."""
APPLICATION = 1_000 * _MB
"""The environments of dlbox and JupyterLab, and a Python that uv installs."""
LARGEST_WHEEL = 1_000 * _MB
"""pip stores a wheel in its temporary folder before it unpacks it."""
INITRAMFS_GROWTH = 163 * _MB
"""Growth of an initramfs that includes NVIDIA's modules. Assumption from one report: 80 MB became 243 MB (dkms#564)."""
_RESERVE = 200 * _MB
"""Free space that remains on each file system."""


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan adds to a box, in bytes."""

    download: int
    installed: int


class Shortage(msgspec.Struct, frozen=True, kw_only=True):
    """A file system with too little free space, in bytes."""

    places: tuple[str, ...]
    """Folders on this file system to which the installation writes: "/usr", "/var"."""
    needed: int
    free: int

    @property
    def text(self) -> str:
        """The shortage as one sentence, with the next step."""
        verb = "have" if len(self.places) > 1 else "has"
        return (
            f"{' and '.join(self.places)} {verb} {_shown(self.free)} free, and this plan needs {_shown(self.needed)}: "
            + (
                "remove kernels that are no longer used with `sudo apt autoremove --purge`, or enlarge the file system"
                if self.places == ("/boot",)
                else "free space, for example with `sudo apt clean`, or enlarge the file system"
            )
        )


def demands(stack: Stack, box: dict[str, Any]) -> dict[str, int]:
    """Folder -> bytes that the installation of a plan needs below it, beyond what is already on the box.

    ``box``: a checked reading of the box. Environments and driver packages that exist already need no further space.
    """
    found = {"/usr": 0, "/var": 0, "/opt": 0, "/boot": 0}
    if stack.driver is not None and _brings_driver(stack.driver, box):
        found["/usr"] += DRIVER_INSTALLED
        found["/var"] += DRIVER_DOWNLOAD
        if stack.driver.source != "prebuilt":
            found["/usr"] += COMPILED // 2
            found["/var"] += COMPILED // 2
        found["/boot"] += _boot(box)
    if stack.cuda is not None and stack.cuda.toolkit is not None:
        found["/usr"] += TOOLKIT_INSTALLED
        found["/var"] += TOOLKIT_DOWNLOAD
    new = _new_environments(stack, box)
    found["/opt"] += sum(ENVIRONMENT.get(name, (0, 0))[stack.cuda is not None] for name in new)
    if new:
        found["/opt"] += LARGEST_WHEEL
    if _brings_application(box):
        found["/opt"] += APPLICATION
    return {place: size for place, size in found.items() if size}


def volume(stack: Stack, box: dict[str, Any]) -> Volume:
    """The download and the installed size of a plan, in bytes, beyond what is already on the box (see ``demands``).

    Temporary files and growth of /boot are not counted.
    """
    download = installed = 0
    if stack.driver is not None and _brings_driver(stack.driver, box):
        download += DRIVER_DOWNLOAD
        installed += DRIVER_INSTALLED + (COMPILED if stack.driver.source != "prebuilt" else 0)
    if stack.cuda is not None and stack.cuda.toolkit is not None:
        download += TOOLKIT_DOWNLOAD
        installed += TOOLKIT_INSTALLED
    build = stack.cuda is not None
    for name in _new_environments(stack, box):
        download += ENVIRONMENT_DOWNLOAD.get(name, (0, 0))[build]
        installed += ENVIRONMENT.get(name, (0, 0))[build]
    if _brings_application(box):
        download += APPLICATION_DOWNLOAD
        installed += APPLICATION
    return Volume(download=download, installed=installed)


def _brings_driver(driver: DriverPlan, box: dict[str, Any]) -> bool:
    return not set(driver.packages) & set(box.get("packages", {}))


def _new_environments(stack: Stack, box: dict[str, Any]) -> list[str]:
    return [name for name in stack.environments if name not in box.get("environments", ())]


def _brings_application(box: dict[str, Any]) -> bool:
    return "dlbox" not in box.get("environments", ())


def _boot(box: dict[str, Any]) -> int:
    """Every initramfs is rebuilt: each grows if it includes the modules, and the new one is written beside the old."""
    state = box.get("initramfs") or {"files": 0, "largest": 0, "has_driver": False}
    if not state["files"]:
        return 0
    growth = INITRAMFS_GROWTH if state["has_driver"] else 0
    return int(state["files"] * growth + state["largest"])


def shortages(stack: Stack, box: dict[str, Any]) -> tuple[Shortage, ...]:
    """The file systems without enough free space for a plan. Those that could not be read are left out."""
    systems, free = box.get("file_systems", {}), box.get("free_bytes", {})
    together: dict[int, list[str]] = {}
    wanted = demands(stack, box)
    for place in wanted:
        number = systems.get(place)
        if number is not None:
            together.setdefault(number, []).append(place)
    found = []
    for places in together.values():
        has = free.get(places[0])
        needed = sum(wanted[place] for place in places) + _RESERVE
        if has is not None and has < needed:
            found.append(Shortage(places=tuple(places), needed=needed, free=has))
    return tuple(found)


def _shown(size: int) -> str:
    return f"{size / _GB:.1f} GB" if size >= _GB else f"{size / _MB:.0f} MB"
