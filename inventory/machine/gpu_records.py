"""Records of the GPUs as NVML reports them. ``inventory.machine.records.Machine`` contains them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from inventory.machine.reading import Reading

_UNREAD: Reading[Any] = Reading.failed("not read")
_ABSENT: Reading[Any] = Reading.not_supported("not read on this machine")


class Temperatures(msgspec.Struct, frozen=True, kw_only=True):
    """Temperatures in degrees Celsius. The limits are those that the card reports."""

    gpu_c: Reading[int] = _UNREAD
    memory_c: Reading[int] = _ABSENT
    target_c: Reading[int] = _ABSENT
    max_operating_c: Reading[int] = _ABSENT
    slowdown_c: Reading[int] = _ABSENT
    shutdown_c: Reading[int] = _ABSENT
    memory_max_c: Reading[int] = _ABSENT
    margin_c: Reading[int] = _ABSENT
    """Degrees until the card reduces its clocks; "GPU T.Limit Temp" in nvidia-smi. Cards since Ada report margins in
    place of limits: limit = temperature + margin."""
    max_operating_margin_c: Reading[int] = _ABSENT
    """The value of ``margin_c`` at which the clocks may fall below the base clock, usually 0."""
    slowdown_margin_c: Reading[int] = _ABSENT
    """The value of ``margin_c`` at which the hardware slowdown begins, usually a small negative number."""
    shutdown_margin_c: Reading[int] = _ABSENT
    """The value of ``margin_c`` at which the card switches itself off."""
    memory_max_margin_c: Reading[int] = _ABSENT
    """The value of ``margin_c`` of the memory at which the driver reduces the clocks."""


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


class GpuSample(msgspec.Struct, frozen=True, kw_only=True):
    """Readings of the values that change from moment to moment, ``second`` seconds after the first reading."""

    second: float
    temperature_c: Reading[int] = _UNREAD
    draw_w: Reading[float] = _UNREAD
    utilisation_percent: Reading[int] = _ABSENT
    clocks: Clocks = Clocks()


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
    samples: tuple[GpuSample, ...] = ()
    """Further readings within about two seconds: one reading does not show whether a state lasts."""
