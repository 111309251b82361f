"""``Machine``, the record of everything read from one computer. ``inventory.gather.gather`` fills it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

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
    """The computer without its cards."""

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
    swap_bytes: int = 0
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

    @property
    def pci_id(self) -> str:
        """ "10de:1c03"."""
        return f"10de:{self.device_id:04x}"


class Temperatures(msgspec.Struct, frozen=True, kw_only=True):
    """Temperatures in degrees Celsius. The limits are those that the card reports."""

    gpu_c: Reading[int] = _UNREAD
    memory_c: Reading[int] = _ABSENT
    target_c: Reading[int] = _ABSENT
    max_operating_c: Reading[int] = _ABSENT
    slowdown_c: Reading[int] = _ABSENT
    shutdown_c: Reading[int] = _ABSENT
    memory_max_c: Reading[int] = _ABSENT


class Power(msgspec.Struct, frozen=True, kw_only=True):
    """Power in watts, and energy in joules since the driver was loaded."""

    draw_w: Reading[float] = _UNREAD
    limit_w: Reading[float] = _ABSENT
    """The limit that the driver enforces now."""
    default_limit_w: Reading[float] = _ABSENT
    min_limit_w: Reading[float] = _ABSENT
    max_limit_w: Reading[float] = _ABSENT
    energy_j: Reading[float] = _ABSENT


class Clocks(msgspec.Struct, frozen=True, kw_only=True):
    """Clocks in MHz. ``event_reasons``: NVML's bit mask of the reasons why the clocks are below their maximum."""

    performance_state: Reading[int] = _UNREAD
    """Performance state, 0 (fastest) to 15."""
    sm_mhz: Reading[int] = _ABSENT
    sm_max_mhz: Reading[int] = _ABSENT
    memory_mhz: Reading[int] = _ABSENT
    memory_max_mhz: Reading[int] = _ABSENT
    event_reasons: Reading[int] = _ABSENT
    sw_thermal_us: Reading[int] = _ABSENT
    """Time of software thermal slowdown since the driver was loaded, in microseconds. The difference of two readings is
    the slowdown between them."""
    hw_thermal_us: Reading[int] = _ABSENT
    power_brake_us: Reading[int] = _ABSENT


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """The PCI Express link as NVML reports it."""

    generation: Reading[int] = _ABSENT
    generation_max: Reading[int] = _ABSENT
    """Highest generation that this card supports in this computer."""
    generation_device_max: Reading[int] = _ABSENT
    width: Reading[int] = _ABSENT
    width_max: Reading[int] = _ABSENT
    replays: Reading[int] = _ABSENT


class Errors(msgspec.Struct, frozen=True, kw_only=True):
    """Errors that the card has recorded. GeForce cards support few of these counters."""

    ecc_enabled: Reading[bool] = _ABSENT
    ecc_pending: Reading[bool] = _ABSENT
    ecc_corrected: Reading[int] = _ABSENT
    """Number of errors since the driver was loaded."""
    ecc_uncorrected: Reading[int] = _ABSENT
    ecc_uncorrected_lifetime: Reading[int] = _ABSENT
    retired_pages: Reading[int] = _ABSENT
    """Pages retired because of double-bit errors or many single-bit errors."""
    retirement_pending: Reading[bool] = _ABSENT
    remapped_rows_corrected: Reading[int] = _ABSENT
    remapped_rows_uncorrected: Reading[int] = _ABSENT
    remap_pending: Reading[bool] = _ABSENT
    remap_failed: Reading[bool] = _ABSENT
    inforom_valid: Reading[bool] = _ABSENT
    inforom_version: Reading[str] = _ABSENT
    recovery_action: Reading[int] = _ABSENT
    """Recovery action: 0 none, 1 reset the GPU, 2 reboot, 3 drain peers, 4 drain and reset, 6 bus reset, 7 system
    reboot."""


class GpuProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A program that uses the card."""

    pid: int
    kind: Literal["compute", "graphics"]
    name: str = ""
    memory_bytes: int | None = None
    draws: bool = False
    """Whether the program is in both lists of the driver, graphics and compute ("C+G" in nvidia-smi). Browsers and
    other
    desktop programs are in both."""
    sm_percent: int | None = None
    """Share of about the last second in which kernels of the program ran, in percent. Read only during training."""


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU as NVML reports it. NVML numbers GPUs by PCI bus."""

    index: int
    handle: Reading[bool] = Reading.of(True)
    """Whether NVML returned a handle for the card. On failure, the return code (15: the card has fallen off the
    bus)."""
    name: Reading[str] = _UNREAD
    uuid: Reading[str] = _UNREAD
    pci_address: Reading[str] = _UNREAD
    pci_device_id: Reading[int] = _UNREAD
    compute_capability: Reading[str] = _UNREAD
    memory_total_bytes: Reading[int] = _UNREAD
    memory_used_bytes: Reading[int] = _UNREAD
    """Used memory without the memory that the driver reserves (version 2 of NVML's memory struct)."""
    memory_reserved_bytes: Reading[int] = _UNREAD
    bar1_total_bytes: Reading[int] = _ABSENT
    memory_bus_bits: Reading[int] = _ABSENT
    cores: Reading[int] = _ABSENT
    temperatures: Temperatures = Temperatures()
    power: Power = Power()
    clocks: Clocks = Clocks()
    link: Link = Link()
    errors: Errors = Errors()
    fan_percent: Reading[tuple[int, ...]] = _ABSENT
    """The speed that each fan is set to, in percent. Many cards stop their fans (0) while they are cool."""
    fan_rpm: Reading[int] = _ABSENT
    utilisation_percent: Reading[int] = _ABSENT
    compute_mode: Reading[int] = _ABSENT
    """Compute mode: 0 default, 2 prohibited, 3 one process at a time."""
    persistence: Reading[bool] = _ABSENT
    display_active: Reading[bool] = _ABSENT
    mig: Reading[bool] = _ABSENT
    vbios_version: Reading[str] = _ABSENT
    gsp_version: Reading[str] = _ABSENT
    processes: Reading[tuple[GpuProcess, ...]] = _ABSENT


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


class DkmsModule(msgspec.Struct, frozen=True, kw_only=True):
    """One version of the NVIDIA module in DKMS, and the kernels for which DKMS has built it."""

    version: str
    built_for: tuple[str, ...] = ()


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """One installed Debian package of the driver."""

    name: str
    version: str
    held: bool = False


class DeviceNode(msgspec.Struct, frozen=True, kw_only=True):
    """A device file such as /dev/nvidia0, and whether this user may use it."""

    path: str
    usable: bool


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """How the driver is installed, read from files; empty in a container and under WSL2."""

    kernels: Reading[tuple[InstalledKernel, ...]] = _ABSENT
    dkms: Reading[tuple[DkmsModule, ...]] = _ABSENT
    packages: Reading[tuple[Package, ...]] = _ABSENT
    unattended_upgrades: bool = False
    nouveau_blacklisted: Reading[bool] = _ABSENT
    device_nodes: tuple[DeviceNode, ...] = ()


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
    """Other messages of NVIDIA's module, of nouveau or about module loading, oldest first, at most 50."""


class PowerSupply(msgspec.Struct, frozen=True, kw_only=True):
    """The power supply of the computer, as a person stated it."""

    watts: int
    source: str
    """Where the power supply was stated: "--power-supply" or the name of a bill of materials."""


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
