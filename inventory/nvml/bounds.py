"""The physical bounds of each sensor. A value outside them counts as not read, whatever its source.

NVML's readings, the files of other machines and the health checks use these tables.
"""

from __future__ import annotations

import math
import re
from typing import Any, TypeVar

import msgspec

from inventory.machine.gpu_records import Gpu, GpuSample
from inventory.machine.reading import Reading
from inventory.machine.records import Disk, Machine

S = TypeVar("S", bound=msgspec.Struct)

_COUNTER = (0, 1 << 62)
_TEMPERATURE_C = (1, 150)
_LIMIT_C = (1, 130)
"""Cards of 2016 to 2025 shut down at 91 to 113 C."""
_MARGIN_C = (-100, 130)
_POWER_W = (0.1, 2000)
"""A card that answers draws some power; the largest single modules are sold with a limit of 1400 W."""
_BYTES = (1 << 26, 1 << 40)

RANGES: dict[str, tuple[float, float]] = {
    "gpu_c": _TEMPERATURE_C,
    "memory_c": _TEMPERATURE_C,
    "target_c": _LIMIT_C,
    "max_operating_c": _LIMIT_C,
    "slowdown_c": _LIMIT_C,
    "shutdown_c": _LIMIT_C,
    "memory_max_c": _LIMIT_C,
    "margin_c": _MARGIN_C,
    "max_operating_margin_c": _MARGIN_C,
    "slowdown_margin_c": _MARGIN_C,
    "shutdown_margin_c": _MARGIN_C,
    "memory_max_margin_c": _MARGIN_C,
    "temperature_c": _TEMPERATURE_C,
    "draw_w": _POWER_W,
    "limit_w": _POWER_W,
    "default_limit_w": _POWER_W,
    "min_limit_w": _POWER_W,
    "max_limit_w": _POWER_W,
    "energy_j": (0, 1e15),
    "performance_state": (0, 15),
    "sm_mhz": (1, 10_000),
    "sm_max_mhz": (1, 10_000),
    "memory_mhz": (1, 50_000),
    "memory_max_mhz": (1, 50_000),
    "event_reasons": (0, 0xFFFF),
    "sw_thermal_us": _COUNTER,
    "hw_thermal_us": _COUNTER,
    "power_brake_us": _COUNTER,
    "generation": (1, 8),
    "generation_max": (1, 8),
    "generation_device_max": (1, 8),
    "width": (1, 32),
    "width_max": (1, 32),
    "replays": (0, 0xFFFFFFFE),
    "link_generation": (1, 8),
    "link_generation_max": (1, 8),
    "link_width": (1, 32),
    "link_width_max": (1, 32),
    "slot_generation_max": (1, 8),
    "slot_width_max": (1, 32),
    "aer_fatal": _COUNTER,
    "aer_nonfatal": _COUNTER,
    "aer_correctable": _COUNTER,
    "ecc_corrected": _COUNTER,
    "ecc_uncorrected": _COUNTER,
    "ecc_uncorrected_lifetime": _COUNTER,
    "retired_pages": (0, 1 << 16),
    "remapped_rows_corrected": (0, 1 << 20),
    "remapped_rows_uncorrected": (0, 1 << 20),
    "recovery_action": (0, 64),
    "pci_device_id": (1, 0xFFFF),
    "memory_total_bytes": _BYTES,
    "memory_used_bytes": (0, _BYTES[1]),
    "memory_reserved_bytes": (0, _BYTES[1]),
    "bar1_total_bytes": (1 << 20, 1 << 43),
    "memory_bus_bits": (32, 16384),
    "cores": (1, 1_000_000),
    "fan_percent": (0, 200),
    "fan_rpm": (0, 30_000),
    "utilisation_percent": (0, 100),
    "compute_mode": (0, 3),
    "load_average": (0, 1_000_000),
}
"""Lowest and highest possible value by the name of the reading, which includes its unit. NVML's documentation says
that a fan can run at more than 100 %."""

FLAGS = frozenset(
    {
        "handle", "nvml", "secure_boot", "iommu", "nouveau_blacklisted", "persistence", "display_active", "mig",
        "ecc_enabled", "ecc_pending", "retirement_pending", "remap_pending", "remap_failed", "inforom_valid",
        "on_battery",
    }
)  # fmt: skip
"""Readings that are True or False."""

TEXTS = {
    "compute_capability": re.compile(r"\d{1,2}\.\d"),
    "cuda_version": re.compile(r"\d{1,2}\.\d{1,2}"),
    "pci_address": re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"),
    "module_flavour": re.compile(r"open|closed"),
}
"""The format of a text by the name of its reading. Any other text has 1 to 200 printable characters."""

_LONGEST = 200


_NO_VBIOS = re.compile(r"[0.]+")
_VIRTUAL_NAME = re.compile(r"\b(GRID|vGPU)\b|-\d+(-\d+)?[ABCQ](ME|M)?$")
"""Names of NVIDIA's virtual GPUs end with their profile: "NVIDIA A16-4Q", "GRID T4-8C", "A100-1-5C"."""
_ZERO = (
    "gpu_c",
    "temperature_c",
    "memory_c",
    "sm_mhz",
    "sm_max_mhz",
    "memory_mhz",
    "memory_max_mhz",
    "draw_w",
)
_NO_SENSOR: Reading[Any] = Reading.not_supported(
    "the driver reports 0: a virtual GPU does not have this sensor"
)


def fault(name: str, value: Any) -> str | None:
    """One clause that says why ``value`` is impossible for the reading ``name``, or None."""
    if value is None:
        return "the value is missing"
    if name in RANGES:
        numbers = value if isinstance(value, tuple) else (value,)
        bad = next((n for n in numbers if not _within(n, RANGES[name])), None) if numbers else "nothing"
        return None if bad is None else f"the value {_short(bad)} is impossible"
    if name in FLAGS:
        return None if isinstance(value, bool) else f"the value {_short(value)} is neither true nor false"
    if isinstance(value, str):
        text_format = TEXTS.get(name)
        printable = value.strip() and len(value) <= _LONGEST and value.isprintable()
        if printable and (text_format is None or text_format.fullmatch(value)):
            return None
        return (
            f"the value {_short(value)} is impossible"
            if printable
            else "the text is empty, too long or not printable"
        )
    if isinstance(value, Disk):
        sizes = 0 < value.total_bytes < 1 << 60 and 0 <= value.free_bytes <= value.total_bytes
        return None if sizes else "the sizes contradict each other"
    return None if isinstance(value, tuple | msgspec.Struct) else f"the value {_short(value)} is impossible"


def checked(name: str, reading: Reading[Any]) -> Reading[Any]:
    """``reading``, or a failed reading if its value is impossible."""
    why = fault(name, reading.value) if reading.state == "ok" else None
    return reading if why is None else Reading.failed(why, reading.code)


def checked_all(record: S) -> S:
    """``record`` with all its readings checked, including nested ones; the same object if all of them are possible.

    A sensor of a virtual GPU that reports 0 becomes "not supported" (see ``is_virtual``).
    """
    if isinstance(record, Gpu):
        record = _without_sensors(record) if is_virtual(record) else record
    elif isinstance(record, Machine) and record.host.environment == "virtual-machine":
        gpus = tuple(_without_sensors(g) if g.temperatures.gpu_c.value == 0 else g for g in record.gpus)
        if any(new is not old for new, old in zip(gpus, record.gpus, strict=True)):
            record = msgspec.structs.replace(record, gpus=gpus)
    changes: dict[str, Any] = {}
    for name in record.__struct_fields__:
        entry = getattr(record, name)
        new = entry
        if isinstance(entry, Reading):
            new = checked(name, entry)
        elif isinstance(entry, msgspec.Struct):
            new = checked_all(entry)
        elif isinstance(entry, tuple) and any(isinstance(one, msgspec.Struct) for one in entry):
            each = tuple(checked_all(one) if isinstance(one, msgspec.Struct) else one for one in entry)
            new = each if any(a is not b for a, b in zip(each, entry, strict=True)) else entry
        if new is not entry:
            changes[name] = new
    return msgspec.structs.replace(record, **changes) if changes else record


def is_virtual(gpu: Gpu) -> bool:
    """Whether a card is a virtual GPU without sensors, by its name, an empty VBIOS version, or 0 C at 0 MHz."""
    return (
        bool(_NO_VBIOS.fullmatch(str(gpu.vbios_version.value)))
        or bool(_VIRTUAL_NAME.search(str(gpu.name.value)))
        or (gpu.temperatures.gpu_c.value == 0 and gpu.clocks.sm_mhz.value == 0)
        or _NO_SENSOR in (gpu.temperatures.gpu_c, gpu.vbios_version)
    )


def _without_sensors(record: S) -> S:
    """``record`` with "not supported" in place of each sensor that reports 0, and of an empty VBIOS version."""
    changes: dict[str, Any] = {}
    for name in record.__struct_fields__:
        entry = getattr(record, name)
        if isinstance(entry, Reading):
            empty = name == "vbios_version" and _NO_VBIOS.fullmatch(str(entry.value))
            if empty or (name in _ZERO and entry.value == 0 and entry.value is not False):
                changes[name] = _NO_SENSOR
        elif isinstance(entry, msgspec.Struct):
            new = _without_sensors(entry)
            if new is not entry:
                changes[name] = new
        elif name == "samples":
            each = tuple(_without_sensors(one) if isinstance(one, GpuSample) else one for one in entry)
            if any(a is not b for a, b in zip(each, entry, strict=True)):
                changes[name] = each
    return msgspec.structs.replace(record, **changes) if changes else record


def _within(number: Any, bounds: tuple[float, float]) -> bool:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return False
    return math.isfinite(number) and bounds[0] <= number <= bounds[1]


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    text = "".join(character for character in text if character.isprintable())
    return text if len(text) <= 24 else text[:23] + "…"
