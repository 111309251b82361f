"""How the NVIDIA driver is installed: loaded modules, kernels, DKMS, packages, device nodes. Reads files only."""

from __future__ import annotations

import os
import re
from pathlib import Path

from inventory.machine import driver_packages, kernel_files, module_settings
from inventory.machine.reading import Reading
from inventory.machine.records import (
    ConfigLine,
    DeviceNode,
    DkmsModule,
    Driver,
    Installation,
    InstalledKernel,
)

_CLAIM_CARDS = (
    "nvidia", "nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nouveau", "nova_core", "nova_drm", "nvidiafb", "vfio_pci",
)  # fmt: skip
_MODULE_FILE = re.compile(r"nvidia(-(current|tesla|legacy)(-\d+(xx)?)?)?(-open)?\.ko(\.\w+)?")
"""File of NVIDIA's main module. Debian renames it: nvidia-current.ko, nvidia-current-open.ko, nvidia-tesla-470.ko."""
_BUILD_ERROR = re.compile(
    r"\berror:|compiler differs|unrecognized command|bad exit status|not found|PREEMPT_RT sanity check",
    re.IGNORECASE,
)
_MOST_ERRORS = 20


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
    """How the driver is installed. In a container or under WSL2 the host installs it; there only the device nodes, the
    kind of the container and the packages inside are read."""
    nodes = _nodes(sysroot, inside=environment == "container")
    packages, kernel_packages = driver_packages.read(sysroot)
    if environment in ("container", "wsl2"):
        windows = "usr/lib/wsl/lib/libnvidia-ml.so.1"
        provided = environment == "wsl2" and (sysroot / windows).exists()
        return Installation(
            device_nodes=nodes,
            inside_packages=packages,
            windows_library=Reading.of(f"/{windows}") if provided else Reading.not_supported("not provided"),
            container=_container(sysroot)
            if environment == "container"
            else Reading.not_supported("no container"),
        )
    settings = module_settings.read(sysroot)
    return Installation(
        kernels=_kernels(sysroot, release),
        dkms=_dkms(sysroot),
        packages=packages,
        unattended_upgrades=_unattended(sysroot),
        nouveau_blacklisted=module_settings.blocks_nouveau(settings),
        device_nodes=nodes,
        settings=settings,
        build_errors=_build_errors(sysroot, release),
        kernel_packages=kernel_packages,
        kernel_compiler=_compiler(sysroot),
        firmware_versions=_firmware(sysroot),
        runfile=_runfile(sysroot),
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
            has_nvidia_module=bool(modules),
            bootable=entry.name == running or (sysroot / f"boot/vmlinuz-{entry.name}").exists(),
            nvidia_modules=modules,
        )
        for entry in found
        for modules in [_modules(entry)]
    ]
    return Reading.of(tuple(sorted(kernels, key=lambda kernel: _release_key(kernel.release))))


def _modules(folder: Path) -> tuple[str, ...]:
    """Paths of NVIDIA's main module below a kernel's folder, compressed or not, from DKMS, a prebuilt package or the
    installer."""
    index = kernel_files.text(folder / "modules.dep", 8 << 20) or ""
    listed = [line.partition(":")[0].strip() for line in index.splitlines() if "nvidia" in line]
    found = [path for path in listed if _MODULE_FILE.fullmatch(path.rpartition("/")[2])]
    places = ("updates/dkms", "extra", "kernel/drivers/video", "updates", "kernel/drivers/char/drm")
    found += [
        f"{place}/{entry.name}"
        for place in places
        for entry in kernel_files.entries(folder / place)
        if _MODULE_FILE.fullmatch(entry.name)
    ]
    return tuple(dict.fromkeys(found))


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
            modules.append(DkmsModule(version=version.name, built_for=built, name=name.name))
    return Reading.of(tuple(modules))


def _build_errors(sysroot: Path, release: str) -> Reading[tuple[ConfigLine, ...]]:
    """Error lines of the last failed build for the kernel ``release``, which DKMS leaves in build/make.log."""
    found: list[ConfigLine] = []
    folder = sysroot / "var/lib/dkms"
    if not folder.is_dir():
        return Reading.not_supported("DKMS is not installed")
    for log in sorted(folder.glob("nvidia*/*/build/make.log")):
        content = kernel_files.text(log, 4 << 20) or ""
        about = re.search(r"for kernel:? (\S+)", content.partition("\n\n")[0])
        if about is not None and about.group(1) != release:
            continue
        lines = content.splitlines()
        wrong = [
            line if "compiler differs" not in line else " ".join(part.strip() for part in lines[n : n + 3])
            for n, line in enumerate(lines)
            if _BUILD_ERROR.search(line)
        ]
        path = f"/{log.relative_to(sysroot)}"
        found += [ConfigLine(path=path, text=" ".join(line.split())[:300]) for line in wrong[:_MOST_ERRORS]]
    return Reading.of(tuple(found))


def _compiler(sysroot: Path) -> Reading[str]:
    """ "gcc 13", from the line that the kernel was built with."""
    version = kernel_files.text(sysroot / "proc/version") or ""
    found = re.search(
        r"\b(gcc|clang)(?:-\d+)?(?: version|\s*\([^()]*(?:\([^()]*\)[^()]*)*\))?\s*(\d+)\.\d+", version
    )
    if not found:
        return Reading.not_supported("the kernel does not name its compiler")
    return Reading.of(f"{found.group(1)} {found.group(2)}")


def _firmware(sysroot: Path) -> Reading[tuple[str, ...]]:
    versions = {
        file.parent.name
        for place in ("lib/firmware/nvidia", "usr/lib/firmware/nvidia", "lib/firmware/updates/nvidia")
        for file in (sysroot / place).glob("*/gsp*.bin*")
        if re.fullmatch(r"\d+\.[\d.]+", file.parent.name)
    }
    if not versions:
        return Reading.not_supported("no GSP firmware is installed in the usual folders")
    return Reading.of(tuple(sorted(versions)))


def _runfile(sysroot: Path) -> Reading[str]:
    for name in ("usr/bin/nvidia-uninstall", "usr/bin/nvidia-installer", "var/log/nvidia-installer.log"):
        if (sysroot / name).exists():
            return Reading.of(f"/{name}")
    return Reading.not_supported("no trace of NVIDIA's installer")


def _container(sysroot: Path) -> Reading[str]:
    """Kind of the container, as systemd or the container's own mark names it."""
    named = kernel_files.text(sysroot / "run/systemd/container", 64)
    if named and re.fullmatch(r"[a-z0-9_.-]+", named):
        return Reading.of(named)
    marks = (
        ("run/secrets/kubernetes.io", "kubernetes"), ("var/run/secrets/kubernetes.io", "kubernetes"),
        (".singularity.d", "apptainer"), (".dockerenv", "docker"), ("run/.containerenv", "podman"),
        ("dev/lxd/sock", "lxc"), ("dev/incus/sock", "lxc"),
    )  # fmt: skip
    for mark, kind in marks:
        if (sysroot / mark).exists():
            return Reading.of(kind)
    return Reading.not_supported("the container does not name its kind")


def _unattended(sysroot: Path) -> bool:
    for file in kernel_files.entries(sysroot / "etc/apt/apt.conf.d"):
        if re.search(
            r'^\s*APT::Periodic::Unattended-Upgrade\s+"1"', kernel_files.text(file) or "", re.MULTILINE
        ):
            return True
    return False


def _nodes(sysroot: Path, *, inside: bool = False) -> tuple[DeviceNode, ...]:
    """The device nodes. ``inside`` a container the shared node is opened too: the host can take the device from the
    container, and the node then keeps its permissions."""
    names = [
        entry
        for entry in kernel_files.entries(sysroot / "dev")
        if re.fullmatch(r"nvidia(\d+|ctl|-uvm)", entry.name)
    ]
    return tuple(
        DeviceNode(
            path=f"/dev/{entry.name}",
            usable=os.access(entry, os.R_OK | os.W_OK)
            and not (inside and entry.name == "nvidiactl" and _is_refused(entry)),
        )
        for entry in names
    )


def _is_refused(node: Path) -> bool:
    """Whether the kernel refuses to open the node, which os.access does not see. Any other error does not count."""
    try:
        os.close(os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    except PermissionError:
        return True
    except OSError:
        return False
    return False
