"""Machine: everything that was read of one box, as plain records. ``inventory.gather.gather`` fills them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from inventory.machine.reading import Reading

_UNREAD: Reading[Any] = Reading.failed("not read")
_ABSENT: Reading[Any] = Reading.not_supported("not read on this machine")

DiskKind = Literal["nvme", "ssd", "hdd", "unknown"]
Environment = Literal["bare-metal", "virtual-machine", "container", "wsl2"]


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """From /etc/os-release: ``id`` "ubuntu", ``version`` "24.04", ``name`` the pretty one."""

    id: str = "unknown"
    version: str = ""
    codename: str = ""
    name: str = "unknown Linux"


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """The file system that data and results go to."""

    path: str
    total_bytes: int
    free_bytes: int
    """Free to this user (without root's reserve)."""
    kind: DiskKind = "unknown"


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """The computer around the card."""

    hostname: str = ""
    distribution: Distribution = Distribution()
    kernel: str = ""
    architecture: str = ""
    cpu_model: str = ""
    cpu_cores: int = 1
    cpu_threads: int = 1
    cpu_governor: Reading[str] = _ABSENT
    """Of the first core: "performance", "powersave", "schedutil" ..."""
    cpu_frequency_driver: Reading[str] = _ABSENT
    """"intel_pstate", "amd-pstate-epp", "acpi-cpufreq" ..."""
    load_average: Reading[float] = _ABSENT
    """Over the last minute, in runnable threads."""
    memory_bytes: int = 0
    memory_available_bytes: int = 0
    swap_bytes: int = 0
    disk: Reading[Disk] = _ABSENT
    python_version: str = ""
    environment: Environment = "bare-metal"
    is_laptop: bool = False
    """By the DMI chassis type."""
    secure_boot: Reading[bool] = _UNREAD
    iommu: Reading[bool] = _ABSENT
    """Whether the kernel put devices into IOMMU groups."""
    variables: dict[str, str] = {}
    """Environment variables that decide what CUDA programs see or load."""
    library_path_clashes: tuple[str, ...] = ()
    """Folders of LD_LIBRARY_PATH with CUDA libraries, which programs would load instead of their own."""


class PciCard(msgspec.Struct, frozen=True, kw_only=True):
    """One NVIDIA display function on the PCI bus, seen without any driver (class 0300 or 0302 only)."""

    address: str
    """"0000:01:00.0"."""
    device_id: int
    """0x1C03 of 10de:1c03."""
    subsystem_vendor_id: int = 0
    subsystem_device_id: int = 0
    class_code: int = 0x030000
    driver: str | None = None
    """Kernel driver bound to it: "nvidia", "nouveau", "vfio-pci" or None."""
    runtime_status: str = ""
    """"active" or "suspended": a laptop powers its card down between uses."""
    link_generation: Reading[int] = _ABSENT
    link_generation_max: Reading[int] = _ABSENT
    link_width: Reading[int] = _ABSENT
    link_width_max: Reading[int] = _ABSENT
    slot_generation_max: Reading[int] = _ABSENT
    """Of the bridge above the card: what the slot can do."""
    slot_width_max: Reading[int] = _ABSENT
    aer_fatal: Reading[int] = _ABSENT
    """Uncorrectable fatal PCIe errors since boot."""
    aer_nonfatal: Reading[int] = _ABSENT
    aer_correctable: Reading[int] = _ABSENT

    @property
    def pci_id(self) -> str:
        return f"10de:{self.device_id:04x}"


class Temperatures(msgspec.Struct, frozen=True, kw_only=True):
    """Degrees Celsius; the limits are the card's own."""

    gpu_c: Reading[int] = _UNREAD
    memory_c: Reading[int] = _ABSENT
    target_c: Reading[int] = _ABSENT
    max_operating_c: Reading[int] = _ABSENT
    slowdown_c: Reading[int] = _ABSENT
    shutdown_c: Reading[int] = _ABSENT
    memory_max_c: Reading[int] = _ABSENT


class Power(msgspec.Struct, frozen=True, kw_only=True):
    """Watts, and joules since the driver was loaded."""

    draw_w: Reading[float] = _UNREAD
    limit_w: Reading[float] = _ABSENT
    """What the driver enforces now."""
    default_limit_w: Reading[float] = _ABSENT
    min_limit_w: Reading[float] = _ABSENT
    max_limit_w: Reading[float] = _ABSENT
    energy_j: Reading[float] = _ABSENT


class Clocks(msgspec.Struct, frozen=True, kw_only=True):
    """MHz; ``event_reasons`` is NVML's bit mask of why clocks are below their maximum."""

    performance_state: Reading[int] = _UNREAD
    """0 (fastest) to 15."""
    sm_mhz: Reading[int] = _ABSENT
    sm_max_mhz: Reading[int] = _ABSENT
    memory_mhz: Reading[int] = _ABSENT
    memory_max_mhz: Reading[int] = _ABSENT
    event_reasons: Reading[int] = _ABSENT
    sw_thermal_us: Reading[int] = _ABSENT
    """Microseconds of software thermal slowdown since the driver was loaded: judged by difference."""
    hw_thermal_us: Reading[int] = _ABSENT
    power_brake_us: Reading[int] = _ABSENT


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """PCI Express as NVML sees it."""

    generation: Reading[int] = _ABSENT
    generation_max: Reading[int] = _ABSENT
    """Of this card in this system."""
    generation_device_max: Reading[int] = _ABSENT
    width: Reading[int] = _ABSENT
    width_max: Reading[int] = _ABSENT
    replays: Reading[int] = _ABSENT


class Errors(msgspec.Struct, frozen=True, kw_only=True):
    """What the card remembers of its own faults. Most of it does not exist on GeForce."""

    ecc_enabled: Reading[bool] = _ABSENT
    ecc_pending: Reading[bool] = _ABSENT
    ecc_corrected: Reading[int] = _ABSENT
    """Since the driver was loaded."""
    ecc_uncorrected: Reading[int] = _ABSENT
    ecc_uncorrected_lifetime: Reading[int] = _ABSENT
    retired_pages: Reading[int] = _ABSENT
    """For double-bit errors or too many single-bit ones."""
    retirement_pending: Reading[bool] = _ABSENT
    remapped_rows_corrected: Reading[int] = _ABSENT
    remapped_rows_uncorrected: Reading[int] = _ABSENT
    remap_pending: Reading[bool] = _ABSENT
    remap_failed: Reading[bool] = _ABSENT
    inforom_valid: Reading[bool] = _ABSENT
    inforom_version: Reading[str] = _ABSENT
    recovery_action: Reading[int] = _ABSENT
    """0 none, 1 reset the GPU, 2 reboot, 3 drain peers, 4 drain and reset, 6 bus reset, 7 system reboot."""


class GpuProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A program that holds the card."""

    pid: int
    kind: Literal["compute", "graphics"]
    name: str = ""
    memory_bytes: int | None = None
    draws: bool = False
    """In both of the driver's lists, "C+G" in nvidia-smi: a browser or another program of the desktop."""
    sm_percent: int | None = None
    """Share of about the last second in which its kernels ran; read only while something trains."""


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU as NVML sees it, in NVML's order (by PCI bus)."""

    index: int
    handle: Reading[bool] = Reading.of(True)
    """Whether NVML gave a handle; on failure its code (15: fallen off the bus)."""
    name: Reading[str] = _UNREAD
    uuid: Reading[str] = _UNREAD
    pci_address: Reading[str] = _UNREAD
    pci_device_id: Reading[int] = _UNREAD
    compute_capability: Reading[str] = _UNREAD
    memory_total_bytes: Reading[int] = _UNREAD
    memory_used_bytes: Reading[int] = _UNREAD
    """Without what the driver reserves (NVML's second memory struct)."""
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
    """What each fan is told to do, in percent; 0 when cool is how zero-RPM cards behave."""
    fan_rpm: Reading[int] = _ABSENT
    utilisation_percent: Reading[int] = _ABSENT
    compute_mode: Reading[int] = _ABSENT
    """0 default, 2 prohibited, 3 one process at a time."""
    persistence: Reading[bool] = _ABSENT
    display_active: Reading[bool] = _ABSENT
    mig: Reading[bool] = _ABSENT
    vbios_version: Reading[str] = _ABSENT
    gsp_version: Reading[str] = _ABSENT
    processes: Reading[tuple[GpuProcess, ...]] = _ABSENT


class Driver(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel module, and the user-space library beside it."""

    module_version: Reading[str] = _UNREAD
    """Version of the loaded kernel module, from /proc/driver/nvidia/version."""
    module_flavour: Reading[str] = _UNREAD
    """"open" or "closed"."""
    library_version: Reading[str] = _UNREAD
    """Driver version as NVML reports it; where NVML does not start, that in the library's file name."""
    cuda_version: Reading[str] = _UNREAD
    """Highest CUDA version the driver speaks, "13.0"."""
    modules: tuple[str, ...] = ()
    """Loaded kernel modules that claim NVIDIA cards: "nvidia", "nvidia_uvm", "nouveau"."""


class InstalledKernel(msgspec.Struct, frozen=True, kw_only=True):
    """One installed kernel and whether it would have the driver after a boot."""

    release: str
    has_headers: bool
    has_nvidia_module: bool
    bootable: bool = True
    """An image of it lies in /boot."""


class DkmsModule(msgspec.Struct, frozen=True, kw_only=True):
    """One NVIDIA source tree that DKMS builds, and for which kernels it did."""

    version: str
    built_for: tuple[str, ...] = ()


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """One installed Debian package of the driver."""

    name: str
    version: str
    held: bool = False


class DeviceNode(msgspec.Struct, frozen=True, kw_only=True):
    """/dev/nvidia0 and its like, and whether this user may use it."""

    path: str
    usable: bool


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """How the driver is installed, read from files; empty where that is another system's business."""

    kernels: Reading[tuple[InstalledKernel, ...]] = _ABSENT
    dkms: Reading[tuple[DkmsModule, ...]] = _ABSENT
    packages: Reading[tuple[Package, ...]] = _ABSENT
    unattended_upgrades: bool = False
    nouveau_blacklisted: Reading[bool] = _ABSENT
    device_nodes: tuple[DeviceNode, ...] = ()


class Xid(msgspec.Struct, frozen=True, kw_only=True):
    """One fault report of NVIDIA's kernel module."""

    code: int
    address: str = ""
    """"0000:01:00", as the module prints it."""
    message: str = ""


class KernelLog(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel said since it booted, as far as it concerns the cards."""

    source: str
    """"/dev/kmsg", "journalctl" or the file it came from."""
    xids: tuple[Xid, ...] = ()
    nvidia: tuple[str, ...] = ()
    """Other lines of NVIDIA's module, nouveau or module loading, oldest first, at most 50."""


class PowerSupply(msgspec.Struct, frozen=True, kw_only=True):
    """What feeds the computer, as far as a person said so."""

    watts: int
    source: str
    """Who said it: "--power-supply" or the name of a build."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What a box is, at ``read_at`` (ISO 8601, UTC)."""

    read_at: str
    host: Host = Host()
    cards: tuple[PciCard, ...] = ()
    driver: Driver = Driver()
    nvml: Reading[bool] = _UNREAD
    """Whether NVML came up; on failure its return code and what that means."""
    gpus: tuple[Gpu, ...] = ()
    installation: Installation = Installation()
    kernel_log: Reading[KernelLog] = _ABSENT
    power_supply: PowerSupply | None = None
    """None: nobody said what it is; software cannot read it."""

    @property
    def gpu_count(self) -> int:
        """Cards on the bus; under WSL2, where the bus does not show them, what NVML sees."""
        return max(len(self.cards), len(self.gpus))

    @property
    def has_gpu(self) -> bool:
        return self.gpu_count > 0

    def gpu_of(self, card: PciCard) -> Gpu | None:
        """NVML's view of a card on the bus, by PCI address."""
        return next((g for g in self.gpus if g.pci_address.value == card.address), None)

    def card_of(self, gpu: Gpu) -> PciCard | None:
        return next((c for c in self.cards if c.address == gpu.pci_address.value), None)
