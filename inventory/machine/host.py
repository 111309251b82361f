"""Read the computer except its cards: distribution, kernel, processor, memory, disk, firmware, environment."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import psutil

from inventory.machine import kernel_files
from inventory.machine.reading import Reading
from inventory.machine.records import Disk, DiskKind, Distribution, Environment, Host

_LAPTOP_CHASSIS = {8, 9, 10, 11, 14, 30, 31, 32}
"""SMBIOS chassis types of portable computers (System Management BIOS reference, table 17)."""

_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_CACHE_DISABLE",
    "CUDA_FORCE_PTX_JIT",
    "CUDA_DISABLE_PTX_JIT",
    "CUDA_INJECTION64_PATH",
    "NVIDIA_TF32_OVERRIDE",
    "NVIDIA_VISIBLE_DEVICES",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "XLA_FLAGS",
    "TF_XLA_FLAGS",
    "JAX_PLATFORMS",
    "TF_FORCE_GPU_ALLOW_GROWTH",
)

_HOST_NAME_LENGTH = 255
_NOT_IN_HOST_NAMES = frozenset("/\\<>|\"'`$;&{}")
"""Characters that have a special meaning in paths, shells, markup or templates. A stored result is refused if its
host name contains one of them (bench/results/record/grammar.py)."""

_CUDA_LIBRARY = re.compile(r"lib(cudart|cudnn|cublas|cublasLt|cufft|cusolver|cusparse|nccl|nvrtc)(_\w+)?\.so")


def read(sysroot: Path = Path("/")) -> Host:
    """All fields of ``Host``, read from files below ``sysroot`` and from the running system."""
    environment = _environment(sysroot)
    memory = psutil.virtual_memory()
    release = kernel_files.text(sysroot / "proc/sys/kernel/osrelease") or platform.release()
    return Host(
        hostname=host_name(platform.node()),
        distribution=_distribution(sysroot),
        kernel=release,
        architecture=platform.machine(),
        cpu_model=_cpu_model(sysroot),
        cpu_cores=psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        cpu_threads=psutil.cpu_count() or 1,
        cpu_governor=kernel_files.reading(sysroot / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        cpu_frequency_driver=kernel_files.reading(
            sysroot / "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver"
        ),
        load_average=_load(sysroot),
        memory_bytes=memory.total,
        memory_available_bytes=memory.available,
        swap_bytes=_swap(sysroot),
        disk=_disk(sysroot),
        python_version=platform.python_version(),
        environment=environment,
        is_laptop=kernel_files.whole(sysroot / "sys/class/dmi/id/chassis_type") in _LAPTOP_CHASSIS,
        secure_boot=_secure_boot(sysroot),
        iommu=_iommu(sysroot),
        library_path_clashes=_clashes(),
        on_battery=_on_battery(sysroot),
        variables={name: os.environ[name] for name in _VARIABLES if name in os.environ},
    )


def host_name(text: str) -> str:
    """Convert ``text`` to a host name that a stored result may contain, of at most 255 characters.

    The kernel accepts any bytes as a host name. A "-" replaces each character that cannot be printed or has a meaning
    in paths, shells, markup or templates; all other names stay as they are.
    """
    legal = (c if c.isprintable() and c not in _NOT_IN_HOST_NAMES else "-" for c in text[:_HOST_NAME_LENGTH])
    return "".join(legal)


def _clashes() -> tuple[str, ...]:
    """Folders in LD_LIBRARY_PATH that contain CUDA libraries. The loader searches them before the folders of Python
    wheels."""
    folders = [Path(folder) for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    return tuple(
        str(folder)
        for folder in folders
        if any(_CUDA_LIBRARY.match(entry.name) for entry in kernel_files.entries(folder))
    )


def _distribution(sysroot: Path) -> Distribution:
    fields: dict[str, str] = {}
    content = (
        kernel_files.text(sysroot / "etc/os-release")
        or kernel_files.text(sysroot / "usr/lib/os-release")
        or ""
    )
    for line in content.splitlines():
        key, _, value = line.partition("=")
        fields[key.strip()] = value.strip().strip("\"'")
    return Distribution(
        id=fields.get("ID") or "unknown",
        version=fields.get("VERSION_ID", ""),
        codename=fields.get("VERSION_CODENAME", ""),
        name=fields.get("PRETTY_NAME") or fields.get("NAME") or "unknown Linux",
    )


def cpu_flags(sysroot: Path) -> frozenset[str]:
    """Features of the processor as the kernel names them ("avx2", "hypervisor", ...); empty if it lists none."""
    match = re.search(r"^flags\s*:(.*)$", kernel_files.text(sysroot / "proc/cpuinfo") or "", re.MULTILINE)
    return frozenset(match[1].split()) if match else frozenset()


def _environment(sysroot: Path) -> Environment:
    version = (kernel_files.text(sysroot / "proc/version") or "").lower()
    if "microsoft" in version:
        return "wsl2"
    if any(
        (sysroot / mark).exists() for mark in (".dockerenv", "run/.containerenv", "run/systemd/container")
    ):
        return "container"
    first = kernel_files.text(sysroot / "proc/1/environ") or ""
    cgroup = kernel_files.text(sysroot / "proc/1/cgroup") or ""
    if (
        "container=" in first.split("\0")
        or any(variable.startswith("container=") for variable in first.split("\0"))
        or re.search(r"docker|kubepods|libpod|lxc|containerd", cgroup)
    ):
        return "container"
    return "virtual-machine" if "hypervisor" in cpu_flags(sysroot) else "bare-metal"


def _cpu_model(sysroot: Path) -> str:
    match = re.search(
        r"^model name\s*:\s*(.+)$", kernel_files.text(sysroot / "proc/cpuinfo") or "", re.MULTILINE
    )
    return match.group(1).strip() if match else platform.processor() or platform.machine()


def _load(sysroot: Path) -> Reading[float]:
    content = kernel_files.text(sysroot / "proc/loadavg") or ""
    try:
        return Reading.of(float(content.split()[0]))
    except (IndexError, ValueError):
        return Reading.not_supported("no load average")


def _swap(sysroot: Path) -> int | None:
    match = re.search(
        r"^SwapTotal:\s*(\d+) kB", kernel_files.text(sysroot / "proc/meminfo") or "", re.MULTILINE
    )
    return int(match.group(1)) * 1024 if match else None


def _on_battery(sysroot: Path) -> Reading[bool]:
    """Whether the computer runs on its battery: no mains adapter is online, or without one a battery discharges."""
    mains: list[bool] = []
    discharging: list[bool] = []
    for supply in kernel_files.entries(sysroot / "sys/class/power_supply"):
        kind = (kernel_files.text(supply / "type") or "").strip()
        if kind == "Mains":
            mains.append(kernel_files.whole(supply / "online") == 1)
        elif kind == "Battery" and (kernel_files.text(supply / "scope") or "").strip() != "Device":
            discharging.append((kernel_files.text(supply / "status") or "").strip() == "Discharging")
    if not discharging:
        return Reading.not_supported("this computer has no battery")
    return Reading.of(not any(mains) if mains else any(discharging))


def _secure_boot(sysroot: Path) -> Reading[bool]:
    """Whether Secure Boot is on, from the EFI variable SecureBoot: four bytes of attributes, then 0 or 1."""
    folder = sysroot / "sys/firmware/efi/efivars"
    if not (sysroot / "sys/firmware/efi").exists():
        return Reading.not_supported("this machine did not boot through UEFI")
    try:
        variable = next(iter(folder.glob("SecureBoot-*")), None)
        if variable is None:
            return Reading.not_supported("the firmware has no Secure Boot")
        return Reading.of(variable.read_bytes()[4:5] == b"\x01")
    except PermissionError:
        return Reading.no_permission("the firmware's variables are not readable for this user")
    except OSError as error:
        return Reading.failed(f"the firmware's variables: {error.strerror}")


def _iommu(sysroot: Path) -> Reading[bool]:
    folder = sysroot / "sys/kernel/iommu_groups"
    if not folder.exists():
        return Reading.not_supported("the kernel has no IOMMU support")
    return Reading.of(bool(kernel_files.entries(folder)))


def _disk(sysroot: Path) -> Reading[Disk]:
    """The file system of the home folder, where caches and results are stored."""
    try:
        home = Path.home()
        usage = os.statvfs(home)
        device = home.stat().st_dev
    except (OSError, RuntimeError) as error:
        return Reading.failed(f"the home folder: {getattr(error, 'strerror', None) or error}")
    return Reading.of(
        Disk(
            path=str(home),
            total_bytes=usage.f_blocks * usage.f_frsize,
            free_bytes=usage.f_bavail * usage.f_frsize,
            kind=_disk_kind(sysroot, device),
        )
    )


def _disk_kind(sysroot: Path, device: int) -> DiskKind:
    """Kind of disk, from the name of the block device and its flag ``rotational``. A partition has the flag of its
    disk.

    The disk of a virtual machine (vda) always has the flag, so its kind is unknown.
    """
    folder = sysroot / f"sys/dev/block/{os.major(device)}:{os.minor(device)}"
    try:
        folder = folder.resolve()
    except (OSError, RuntimeError):
        return "unknown"
    if folder.name.startswith("nvme"):
        return "nvme"
    if folder.name.startswith(("vd", "xvd")):
        return "unknown"
    for place in (folder, folder.parent):
        rotational = kernel_files.whole(place / "queue/rotational")
        if rotational is not None:
            return "hdd" if rotational else "ssd"
    return "unknown"
