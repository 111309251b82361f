"""Prints the state of a machine before the installation as one JSON document; the role preflight runs it there.

It needs only the standard library of Python 3.8 or later: no root, no network and no driver.
A value that cannot be read is null.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

NVIDIA = 0x10DE
DISPLAY = (0x0300, 0x0302)
"""PCI classes of VGA and 3D controllers. The ids of audio and USB functions look like ids of older cards."""

LOCKS = (
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/lock",
    "var/lib/apt/lists/lock",
    "var/cache/apt/archives/lock",
)
PACKAGES = re.compile(
    r"(lib)?nvidia[-.]|libcuda\d|libnvcuvid|cuda-|linux-(modules|objects)-nvidia|xserver-xorg-video-nvidia"
)
REPOSITORIES = re.compile(
    r"developer\.download\.nvidia\.com/compute|ppa\.launchpad(content)?\.net/graphics-drivers"
)
KERNEL_PACKAGE = re.compile(r"(?:(?:linux|proxmox|pve)-headers|linux-modules-nvidia-\d+(?:-open)?)-(\S+)$")
"""Its group is a kernel or the end of a metapackage's name."""
RUNFILE = ("usr/bin/nvidia-uninstall", "usr/bin/nvidia-installer", "var/log/nvidia-installer.log")


def read(root: Path) -> dict[str, Any]:
    """The whole document, read from the system files below ``root``."""
    name = os.uname()
    return {
        "schema_version": 1,
        "machine_type": name.machine,
        "kernel": name.release,
        "kernels": kernels(root),
        "distribution": distribution(root),
        "environment": environment(root),
        "secure_boot": secure_boot(root),
        "cards": cards(root),
        "modules": loaded(root),
        "module_version": module_version(root),
        "packages": packages(root),
        "repositories": repositories(root),
        "runfile": [f"/{path}" for path in RUNFILE if (root / path).exists()],
        "locks": locks(root),
        "interrupted": interrupted(root),
        "free_bytes": {place: free(root, place) for place in ("/", "/boot", "/usr", "/opt", "/var")},
        "apt_packages": apt_packages(root, kernels(root)),
        "compiled_headers": [
            name for name in kernels(root) if (root / "lib/modules" / name / "build/Makefile").exists()
        ],
    }


def text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def number(path: Path) -> int | None:
    try:
        return int((text(path) or "").strip(), 16)
    except ValueError:
        return None


def entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def cards(root: Path) -> list[dict[str, Any]]:
    """Every NVIDIA display function on the PCI bus, with the kernel driver that is bound to it."""
    found = []
    for folder in entries(root / "sys/bus/pci/devices"):
        kind, device = number(folder / "class"), number(folder / "device")
        if number(folder / "vendor") != NVIDIA or kind is None or device is None or kind >> 8 not in DISPLAY:
            continue
        driver = folder / "driver"
        bound = os.path.basename(os.readlink(str(driver))) if driver.is_symlink() else None  # noqa: PTH115, PTH119
        found.append({"address": folder.name, "device_id": device, "driver": bound})
    return found


def kernels(root: Path) -> list[str]:
    """The installed kernels with modules, the newest last by the numbers in their names."""
    installed = [path.name for path in entries(root / "lib/modules") if (path / "modules.order").exists()]
    return sorted(installed, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])


def distribution(root: Path) -> dict[str, str]:
    fields = {}
    for line in (text(root / "etc/os-release") or text(root / "usr/lib/os-release") or "").splitlines():
        key, _, value = line.partition("=")
        fields[key.strip()] = value.strip().strip("\"'")
    return {
        "id": fields.get("ID", "unknown"),
        "version": fields.get("VERSION_ID", ""),
        "codename": fields.get("VERSION_CODENAME", ""),
    }


def environment(root: Path) -> str:
    if "microsoft" in (text(root / "proc/version") or "").lower():
        return "wsl2"
    marks = (".dockerenv", "run/.containerenv", "run/systemd/container")
    return "container" if any((root / mark).exists() for mark in marks) else "bare-metal"


def secure_boot(root: Path) -> bool | None:
    """False without UEFI; None if the firmware's variable cannot be read."""
    if not (root / "sys/firmware/efi").exists():
        return False
    for path in entries(root / "sys/firmware/efi/efivars"):
        if path.name.startswith("SecureBoot-"):
            try:
                return path.read_bytes()[4:5] == b"\x01"
            except OSError:
                return None
    return None


def loaded(root: Path) -> list[str]:
    names = [line.split(" ", 1)[0] for line in (text(root / "proc/modules") or "").splitlines()]
    return sorted(name for name in names if name == "nouveau" or name.startswith("nvidia"))


def module_version(root: Path) -> str | None:
    match = re.search(r"Kernel Module\D*([\d.]+)", text(root / "proc/driver/nvidia/version") or "")
    return match.group(1) if match else None


def packages(root: Path) -> dict[str, str]:
    """The installed packages of a driver, with their versions."""
    found = {}
    for block in (text(root / "var/lib/dpkg/status") or "").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != " ")
        name = fields.get("Package", "")
        if PACKAGES.match(name) and fields.get("Status", "").endswith(" installed"):
            found[name] = fields.get("Version", "")
    return found


def repositories(root: Path) -> list[dict[str, str]]:
    """The apt sources with drivers, without the distribution's own sources."""
    found = []
    folder = root / "etc/apt/sources.list.d"
    for path in [root / "etc/apt/sources.list", *entries(folder)]:
        if path.suffix not in (".list", ".sources"):
            continue
        for line in (text(path) or "").splitlines():
            match = None if line.lstrip().startswith("#") else REPOSITORIES.search(line)
            if match:
                found.append({"file": "/" + str(path.relative_to(root)), "uri": match.group(0)})
    return found


def apt_packages(root: Path, installed: list[str]) -> list[str] | None:
    """The packages with headers and prebuilt modules that apt offers, for the installed kernels and as metapackages.

    None if apt's package lists are empty or cannot be read.
    """
    lists = [path for path in entries(root / "var/lib/apt/lists") if "_Packages" in path.name]
    if str(root) != "/" or not lists:
        return None
    found = set()
    for prefix in ("linux-headers-", "linux-modules-nvidia-", "proxmox-headers-", "pve-headers-"):
        try:
            done = subprocess.run(
                ["apt-cache", "pkgnames", prefix], capture_output=True, text=True, check=False, timeout=20
            )
        except (OSError, subprocess.SubprocessError):
            return None
        found.update(done.stdout.split())
    return offered(found, installed)


def offered(names: set[str], installed: list[str]) -> list[str] | None:
    """The names that matter for the installed kernels; None if there are no headers at all."""
    if not any(name.startswith("linux-headers-") for name in names):
        return None
    matches = [(name, KERNEL_PACKAGE.match(name)) for name in sorted(names)]
    return [
        name
        for name, match in matches
        if match and (match.group(1) in installed or not match.group(1)[0].isdigit())
    ][:2000]


def locks(root: Path) -> list[dict[str, Any]]:
    """Processes that hold a lock of apt or dpkg."""
    inodes = {}
    for name in LOCKS:
        try:
            inodes[(root / name).stat().st_ino] = f"/{name}"
        except OSError:
            continue
    found = []
    for line in (text(root / "proc/locks") or "").splitlines():
        match = re.search(r"WRITE\s+(\d+)\s+[0-9a-f]+:[0-9a-f]+:(\d+)", line)
        if match and int(match.group(2)) in inodes:
            who = (text(root / "proc" / match.group(1) / "comm") or "").strip()
            found.append({"file": inodes[int(match.group(2))], "pid": int(match.group(1)), "name": who})
    return found


def interrupted(root: Path) -> bool:
    """Whether a dpkg run was interrupted: its journal is not empty, or a package is not fully installed."""
    if any(path.name.isdigit() for path in entries(root / "var/lib/dpkg/updates")):
        return True
    status = text(root / "var/lib/dpkg/status") or ""
    return bool(
        re.search(r"^Status: \S+ \S+ (half-installed|unpacked|half-configured|triggers-\S+)$", status, re.M)
    )


def free(root: Path, place: str) -> int | None:
    """Free bytes for users on the file system of a folder, which may not exist yet; None: cannot be read."""
    path = root / place.lstrip("/")
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        state = os.statvfs(str(path))
    except OSError:
        return None
    return state.f_bavail * state.f_frsize


if __name__ == "__main__":
    json.dump(read(Path(sys.argv[1] if len(sys.argv) > 1 else "/")), sys.stdout)
