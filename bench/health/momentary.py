"""What several readings of one card within about two seconds show: which state lasts, and what appeared only once.

NVML's documentation says that the bit of the hardware slowdown "may be also reported during PState or clock change", so
that one reading of it does not show a fault.
"""

from __future__ import annotations

from statistics import median_low
from typing import Literal, TypeVar

from inventory.machine.gpu_records import Gpu
from inventory.machine.reading import Reading

HW_SLOWDOWN = 0x08
SW_THERMAL = 0x20
HW_THERMAL = 0x40
POWER_BRAKE = 0x80

T = TypeVar("T")

Presence = Literal["never", "once", "repeated", "lasting"]

_BUSY_PERCENT = 10
_LASTING_SHARE = 0.5


def masks(gpu: Gpu) -> list[int]:
    """The masks of clock event reasons that were read, in order of time."""
    return _values([gpu.clocks.event_reasons, *(sample.clocks.event_reasons for sample in gpu.samples)])


def presence(gpu: Gpu, bit: int, *, without: int = 0) -> Presence:
    """How often ``bit`` was set: "lasting" in more than half of at least two readings, "once" in one reading.

    Masks that have a bit of ``without`` do not count.
    """
    read = masks(gpu)
    number = sum(1 for mask in read if mask & bit and not mask & without)
    if number == 0:
        return "never"
    if number == 1:
        return "once"
    return "lasting" if number > _LASTING_SHARE * len(read) else "repeated"


def share(gpu: Gpu, bit: int) -> str:
    """ "3 of 8 readings"."""
    read = masks(gpu)
    return f"{sum(1 for mask in read if mask & bit)} of {len(read)} readings"


def counted_seconds(gpu: Gpu, counter: Literal["sw_thermal_us", "hw_thermal_us", "power_brake_us"]) -> float:
    """Increase of one of the driver's counters during the readings, in seconds; 0 if it was not read twice.

    The absolute value has no meaning: it counts since the driver was loaded.
    """
    found = _values([getattr(gpu.clocks, counter), *(getattr(s.clocks, counter) for s in gpu.samples)])
    return max(0, found[-1] - found[0]) / 1e6 if len(found) > 1 else 0.0


def temperature(gpu: Gpu) -> int | None:
    """Median temperature of the chip in degrees Celsius, which a single wrong reading does not change; None if none
    was read."""
    found = _values([gpu.temperatures.gpu_c, *(sample.temperature_c for sample in gpu.samples)])
    return median_low(found) if found else None


def draws(gpu: Gpu) -> list[float]:
    """Power draw in watts, in order of time."""
    return _values([gpu.power.draw_w, *(sample.draw_w for sample in gpu.samples)])


def utilisations(gpu: Gpu) -> list[int]:
    """Utilisation in percent, in order of time."""
    return _values([gpu.utilisation_percent, *(sample.utilisation_percent for sample in gpu.samples)])


def clocks(gpu: Gpu) -> list[int]:
    """Clock of the chip in MHz, in order of time."""
    return _values([gpu.clocks.sm_mhz, *(sample.clocks.sm_mhz for sample in gpu.samples)])


def is_idle(gpu: Gpu) -> bool:
    """Whether no reading shows work: low utilisation, or where it is not reported, the driver's reason "idle"."""
    used = utilisations(gpu)
    if used:
        return max(used) < _BUSY_PERCENT
    return all(mask & 0x1 for mask in masks(gpu)) and bool(masks(gpu))


def _values(readings: list[Reading[T]]) -> list[T]:
    return [reading.value for reading in readings if reading.ok and reading.value is not None]
