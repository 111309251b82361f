"""Machine: everything that was read of one box, as plain records. ``inventory.facts.gather`` fills them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from inventory.reading import Reading

_UNREAD: Reading[Any] = Reading.failed("not read")


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """From /etc/os-release: ``id`` "ubuntu", ``version`` "24.04", ``name`` the pretty one."""

    id: str = "unknown"
    version: str = ""
    codename: str = ""
    name: str = "unknown Linux"


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """The computer around the card."""

    hostname: str = ""
    distribution: Distribution = Distribution()
    kernel: str = ""
    architecture: str = ""
    cpu_model: str = ""
    cpu_cores: int = 1
    cpu_threads: int = 1
    memory_bytes: int = 0
    swap_bytes: int = 0
    python_version: str = ""
    environment: Literal["bare-metal", "virtual-machine", "container", "wsl2"] = "bare-metal"
    secure_boot: Reading[bool] = _UNREAD


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

    @property
    def pci_id(self) -> str:
        return f"10de:{self.device_id:04x}"


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU as NVML sees it, in NVML's order (by PCI bus)."""

    index: int
    name: Reading[str] = _UNREAD
    uuid: Reading[str] = _UNREAD
    pci_address: Reading[str] = _UNREAD
    pci_device_id: Reading[int] = _UNREAD
    compute_capability: Reading[str] = _UNREAD
    memory_total_bytes: Reading[int] = _UNREAD
    memory_used_bytes: Reading[int] = _UNREAD
    """Without what the driver reserves (NVML's second memory struct)."""
    memory_reserved_bytes: Reading[int] = _UNREAD


class Driver(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel module, and the user-space library beside it."""

    module_version: Reading[str] = _UNREAD
    """Version of the loaded kernel module, from /proc/driver/nvidia/version."""
    module_flavour: Reading[str] = _UNREAD
    """"open" or "closed"."""
    library_version: Reading[str] = _UNREAD
    """Version NVML reports for itself."""
    cuda_version: Reading[str] = _UNREAD
    """Highest CUDA version the driver speaks, "13.0"."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What a box is, at ``read_at`` (ISO 8601, UTC)."""

    read_at: str
    host: Host = Host()
    cards: tuple[PciCard, ...] = ()
    driver: Driver = Driver()
    nvml: Reading[bool] = _UNREAD
    """Whether NVML came up; on failure its return code and what that means."""
    gpus: tuple[Gpu, ...] = ()

    @property
    def gpu_count(self) -> int:
        """Cards on the bus; under WSL2, where the bus does not show them, what NVML sees."""
        return max(len(self.cards), len(self.gpus))

    @property
    def has_gpu(self) -> bool:
        return self.gpu_count > 0
