"""Theme "thermal": temperatures, fans, and clocks reduced because of heat."""

from __future__ import annotations

from bench.health.check import CheckOutcome, Subject, check, failed, passed, skipped, value, warned

HW_SLOWDOWN = 0x08
SW_THERMAL = 0x20
HW_THERMAL = 0x40
POWER_BRAKE = 0x80
HARMLESS = {
    0x01: "idle",
    0x02: "clocks set by the user",
    0x04: "power limit",
    0x10: "sync boost",
    0x100: "display",
}
"""Reasons for reduced clocks that are not a fault. An idle card can report the power limit too."""

_TYPICAL_MAX_C = 90
_TYPICAL_SLOWDOWN_C = 96
"""Limits for cards that report none, based on RTX 2080 SUPER and RTX 4080 SUPER (89-90 and 96-97 C)."""

_FAN_NEEDED_C = 70
"""Zero-RPM cards start their fans between 50 and 65 C."""


@check(
    "thermal.temperature",
    title="Temperature",
    looks_at="the chip's temperature, and the card's limits",
    limits="the check warns above the highest operating temperature, and fails at the slowdown temperature",
    source=f"NVML thresholds of the card; if it reports none, {_TYPICAL_MAX_C} and {_TYPICAL_SLOWDOWN_C} C",
    fix="clean fans and filters, improve the airflow, check that the fans turn; then: dlbox check --stress 5",
    needs={"gpu.temperatures.gpu_c": "temperature"},
    optional=("gpu.temperatures.slowdown_c", "gpu.temperatures.max_operating_c"),
)
def temperature(subject: Subject) -> CheckOutcome:
    """Every card has its own limits. Above the operating limit it wears out and slows down; at the slowdown
    temperature the hardware halves its clocks; at the shutdown temperature it turns itself off."""
    sensors = subject.gpu.temperatures
    now = value(sensors.gpu_c, "temperature")
    slowdown = _limit(sensors.slowdown_c.value, _TYPICAL_SLOWDOWN_C)
    highest = min(_limit(sensors.max_operating_c.value, min(_TYPICAL_MAX_C, slowdown - 1)), slowdown)
    if now >= slowdown:
        return failed(f"{now} C, the hardware slows down from {slowdown} C", now, highest, "C")
    if now > highest:
        return warned(f"{now} C, highest operating temperature {highest} C", now, highest, "C")
    return passed(f"{now} C, limit {highest} C", now, highest, "C")


@check(
    "thermal.memory",
    title="Memory temperature",
    looks_at="the temperature of the card's memory, and its limit",
    limits="the check warns above the card's limit for its memory, or above 105 C if the card reports none",
    applies_to="cards with a memory sensor: not GeForce under Linux",
    source="NVML field 82 and threshold 2; GDDR6X slows down at 110 C",
    fix="replace the card's thermal pads, improve the airflow in the case",
    needs={"gpu.temperatures.memory_c": "memory temperature"},
    optional=("gpu.temperatures.memory_max_c",),
    unread="warn",
)
def memory(subject: Subject) -> CheckOutcome:
    """GDDR6X and HBM memory becomes hotter than the chip. NVML does not report the memory sensor of GeForce cards."""
    sensors = subject.gpu.temperatures
    now = value(sensors.memory_c, "memory temperature")
    highest = _limit(sensors.memory_max_c.value, 105)
    if now >= highest:
        return warned(f"{now} C, limit {highest} C", now, highest, "C")
    return passed(f"{now} C, limit {highest} C", now, highest, "C")


@check(
    "thermal.throttling",
    title="Slowdown because of heat",
    looks_at="NVML's current reasons for reduced clocks",
    limits="the check fails on hardware slowdown and warns on software thermal slowdown; "
    "idle and power limit are not faults",
    source="NVML clock event reasons; under full load consumer cards are nearly always at their power limit",
    fix="clean fans and filters, improve the airflow, replace old thermal paste; then: dlbox check --stress 5",
    needs={"gpu.clocks.event_reasons": "clock event reasons"},
)
def throttling(subject: Subject) -> CheckOutcome:
    """The driver reports why clocks are below their maximum. Most reasons are normal, but heat is not. The
    driver reduces the clocks a little at the target temperature, the hardware reduces them a lot at its limit."""
    reasons = value(subject.gpu.clocks.event_reasons, "clock event reasons")
    if reasons & HW_THERMAL or (reasons & HW_SLOWDOWN and not reasons & POWER_BRAKE):
        kind = "heat" if reasons & HW_THERMAL else "hardware slowdown (heat or power)"
        return failed(f"the hardware reduces the clocks: {kind}", f"0x{reasons:x}")
    if reasons & SW_THERMAL:
        return warned("the driver reduces the clocks because of heat", f"0x{reasons:x}")
    harmless = [name for bit, name in HARMLESS.items() if reasons & bit]
    return passed(
        "no slowdown" + (f" (normal reasons: {', '.join(harmless)})" if harmless else ""), f"0x{reasons:x}"
    )


@check(
    "thermal.fan",
    title="Fans",
    looks_at="each fan's speed and the temperature",
    limits=f"the check fails if a fan is at 0 % above {_FAN_NEEDED_C} C; 0 % on a cool card is normal",
    applies_to="cards with fans",
    source="NVML; zero-RPM cards stop their fans up to about 60 C",
    fix="check whether something blocks the fans or a fan cable is loose; undo manual fan settings",
    needs={"gpu.fan_percent": "fan speed"},
    optional=("gpu.temperatures.gpu_c", "gpu.fan_rpm"),
    unread="warn",
)
def fan(subject: Subject) -> CheckOutcome:
    """Many cards stop their fans when they are cool. If the fans of a hot card do not turn, they are defective,
    blocked or switched off by a setting. The fans of the case cool cards without fans."""
    speeds = value(subject.gpu.fan_percent, "fan speed")
    turning = subject.gpu.fan_rpm
    if max(speeds) > 0 and not (turning.ok and turning.value == 0):
        return passed(", ".join(f"{speed} %" for speed in speeds), max(speeds), None, "%")
    now = value(subject.gpu.temperatures.gpu_c, "the fans do not turn; the temperature")
    if now >= _FAN_NEEDED_C:
        return failed(f"the fans do not turn at {now} C", 0, None, "%")
    return passed("not turning, which is normal for a cool card", 0, None, "%")


@check(
    "thermal.clocks",
    title="Clocks",
    looks_at="the chip's current and maximum clock",
    limits="none when idle; dlbox check --stress checks it under load",
    source="NVML; CUDA programs on GeForce cards run in P2, with memory clocks a little below the maximum",
    fix="check the clocks under load: dlbox check --stress 2",
    needs={"gpu.clocks.sm_mhz": "clock"},
    optional=("gpu.clocks.sm_max_mhz", "gpu.clocks.performance_state"),
    unread="warn",
)
def clocks(subject: Subject) -> CheckOutcome:
    """Shown only, because an idle card runs at a fraction of its clock, and CUDA programs never reach P0 on
    GeForce cards."""
    now = value(subject.gpu.clocks.sm_mhz, "clock")
    top = subject.gpu.clocks.sm_max_mhz.value
    state = subject.gpu.clocks.performance_state.value
    if top and now > top * 1.1:
        return skipped(f"{now} MHz of {top} MHz: the driver's values contradict each other")
    return passed(
        f"{now} MHz" + (f" of {top}" if top else "") + (f", P{state}" if state is not None else ""),
        now,
        None,
        "MHz",
    )


def _limit(own: int | None, typical: int) -> int:
    """The limit that the card reports, else ``typical``. A reported limit below 50 C is wrong and is ignored."""
    return own if own is not None and own >= 50 else typical
