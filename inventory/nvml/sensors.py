"""Read the momentary state of a card with NVML: temperatures, power, clocks, link, fans, numbered fields.

Each function takes a device handle. Field numbers are those of nvidia-ml-py 13.615.
"""

from __future__ import annotations

from typing import Any

from inventory.machine.gpu_records import Clocks, Link, Power, Temperatures
from inventory.machine.reading import Reading
from inventory.nvml.library import converted, first, number, read, refused

FIELD_MEMORY_TEMPERATURE = 82
FIELD_RECOVERY_ACTION = 230
FIELD_SW_THERMAL_US = 269
FIELD_HW_THERMAL_US = 270
FIELD_POWER_BRAKE_US = 271


def temperatures(device: Any, memory_c: Reading[int]) -> Temperatures:
    """Temperatures and their limits in degrees Celsius; ``memory_c`` is field 82."""

    def threshold(kind: int) -> Reading[int]:
        return number("nvmlDeviceGetTemperatureThreshold", device, kind, low=1, high=200)

    return Temperatures(
        gpu_c=first(
            lambda: number("nvmlDeviceGetTemperature", device, 0, low=0, high=150),
            lambda: number("nvmlDeviceGetTemperatureV", device, 0, low=0, high=150),
        ),
        memory_c=memory_c
        if not memory_c.ok or 0 < (memory_c.value or 0) <= 150
        else Reading.not_supported("no memory sensor"),
        shutdown_c=threshold(0),
        slowdown_c=threshold(1),
        max_operating_c=threshold(3),
        target_c=threshold(5),
        memory_max_c=threshold(2),
    )


def power(device: Any) -> Power:
    """Power draw and limits in watts, and the energy counter in joules."""

    def watts(name: str) -> Reading[float]:
        return number(name, device, low=0, high=5000, scale=0.001)

    def limits(which: int) -> Reading[float]:
        return converted(
            read("nvmlDeviceGetPowerManagementLimitConstraints", device), lambda pair: _watts(pair[which])
        )

    return Power(
        draw_w=watts("nvmlDeviceGetPowerUsage"),
        limit_w=first(
            lambda: watts("nvmlDeviceGetEnforcedPowerLimit"),
            lambda: watts("nvmlDeviceGetPowerManagementLimit"),
        ),
        default_limit_w=watts("nvmlDeviceGetPowerManagementDefaultLimit"),
        min_limit_w=limits(0),
        max_limit_w=limits(1),
        energy_j=number("nvmlDeviceGetTotalEnergyConsumption", device, low=0, high=1e15, scale=0.001),
    )


def _watts(milliwatts: int) -> float:
    if not 0 <= milliwatts <= 5_000_000:
        raise ValueError(f"NVML gave {milliwatts} mW, which cannot be")
    return milliwatts / 1000


def clocks(device: Any, fields: dict[int, Reading[int]]) -> Clocks:
    """Clocks in MHz; ``fields`` has the slowdown counters in microseconds."""

    def mhz(name: str, kind: int) -> Reading[int]:
        return number(name, device, kind, low=0, high=100_000)

    def state() -> Reading[int]:
        found = number("nvmlDeviceGetPerformanceState", device, low=0, high=32)
        return Reading.not_supported("no performance states") if found.value == 32 else found

    def reasons(name: str) -> Reading[int]:
        # An undefined bit means that the mask is invalid. It does not mean that the card has a fault.
        return number(name, device, low=0, high=0xFFFF)

    return Clocks(
        performance_state=converted(state(), _performance_state),
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


def _performance_state(value: int) -> int:
    if value > 15:
        raise ValueError(f"NVML gave performance state {value}, which cannot be")
    return value


def link(device: Any) -> Link:
    """Generation, width and replay counter of the PCI Express link."""

    def generation(name: str) -> Reading[int]:
        return number(name, device, low=1, high=10)

    def width(name: str) -> Reading[int]:
        return number(name, device, low=1, high=32)

    return Link(
        generation=generation("nvmlDeviceGetCurrPcieLinkGeneration"),
        generation_max=generation("nvmlDeviceGetMaxPcieLinkGeneration"),
        generation_device_max=generation("nvmlDeviceGetGpuMaxPcieLinkGeneration"),
        width=width("nvmlDeviceGetCurrPcieLinkWidth"),
        width_max=width("nvmlDeviceGetMaxPcieLinkWidth"),
        replays=number("nvmlDeviceGetPcieReplayCounter", device, low=0, high=0xFFFFFFFE),
    )


def fans(device: Any) -> Reading[tuple[int, ...]]:
    """Speed setting of each fan in percent."""
    count = number("nvmlDeviceGetNumFans", device, low=0, high=16)
    if count.value == 0:
        return Reading.not_supported("no fan of its own")
    if count.state == "failed":
        return Reading.failed(count.why, count.code)
    speeds = [
        number("nvmlDeviceGetFanSpeed_v2", device, fan, low=0, high=200) for fan in range(count.value or 0)
    ]
    if not speeds or speeds[0].state == "not-supported":
        speeds = [number("nvmlDeviceGetFanSpeed", device, low=0, high=200)]
    bad = next((s for s in speeds if not s.ok), None)
    return bad if bad is not None else Reading.of(tuple(int(s.value or 0) for s in speeds))


def utilisation(rates: Any) -> int:
    """Utilisation of the GPU in percent. Raises ValueError outside 0 to 100."""
    if not 0 <= rates.gpu <= 100:
        raise ValueError(f"NVML gave {rates.gpu}% utilisation, which cannot be")
    return int(rates.gpu)


def fields(device: Any, *numbers: int) -> dict[int, Reading[int]]:
    """Numbered values by field number; each has its own return code, in addition to that of the call."""
    answer = read("nvmlDeviceGetFieldValues", device, list(numbers))
    if answer.value is None:
        return {field: converted(answer, int) for field in numbers}
    found: dict[int, Reading[int]] = {}
    for field, entry in zip(numbers, answer.value, strict=True):
        found[field] = refused(entry.nvmlReturn) if entry.nvmlReturn else converted(Reading.of(entry), _field)
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
        raise ValueError("NVML gave a field value that cannot be")
    return int(value)
