"""Read the momentary state of a card with NVML: temperatures, power, clocks, link, fans, numbered fields.

Each function takes a device handle. Field numbers are those of nvidia-ml-py 13.615.
"""

from __future__ import annotations

from typing import Any

from inventory.machine.gpu_records import Clocks, Link, Power, Temperatures
from inventory.machine.reading import Reading
from inventory.nvml.library import converted, first, number, read, refused

FIELD_MEMORY_TEMPERATURE = 82
FIELD_SHUTDOWN_MARGIN = 193
FIELD_SLOWDOWN_MARGIN = 194
FIELD_MEMORY_MAX_MARGIN = 195
FIELD_MAX_OPERATING_MARGIN = 196
FIELD_RECOVERY_ACTION = 230
FIELD_SW_THERMAL_US = 269
FIELD_HW_THERMAL_US = 270
FIELD_POWER_BRAKE_US = 271


COUNTERS = (FIELD_SW_THERMAL_US, FIELD_HW_THERMAL_US, FIELD_POWER_BRAKE_US)
"""The driver's counters of time with reduced clocks, in microseconds."""
MOMENTARY_FIELDS = (
    FIELD_MEMORY_TEMPERATURE,
    FIELD_SHUTDOWN_MARGIN,
    FIELD_SLOWDOWN_MARGIN,
    FIELD_MEMORY_MAX_MARGIN,
    FIELD_MAX_OPERATING_MARGIN,
    *COUNTERS,
)
"""The fields that ``temperatures`` and ``clocks`` use."""
_SIGNED = frozenset(
    {FIELD_SHUTDOWN_MARGIN, FIELD_SLOWDOWN_MARGIN, FIELD_MEMORY_MAX_MARGIN, FIELD_MAX_OPERATING_MARGIN}
)


def gpu_temperature(device: Any) -> Reading[int]:
    """Temperature of the chip in degrees Celsius."""
    return first(
        lambda: number("nvmlDeviceGetTemperature", device, 0),
        lambda: number("nvmlDeviceGetTemperatureV", device, 0),
    )


def temperatures(device: Any, fields: dict[int, Reading[int]]) -> Temperatures:
    """Temperatures and their limits in degrees Celsius; ``fields`` has the memory's temperature and the margins."""
    memory_c = fields[FIELD_MEMORY_TEMPERATURE]

    def threshold(kind: int) -> Reading[int]:
        return number("nvmlDeviceGetTemperatureThreshold", device, kind)

    return Temperatures(
        gpu_c=gpu_temperature(device),
        memory_c=memory_c
        if not memory_c.ok or 0 < (memory_c.value or 0) <= 150
        else Reading.not_supported("no memory sensor"),
        shutdown_c=threshold(0),
        slowdown_c=threshold(1),
        max_operating_c=threshold(3),
        target_c=threshold(5),
        memory_max_c=threshold(2),
        margin_c=converted(read("nvmlDeviceGetMarginTemperature", device), int),
        max_operating_margin_c=fields[FIELD_MAX_OPERATING_MARGIN],
        slowdown_margin_c=fields[FIELD_SLOWDOWN_MARGIN],
        shutdown_margin_c=fields[FIELD_SHUTDOWN_MARGIN],
        memory_max_margin_c=fields[FIELD_MEMORY_MAX_MARGIN],
    )


def power_draw(device: Any) -> Reading[float]:
    """Power draw in watts."""
    return number("nvmlDeviceGetPowerUsage", device, scale=0.001)


def power(device: Any) -> Power:
    """Power draw and limits in watts, and the energy counter in joules."""

    def watts(name: str) -> Reading[float]:
        return number(name, device, scale=0.001)

    def limits(which: int) -> Reading[float]:
        return converted(
            read("nvmlDeviceGetPowerManagementLimitConstraints", device), lambda pair: pair[which] / 1000
        )

    return Power(
        draw_w=power_draw(device),
        limit_w=first(
            lambda: watts("nvmlDeviceGetEnforcedPowerLimit"),
            lambda: watts("nvmlDeviceGetPowerManagementLimit"),
        ),
        default_limit_w=watts("nvmlDeviceGetPowerManagementDefaultLimit"),
        min_limit_w=limits(0),
        max_limit_w=limits(1),
        energy_j=number("nvmlDeviceGetTotalEnergyConsumption", device, scale=0.001),
    )


def clocks(device: Any, fields: dict[int, Reading[int]]) -> Clocks:
    """Clocks in MHz; ``fields`` has the slowdown counters in microseconds."""

    def mhz(name: str, kind: int) -> Reading[int]:
        return number(name, device, kind)

    def state() -> Reading[int]:
        found = number("nvmlDeviceGetPerformanceState", device)
        return Reading.not_supported("no performance states") if found.value == 32 else found

    def reasons(name: str) -> Reading[int]:
        return number(name, device)

    return Clocks(
        performance_state=state(),
        sm_mhz=mhz("nvmlDeviceGetClockInfo", 1),
        sm_max_mhz=mhz("nvmlDeviceGetMaxClockInfo", 1),
        memory_mhz=mhz("nvmlDeviceGetClockInfo", 2),
        memory_max_mhz=mhz("nvmlDeviceGetMaxClockInfo", 2),
        event_reasons=first(
            lambda: reasons("nvmlDeviceGetCurrentClocksEventReasons"),
            lambda: reasons("nvmlDeviceGetCurrentClocksThrottleReasons"),
        ),
        sw_thermal_us=fields[FIELD_SW_THERMAL_US],
        hw_thermal_us=fields[FIELD_HW_THERMAL_US],
        power_brake_us=fields[FIELD_POWER_BRAKE_US],
    )


def link(device: Any) -> Link:
    """Generation, width and replay counter of the PCI Express link."""

    def generation(name: str) -> Reading[int]:
        return number(name, device)

    def width(name: str) -> Reading[int]:
        return number(name, device)

    return Link(
        generation=generation("nvmlDeviceGetCurrPcieLinkGeneration"),
        generation_max=generation("nvmlDeviceGetMaxPcieLinkGeneration"),
        generation_device_max=generation("nvmlDeviceGetGpuMaxPcieLinkGeneration"),
        width=width("nvmlDeviceGetCurrPcieLinkWidth"),
        width_max=width("nvmlDeviceGetMaxPcieLinkWidth"),
        replays=number("nvmlDeviceGetPcieReplayCounter", device),
    )


def fans(device: Any) -> Reading[tuple[int, ...]]:
    """The speed that each fan is set to, in percent."""
    count = number("nvmlDeviceGetNumFans", device, most=16)
    if count.value == 0:
        return Reading.not_supported("this card has no fan")
    if count.state == "failed":
        return Reading.failed(count.why, count.code)
    speeds = [number("nvmlDeviceGetFanSpeed_v2", device, fan) for fan in range(count.value or 0)]
    if not speeds or speeds[0].state == "not-supported":
        speeds = [number("nvmlDeviceGetFanSpeed", device)]
    bad = next((s for s in speeds if not s.ok), None)
    return bad if bad is not None else Reading.of(tuple(int(s.value or 0) for s in speeds))


def utilisation(rates: Any) -> int:
    """Utilisation of the GPU in percent."""
    return int(rates.gpu)


def fields(device: Any, *numbers: int) -> dict[int, Reading[int]]:
    """Numbered values by field number; each has its own return code, in addition to that of the call."""
    answer = read("nvmlDeviceGetFieldValues", device, list(numbers))
    if answer.value is None:
        return {field: converted(answer, int) for field in numbers}
    found: dict[int, Reading[int]] = {}
    for field, entry in zip(numbers, answer.value, strict=True):
        convert = _signed_field if field in _SIGNED else _field
        found[field] = (
            refused(entry.nvmlReturn) if entry.nvmlReturn else converted(Reading.of(entry), convert)
        )
    return found


def _field(entry: Any) -> int:
    value = {
        0: entry.value.dVal,
        1: entry.value.uiVal,
        2: entry.value.ulVal,
        3: entry.value.ullVal,
        4: entry.value.sllVal,
        5: getattr(entry.value, "siVal", None),
    }.get(entry.valueType)
    if value is None or not 0 <= value < 1 << 62:
        raise ValueError("NVML returned an impossible field value")
    return int(value)


def _signed_field(entry: Any) -> int:
    """A margin, which can be negative: drivers write it as a signed number, or as an unsigned one of 32 bits."""
    if entry.valueType == 4:
        return int(entry.value.sllVal)
    raw = int(entry.value.uiVal)
    return raw - (1 << 32) if raw >= 1 << 31 else raw
