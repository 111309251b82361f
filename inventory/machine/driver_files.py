"""How the NVIDIA driver is installed: loaded modules, kernels, DKMS, packages, device nodes. Reads files only."""

from __future__ import annotations

import os
import re
from pathlib import Path

from inventory.machine import kernel_files
from inventory.machine.reading import Reading
from inventory.machine.records import DeviceNode, DkmsModule, Driver, Installation, InstalledKernel, Package

_CLAIM_CARDS = ("nvidia", "nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nouveau", "nova_core", "vfio_pci")
_PACKAGE = re.compile(
    r"(nvidia-(driver|kernel|dkms|utils|open|firmware|compute|headless|smi|modprobe)|"
    r"libnvidia-|libcuda1|linux-modules-nvidia|xserver-xorg-video-nvidia|cuda-drivers)"
)


def module(sysroot: Path = Path("/")) -> Driver:
    """The fields of ``Driver`` that can be read from files: the kernel module, and the version in the file name of the
    library."""
    loaded = tuple(name for name in _loaded(sysroot) if name in _CLAIM_CARDS)
    version = kernel_files.text(sysroot / "proc/driver/nvidia/version") or ""
    number = re.search(
        r"(?:Kernel Module|Open Kernel Module for \S+)\s+(?:for \S+\s+)?(\d+\.\d+(?:\.\d+)?)", version
    )
    if not number:
        absent: Reading[str] = Reading.not_supported("the NVIDIA kernel module is not loaded")
        return Driver(
            module_version=absent, module_flavour=absent, modules=loaded, library_version=_library(sysroot)
        )
    return Driver(
        module_version=Reading.of(number.group(1)),
        module_flavour=Reading.of("open" if "Open Kernel Module" in version else "closed"),
        library_version=_library(sysroot),
        modules=loaded,
    )


def read(sysroot: Path, environment: str, release: str) -> Installation:
    """How the driver is installed. In a container or under WSL2 the host installs it, so only device nodes are read."""
    nodes = _nodes(sysroot)
    if environment in ("container", "wsl2"):
        return Installation(device_nodes=nodes)
    return Installation(
        kernels=_kernels(sysroot, release),
        dkms=_dkms(sysroot),
        packages=_packages(sysroot),
        unattended_upgrades=_unattended(sysroot),
        nouveau_blacklisted=_blacklisted(sysroot),
        device_nodes=nodes,
    )


def _loaded(sysroot: Path) -> list[str]:
    content = kernel_files.text(sysroot / "proc/modules") or ""
    return [line.split()[0] for line in content.splitlines() if line.strip()]


def _library(sysroot: Path) -> Reading[str]:
    """Driver version, taken from the name of the file that the link libnvidia-ml.so.1 points to."""
    for folder in (
        "usr/lib/x86_64-linux-gnu",
        "usr/lib64",
        "usr/lib",
        "usr/lib/aarch64-linux-gnu",
        "usr/lib/wsl/lib",
        "usr/lib/x86_64-linux-gnu/nvidia/current",
    ):
        link = sysroot / folder / "libnvidia-ml.so.1"
        try:
            found = re.fullmatch(r"libnvidia-ml\.so\.(\d+\.\d+(?:\.\d+)?)", link.resolve(strict=True).name)
        except (OSError, RuntimeError):
            continue
        if found:
            return Reading.of(found.group(1))
    return Reading.not_supported("libnvidia-ml.so.1 is not in the usual folders")


def _kernels(sysroot: Path, running: str) -> Reading[tuple[InstalledKernel, ...]]:
    """All kernels below /lib/modules, including the running one, in order of their versions."""
    folder = sysroot / "lib/modules"
    found = [entry for entry in kernel_files.entries(folder) if entry.is_dir()]
    if not found:
        return Reading.not_supported("no kernels are installed here")
    kernels = [
        InstalledKernel(
            release=entry.name,
            has_headers=(entry / "build/Makefile").exists()
            or (sysroot / f"usr/src/linux-headers-{entry.name}/Makefile").exists(),
            has_nvidia_module=_has_module(entry),
            bootable=entry.name == running or (sysroot / f"boot/vmlinuz-{entry.name}").exists(),
        )
        for entry in found
    ]
    return Reading.of(tuple(sorted(kernels, key=lambda kernel: _release_key(kernel.release))))


def _has_module(folder: Path) -> bool:
    """Whether the kernel has a module nvidia.ko, compressed or not, from DKMS, a prebuilt package or the installer."""
    index = kernel_files.text(folder / "modules.dep", 8 << 20)
    if index is not None and re.search(r"(^|/)nvidia(-current)?\.ko(\.\w+)?:", index, re.MULTILINE):
        return True
    places = ("updates/dkms", "extra", "kernel/drivers/video", "updates", "kernel/drivers/char/drm")
    return any(
        re.fullmatch(r"nvidia(-current)?\.ko(\.\w+)?", entry.name)
        for place in places
        for entry in kernel_files.entries(folder / place)
    )


def _release_key(release: str) -> list[tuple[int, str]]:
    """Sort key of a kernel version: 6.8.0-100 comes after 6.8.0-99."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[.\-+_]", release)]


def _dkms(sysroot: Path) -> Reading[tuple[DkmsModule, ...]]:
    """NVIDIA modules in DKMS, read from the folders /var/lib/dkms/nvidia*/VERSION/KERNEL/ARCHITECTURE/module."""
    folder = sysroot / "var/lib/dkms"
    if not folder.is_dir():
        return Reading.not_supported("DKMS is not installed")
    modules = []
    for name in kernel_files.entries(folder):
        if not name.name.startswith("nvidia"):
            continue
        for version in kernel_files.entries(name):
            if not version.is_dir() or version.is_symlink() or not version.name[:1].isdigit():
                continue
            built = tuple(
                kernel.name
                for kernel in kernel_files.entries(version)
                if kernel.is_dir()
                and kernel.name not in ("source", "build")
                and any((arch / "module").is_dir() for arch in kernel_files.entries(kernel))
            )
            modules.append(DkmsModule(version=version.name, built_for=built))
    return Reading.of(tuple(modules))


def _packages(sysroot: Path) -> Reading[tuple[Package, ...]]:
    """Installed driver packages, and whether each is on hold, read from dpkg's status file."""
    content = kernel_files.text(sysroot / "var/lib/dpkg/status", 32 << 20)
    if content is None:
        return Reading.not_supported("this distribution does not use dpkg")
    packages = []
    for block in re.finditer(
        r"^Package: (.*nvidia.*|libcuda1|cuda-drivers\S*)\nStatus: (\w+) ok installed\n"
        r"(?:.+\n)*?Version: (\S+)",
        content,
        re.MULTILINE,
    ):
        if _PACKAGE.match(block.group(1)):
            packages.append(
                Package(name=block.group(1), version=block.group(3), held=block.group(2) == "hold")
            )
    return Reading.of(tuple(packages))


def _unattended(sysroot: Path) -> bool:
    for file in kernel_files.entries(sysroot / "etc/apt/apt.conf.d"):
        if re.search(
            r'^\s*APT::Periodic::Unattended-Upgrade\s+"1"', kernel_files.text(file) or "", re.MULTILINE
        ):
            return True
    return False


def _blacklisted(sysroot: Path) -> Reading[bool]:
    folders = [sysroot / place for place in ("etc/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d")]
    if not any(folder.is_dir() for folder in folders):
        return Reading.not_supported("no modprobe configuration here")
    lines = "\n".join(
        kernel_files.text(file) or ""
        for folder in folders
        for file in kernel_files.entries(folder)
        if file.suffix == ".conf"
    )
    command_line = kernel_files.text(sysroot / "proc/cmdline") or ""
    return Reading.of(
        bool(
            re.search(
                r"^\s*(blacklist\s+nouveau|install\s+nouveau\s+/bin/(false|true)|"
                r"alias\s+nouveau\s+off)\b",
                lines,
                re.MULTILINE,
            )
            or re.search(r"(modprobe\.blacklist=\S*|rd\.driver\.blacklist=\S*)nouveau", command_line)
        )
    )


def _nodes(sysroot: Path) -> tuple[DeviceNode, ...]:
    names = [
        entry
        for entry in kernel_files.entries(sysroot / "dev")
        if re.fullmatch(r"nvidia(\d+|ctl|-uvm)", entry.name)
    ]
    return tuple(
        DeviceNode(path=f"/dev/{entry.name}", usable=os.access(entry, os.R_OK | os.W_OK)) for entry in names
    )
