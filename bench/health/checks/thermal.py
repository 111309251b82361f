"""Theme "thermal": heat, fans, and clocks that are held back because of heat."""

from __future__ import annotations

from bench.health.check import Outcome, Subject, check, failed, passed, skipped, value, warned

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
"""Reasons for clocks below the maximum that are no fault. A power limit shows even on a card at rest."""

_TYPICAL_MAX_C = 90
_TYPICAL_SLOWDOWN_C = 96
"""Where a card does not tell its limits: those of RTX 2080 SUPER and RTX 4080 SUPER (89-90, 96-97)."""

_FAN_NEEDED_C = 70
"""Zero-RPM cards start their fans between 50 and 65 C."""


@check(
    "thermal.temperature",
    title="Temperature",
    looks_at="the chip's temperature against the card's own limits",
    limits="warn above its highest operating temperature, fail at its slowdown temperature",
    source=f"NVML thresholds of the card; without them {_TYPICAL_MAX_C} and {_TYPICAL_SLOWDOWN_C} C",
    fix="clean fans and filters, give the case air, check that the fans turn; then: dlbox check --stress 5",
    needs={"gpu.temperatures.gpu_c": "temperature"},
    optional=("gpu.temperatures.slowdown_c", "gpu.temperatures.max_operating_c"),
)
def temperature(subject: Subject) -> Outcome:
    """Every card has limits of its own: above the operating limit it wears and slows down, at the slowdown
    temperature the hardware halves its clocks, and at the shutdown temperature it turns itself off."""
    sensors = subject.gpu.temperatures
    now = value(sensors.gpu_c, "temperature")
    slowdown = _limit(sensors.slowdown_c.value, _TYPICAL_SLOWDOWN_C)
    highest = min(_limit(sensors.max_operating_c.value, min(_TYPICAL_MAX_C, slowdown - 1)), slowdown)
    if now >= slowdown:
        return failed(f"{now} C, the hardware slows down from {slowdown} C", now, highest, "C")
    if now > highest:
        return warned(f"{now} C, made for up to {highest} C", now, highest, "C")
    return passed(f"{now} C, limit {highest} C", now, highest, "C")


@check(
    "thermal.memory",
    title="Memory temperature",
    looks_at="the memory's temperature against the card's own limit",
    limits="warn at the card's limit for its memory, 105 C without one",
    applies_to="cards with a memory sensor: not GeForce under Linux",
    source="NVML field 82 and threshold 2; GDDR6X slows down at 110 C",
    fix="renew the card's thermal pads, give the case air",
    needs={"gpu.temperatures.memory_c": "memory temperature"},
    optional=("gpu.temperatures.memory_max_c",),
    unread="warn",
)
def memory(subject: Subject) -> Outcome:
    """GDDR6X and HBM run hotter than the chip. NVML has no sensor for them on GeForce cards."""
    sensors = subject.gpu.temperatures
    now = value(sensors.memory_c, "memory temperature")
    highest = _limit(sensors.memory_max_c.value, 105)
    if now >= highest:
        return warned(f"{now} C, limit {highest} C", now, highest, "C")
    return passed(f"{now} C, limit {highest} C", now, highest, "C")


@check(
    "thermal.throttling",
    title="Slowed down by heat",
    looks_at="NVML's reasons for reduced clocks, now",
    limits="hardware slowdown fails, software thermal slowdown warns; idle and power limit are no fault",
    source="NVML clock event reasons; under full load consumer cards are nearly always at their power limit",
    fix="clean fans and filters, give the case air, renew thermal paste on an old card; then: dlbox check --stress 5",
    needs={"gpu.clocks.event_reasons": "clock event reasons"},
)
def throttling(subject: Subject) -> Outcome:
    """The driver says why clocks are below their maximum. Most reasons are normal; slowing down because of
    heat is not: the software does it gently at the target temperature, the hardware hard at its limit."""
    reasons = value(subject.gpu.clocks.event_reasons, "clock event reasons")
    if reasons & HW_THERMAL or (reasons & HW_SLOWDOWN and not reasons & POWER_BRAKE):
        kind = "heat" if reasons & HW_THERMAL else "hardware slowdown (heat or power)"
        return failed(f"the hardware holds the clocks down: {kind}", f"0x{reasons:x}")
    if reasons & SW_THERMAL:
        return warned("the driver holds the clocks down because of heat", f"0x{reasons:x}")
    harmless = [words for bit, words in HARMLESS.items() if reasons & bit]
    return passed(
        "not slowed down" + (f" (harmless: {', '.join(harmless)})" if harmless else ""), f"0x{reasons:x}"
    )


@check(
    "thermal.fan",
    title="Fans",
    looks_at="each fan's speed and the temperature",
    limits=f"a fan at 0 % above {_FAN_NEEDED_C} C fails; 0 % on a cool card is normal",
    applies_to="cards with fans of their own",
    source="NVML; zero-RPM cards stop their fans up to about 60 C",
    fix="look whether something blocks the fans or a fan cable is loose; undo manual fan settings",
    needs={"gpu.fan_percent": "fan speed"},
    optional=("gpu.temperatures.gpu_c", "gpu.fan_rpm"),
    unread="warn",
)
def fan(subject: Subject) -> Outcome:
    """Many cards stop their fans when they are cool. On a hot card a fan that stands still is broken, blocked
    or was switched off by a setting. Cards without fans are cooled by the case."""
    speeds = value(subject.gpu.fan_percent, "fan speed")
    turning = subject.gpu.fan_rpm
    if max(speeds) > 0 and not (turning.ok and turning.value == 0):
        return passed(", ".join(f"{speed} %" for speed in speeds), max(speeds), None, "%")
    now = value(subject.gpu.temperatures.gpu_c, "the fans stand still, and the temperature")
    if now >= _FAN_NEEDED_C:
        return failed(f"the fans stand still at {now} C", 0, None, "%")
    return passed("standing still, as cool cards do", 0, None, "%")


@check(
    "thermal.clocks",
    title="Clocks",
    looks_at="the chip's clock now and its maximum",
    limits="none at rest; judged under load by dlbox check --stress",
    source="NVML; CUDA on GeForce runs in P2, with memory clocks a little below the maximum",
    fix="dlbox check --stress 2",
    needs={"gpu.clocks.sm_mhz": "clock"},
    optional=("gpu.clocks.sm_max_mhz", "gpu.clocks.performance_state"),
    unread="warn",
)
def clocks(subject: Subject) -> Outcome:
    """Shown, not judged: a card at rest runs at a fraction of its clock, and CUDA programs never reach P0 on
    GeForce."""
    now = value(subject.gpu.clocks.sm_mhz, "clock")
    top = subject.gpu.clocks.sm_max_mhz.value
    state = subject.gpu.clocks.performance_state.value
    if top and now > top * 1.1:
        return skipped(f"{now} MHz of {top} MHz: the driver's figures disagree")
    return passed(
        f"{now} MHz" + (f" of {top}" if top else "") + (f", P{state}" if state is not None else ""),
        now,
        None,
        "MHz",
    )


def _limit(own: int | None, typical: int) -> int:
    """The card's own limit; one below 50 C is a driver that fills in nonsense."""
    return own if own is not None and own >= 50 else typical
