"""``Machine``, the record of everything read from one computer. ``inventory.gather.gather`` fills it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from inventory.machine.gpu_records import Gpu
from inventory.machine.reading import Reading

_UNREAD: Reading[Any] = Reading.failed("not read")
_ABSENT: Reading[Any] = Reading.not_supported("not read on this machine")

DiskKind = Literal["nvme", "ssd", "hdd", "unknown"]
Environment = Literal["bare-metal", "virtual-machine", "container", "wsl2"]


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """From /etc/os-release: ``id`` "ubuntu", ``version`` "24.04", ``name`` "Ubuntu 24.04.3 LTS"."""

    id: str = "unknown"
    version: str = ""
    codename: str = ""
    name: str = "unknown Linux"


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """The file system for data and results."""

    path: str
    total_bytes: int
    free_bytes: int
    """Free space for this user, without the blocks that are reserved for root."""
    kind: DiskKind = "unknown"


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """The computer, without its graphics cards: system, processor, memory, disks."""

    hostname: str = ""
    """Host name, as ``inventory.machine.host.host_name`` returns it."""
    distribution: Distribution = Distribution()
    kernel: str = ""
    architecture: str = ""
    cpu_model: str = ""
    cpu_cores: int = 1
    cpu_threads: int = 1
    cpu_governor: Reading[str] = _ABSENT
    """Frequency governor of the first core: "performance", "powersave", "schedutil" ..."""
    cpu_frequency_driver: Reading[str] = _ABSENT
    """Frequency driver: "intel_pstate", "amd-pstate-epp", "acpi-cpufreq" ..."""
    load_average: Reading[float] = _ABSENT
    """Number of runnable threads, averaged over the last minute."""
    memory_bytes: int = 0
    memory_available_bytes: int = 0
    swap_bytes: int | None = None
    """Size of the swap space; None if it was not read."""
    disk: Reading[Disk] = _ABSENT
    python_version: str = ""
    environment: Environment = "bare-metal"
    is_laptop: bool = False
    """Whether the computer is portable, from the DMI chassis type."""
    secure_boot: Reading[bool] = _UNREAD
    iommu: Reading[bool] = _ABSENT
    """Whether the kernel has assigned devices to IOMMU groups."""
    variables: dict[str, str] = {}
    """Environment variables that decide which cards CUDA programs see and which libraries they load."""
    library_path_clashes: tuple[str, ...] = ()
    """Folders in LD_LIBRARY_PATH that contain CUDA libraries. Programs load these libraries instead of their own."""
    cpu_flags: Reading[tuple[str, ...]] = _ABSENT
    """Instruction sets of the processor that wheels may need, for example "avx", "avx2" and "avx512f", sorted."""
    on_battery: Reading[bool] = _ABSENT
    """Whether a portable computer runs on its battery."""


class PciCard(msgspec.Struct, frozen=True, kw_only=True):
    """One NVIDIA display function (class 0300 or 0302) on the PCI bus, which is visible without a driver."""

    address: str
    """"0000:01:00.0"."""
    device_id: int
    """Device id, for example 0x1C03 for the PCI id 10de:1c03."""
    subsystem_vendor_id: int = 0
    subsystem_device_id: int = 0
    class_code: int = 0x030000
    driver: str | None = None
    """Kernel driver that is bound to the card: "nvidia", "nouveau", "vfio-pci", or None."""
    runtime_status: str = ""
    """Power state, "active" or "suspended": a laptop powers its card down between uses."""
    link_generation: Reading[int] = _ABSENT
    link_generation_max: Reading[int] = _ABSENT
    link_width: Reading[int] = _ABSENT
    link_width_max: Reading[int] = _ABSENT
    slot_generation_max: Reading[int] = _ABSENT
    """Highest generation of the slot, read from the bridge above the card."""
    slot_width_max: Reading[int] = _ABSENT
    aer_fatal: Reading[int] = _ABSENT
    """Uncorrectable fatal PCIe errors since boot."""
    aer_nonfatal: Reading[int] = _ABSENT
    aer_correctable: Reading[int] = _ABSENT
    bar_bytes: Reading[tuple[int, ...]] = _ABSENT
    """Sizes of the memory regions BAR 0 to BAR 5 that have an address; 0 for a region without one."""
    bridge: str = ""
    """Address of the PCI bridge that the card is connected to; empty if it is not visible."""

    @property
    def pci_id(self) -> str:
        """ "10de:1c03"."""
        return f"10de:{self.device_id:04x}"


class Driver(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel module and the user-space library of the driver."""

    module_version: Reading[str] = _UNREAD
    """Version of the loaded kernel module, from /proc/driver/nvidia/version."""
    module_flavour: Reading[str] = _UNREAD
    """"open" or "closed"."""
    library_version: Reading[str] = _UNREAD
    """Driver version as NVML reports it; if NVML does not start, the version in the library's file name."""
    cuda_version: Reading[str] = _UNREAD
    """Highest CUDA version that the driver supports, for example "13.0"."""
    modules: tuple[str, ...] = ()
    """Loaded kernel modules that can bind NVIDIA cards: "nvidia", "nvidia_uvm", "nouveau"."""


class InstalledKernel(msgspec.Struct, frozen=True, kw_only=True):
    """One installed kernel, and whether the driver is installed for it."""

    release: str
    has_headers: bool
    has_nvidia_module: bool
    bootable: bool = True
    """Whether /boot has an image of it."""
    nvidia_modules: tuple[str, ...] = ()
    """Paths of NVIDIA's main module below /lib/modules/RELEASE: "updates/dkms/nvidia-current-open.ko.xz"."""


class DkmsModule(msgspec.Struct, frozen=True, kw_only=True):
    """One version of the NVIDIA module in DKMS, and the kernels for which DKMS has built it."""

    version: str
    built_for: tuple[str, ...] = ()
    name: str = ""
    """Name of the module in DKMS, such as "nvidia" or "nvidia-current-open"."""


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """One installed Debian package of the driver."""

    name: str
    version: str
    held: bool = False
    configured: bool = True
    """False if dpkg has unpacked the package and its configuration failed or was interrupted."""


class DeviceNode(msgspec.Struct, frozen=True, kw_only=True):
    """A device file such as /dev/nvidia0, and whether this user may use it."""

    path: str
    usable: bool


class ConfigLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a configuration file or of a log file, and the file's path."""

    path: str
    text: str


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """How the driver is installed, read from files; empty in a container and under WSL2."""

    kernels: Reading[tuple[InstalledKernel, ...]] = _ABSENT
    dkms: Reading[tuple[DkmsModule, ...]] = _ABSENT
    packages: Reading[tuple[Package, ...]] = _ABSENT
    unattended_upgrades: bool = False
    nouveau_blacklisted: Reading[bool] = _ABSENT
    device_nodes: tuple[DeviceNode, ...] = ()
    settings: Reading[tuple[ConfigLine, ...]] = _ABSENT
    """Lines of modprobe's configuration, of udev rules and of the kernel command line that name a driver of cards."""
    build_errors: Reading[tuple[ConfigLine, ...]] = _ABSENT
    """Error lines of DKMS' build logs of the NVIDIA module."""
    kernel_packages: Reading[tuple[str, ...]] = _ABSENT
    """Installed metapackages that bring kernels: "linux-image-generic-hwe-24.04"."""
    inside_packages: Reading[tuple[Package, ...]] = _ABSENT
    """Driver packages that are installed inside a container or under WSL2."""
    kernel_compiler: Reading[str] = _ABSENT
    """Compiler of the running kernel: "gcc 13"."""
    firmware_versions: Reading[tuple[str, ...]] = _ABSENT
    """Driver versions whose GSP firmware is installed below /lib/firmware/nvidia."""
    runfile: Reading[str] = _ABSENT
    """A file that NVIDIA's own installer (the .run file) leaves behind."""
    container: Reading[str] = _ABSENT
    """Kind of the container: "docker", "podman", "lxc" ..."""
    windows_library: Reading[str] = _ABSENT
    """Under WSL2: the library of NVIDIA's driver that Windows provides."""


class Xid(msgspec.Struct, frozen=True, kw_only=True):
    """One error report of NVIDIA's kernel module."""

    code: int
    address: str = ""
    """PCI address as the module prints it, such as "0000:01:00"."""
    message: str = ""


class KernelLog(msgspec.Struct, frozen=True, kw_only=True):
    """Kernel messages about the cards since boot."""

    source: str
    """Source of the log: "/dev/kmsg", "journalctl" or the name of a log file."""
    xids: tuple[Xid, ...] = ()
    nvidia: tuple[str, ...] = ()
    """Other messages of NVIDIA's module, of nouveau or nova, about module loading or the cards' PCI devices, oldest
    first: the first 100 and the last 100."""
    dropped: int = 0
    """Number of such messages between the first and the last ones that are left out."""


class PowerSupply(msgspec.Struct, frozen=True, kw_only=True):
    """The power supply of the computer, as a person stated it."""

    watts: int
    source: str
    """Where the power supply was stated: "--power-supply" or the name of a bill of materials."""
    processor_w: float | None = None
    """Peak power of the processor in watts, if a bill of materials states it."""
    atx_version: float | None = None


class MachineSource(msgspec.Struct, frozen=True, kw_only=True):
    """The report of another computer from which a Machine was read."""

    name: str
    """What the report consists of: "nvidia-smi -q -x", or "nvidia-bug-report (dmesg, lspci, nvidia-smi -q)"."""
    parts: tuple[str, ...] = ()
    """The kinds of text that were recognised in the report, sorted: "dmesg", "lspci", "nvidia-smi -q" ..."""
    missing: tuple[str, ...] = ()
    """Fields of Machine without a Reading that the report does not contain: "host.memory_bytes", "cards" ..."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """One computer as it was at ``read_at`` (ISO 8601, UTC)."""

    read_at: str
    host: Host = Host()
    cards: tuple[PciCard, ...] = ()
    driver: Driver = Driver()
    nvml: Reading[bool] = _UNREAD
    """Whether NVML started. On failure, its return code and the meaning of that code."""
    gpus: tuple[Gpu, ...] = ()
    installation: Installation = Installation()
    kernel_log: Reading[KernelLog] = _ABSENT
    power_supply: PowerSupply | None = None
    """The power supply; None if nobody stated it, because software cannot read it."""
    source: MachineSource | None = None
    """The report that this record was read from; None if it was read on the computer itself."""

    @property
    def gpu_count(self) -> int:
        """Number of cards on the bus; under WSL2, where the bus does not show them, the number that NVML reports."""
        return max(len(self.cards), len(self.gpus))

    @property
    def has_gpu(self) -> bool:
        """Whether there is at least one NVIDIA card."""
        return self.gpu_count > 0

    def gpu_of(self, card: PciCard) -> Gpu | None:
        """The GPU in NVML that has the PCI address of ``card``; None if there is none."""
        return next((g for g in self.gpus if g.pci_address.value == card.address), None)

    def card_of(self, gpu: Gpu) -> PciCard | None:
        """The card on the PCI bus that has the address of ``gpu``; None if there is none."""
        return next((c for c in self.cards if c.address == gpu.pci_address.value), None)
