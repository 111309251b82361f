"""Theme "thermal": temperatures, fans, and clocks reduced because of heat."""

from __future__ import annotations

from bench.health import limits, momentary
from bench.health.check import KIND, CheckOutcome, Subject, check, failed, passed, skipped, value, warned
from bench.health.momentary import HW_SLOWDOWN, HW_THERMAL, POWER_BRAKE, SW_THERMAL

HARMLESS = {
    0x01: "idle",
    0x02: "clocks set by the user",
    0x04: "power limit",
    0x10: "sync boost",
    0x100: "display",
}
"""Reasons for reduced clocks that are not a fault. An idle card can report the power limit too."""

_NEAR_C = 7
"""A card this close to a limit can reduce its clocks because of its own heat."""
_SAVING_STATE = 5
_PINNED_SHARE, _PINNED_BUSY_PERCENT = 0.25, 90
"""A card that is busy all the time and below this share of its highest clock does not leave its lowest clocks. At
their power limit cards run at 0.6 or more."""

LIMITS = (
    "gpu.temperatures.slowdown_c",
    "gpu.temperatures.max_operating_c",
    "gpu.temperatures.margin_c",
    "gpu.temperatures.slowdown_margin_c",
    "gpu.temperatures.max_operating_margin_c",
)
"""The readings that ``bench.health.limits.thermal_limits`` uses."""

_FAN_NEEDED_C = 70
"""Zero-RPM cards start their fans between 50 and 65 C."""


@check(
    "thermal.temperature",
    title="Temperature",
    looks_at="the chip's temperature, and the card's limits",
    limits="the check warns above the highest operating temperature, and fails at the slowdown temperature",
    source="NVML margins (cards since Ada) or thresholds of the card; if it reports none, "
    f"{limits.TYPICAL_MAX_C} and {limits.TYPICAL_SLOWDOWN_C} C",
    fix="clean fans and filters, improve the airflow, check that the fans turn; then: dlbox check --stress 5",
    needs={"gpu.temperatures.gpu_c": "temperature"},
    optional=LIMITS,
)
def temperature(subject: Subject) -> CheckOutcome:
    """Every card has its own limits. Above the operating limit it wears out and slows down; at the slowdown
    temperature the hardware halves its clocks; at the shutdown temperature it turns itself off."""
    value(subject.gpu.temperatures.gpu_c, "temperature")
    now = momentary.temperature(subject.gpu)
    assert now is not None  # noqa: S101 - the first reading has a value
    found = limits.thermal_limits(subject.gpu.temperatures)
    slowdown, highest = found.slowdown_c, found.highest_c
    if not found.reported and now > highest:
        return warned(
            f"{now} C; the card reports no limit, and some cards slow down from {highest} C on",
            now,
            highest,
            "C",
        )
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
    highest = limits.memory_limit(sensors)
    if now >= highest:
        return warned(f"{now} C, limit {highest} C", now, highest, "C")
    return passed(f"{now} C, limit {highest} C", now, highest, "C")


@check(
    "thermal.throttling",
    title="Slowdown because of heat",
    looks_at="NVML's reasons for reduced clocks in several readings within two seconds, the driver's counters of "
    "slowdown, and the temperature",
    limits="the check fails on a lasting hardware slowdown under load and warns on a lasting software slowdown; "
    "idle and power limit are not faults, and a single reading of a slowdown is none",
    source="NVML clock event reasons; its documentation says that the hardware slowdown may also be reported during a "
    "change of clocks; under full load consumer cards are nearly always at their power limit",
    fix="clean fans and filters, improve the airflow, replace old thermal paste; then: dlbox check --stress 5",
    needs={"gpu.clocks.event_reasons": "clock event reasons"},
    optional=(
        "gpu.temperatures.gpu_c",
        "gpu.temperatures.memory_c",
        "gpu.temperatures.memory_max_c",
        "gpu.temperatures.target_c",
        "gpu.utilisation_percent",
        "gpu.clocks.hw_thermal_us",
        "machine.host.on_battery",
        *LIMITS,
        *KIND,
    ),
)
def throttling(subject: Subject) -> CheckOutcome:
    """The driver reports why clocks are below their maximum. Most reasons are normal, but heat is not. The
    driver reduces the clocks a little at the target temperature, the hardware reduces them a lot at its limit.
    The temperature beside the reason shows whether the chip itself is hot."""
    gpu = subject.gpu
    reasons = value(gpu.clocks.event_reasons, "clock event reasons")
    hot = _is_hot(subject)
    alone = len(momentary.masks(gpu)) == 1
    mask = f"0x{reasons:x}"
    hard = momentary.presence(gpu, HW_THERMAL)
    if (
        momentary.counted_seconds(gpu, "hw_thermal_us") > 0
        or hard == "lasting"
        or (hard == "once" and alone and hot)
    ):
        if hot is False:
            judge = warned if momentary.is_idle(gpu) else failed
            return judge(
                f"the hardware reduces the clocks because of heat, but not the chip's: {_beside(subject)}",
                mask,
                remedy=_elsewhere(subject),
            )
        return failed(f"the hardware reduces the clocks: heat{_beside(subject, '; ')}", mask)
    slowdown = momentary.presence(gpu, HW_SLOWDOWN, without=POWER_BRAKE | HW_THERMAL)
    if slowdown in ("lasting", "repeated") and not momentary.is_idle(gpu):
        judge = failed if slowdown == "lasting" else warned
        return judge(
            f"the hardware reduces the clocks: hardware slowdown (heat or power) in "
            f"{momentary.share(gpu, HW_SLOWDOWN)}{_beside(subject, '; ')}",
            mask,
            remedy=None if hot else _POWER,
        )
    soft = momentary.presence(gpu, SW_THERMAL)
    if soft in ("lasting", "repeated") or (soft == "once" and alone):
        if hot is not False:
            return warned(f"the driver reduces the clocks because of heat{_beside(subject, '; ')}", mask)
        if soft == "lasting" or (alone and not momentary.is_idle(gpu)):
            return warned(
                f"the driver reduces the clocks (thermal slowdown), but not because of the chip's heat: "
                f"{_beside(subject)}",
                mask,
                remedy=_elsewhere(subject),
            )
    return passed(_without_lasting_slowdown(subject), mask)


_POWER = (
    "connect every power connector of the card with its own cable and check the size of the power supply: dlbox check "
    "--power-supply WATTS; then: dlbox check --stress 5"
)


def _without_lasting_slowdown(subject: Subject) -> str:
    gpu = subject.gpu
    reasons = gpu.clocks.event_reasons.value or 0
    harmless = ", ".join(name for bit, name in HARMLESS.items() if reasons & bit)
    message = "no slowdown" + (f" (normal reasons: {harmless})" if harmless else "")
    transient = HW_SLOWDOWN | HW_THERMAL | SW_THERMAL
    if any(seen & transient for seen in momentary.masks(gpu)):
        message = (
            f"no lasting slowdown; a slowdown in {momentary.share(gpu, transient)}"
            f"{' of an idle card' if momentary.is_idle(gpu) else ''}, which happens during a change of clocks"
        )
    return message


def _is_hot(subject: Subject) -> bool | None:
    """Whether chip or memory is close to a limit; None if the temperature is unknown."""
    sensors, now = subject.gpu.temperatures, momentary.temperature(subject.gpu)
    memory_c = sensors.memory_c.value
    if memory_c is not None and memory_c >= limits.memory_limit(sensors) - _NEAR_C:
        return True
    if now is None:
        return None
    target = sensors.target_c.value
    limit = limits.thermal_limits(sensors).highest_c
    return now >= (min(limit, target) if target and target >= 60 else limit) - _NEAR_C


def _beside(subject: Subject, before: str = "") -> str:
    """ "; 38 C, limit 97 C"; empty if the temperature is unknown and ``before`` is given."""
    now = momentary.temperature(subject.gpu)
    if now is None:
        return "" if before else "its temperature is unknown"
    return f"{before}{now} C, limit {limits.thermal_limits(subject.gpu.temperatures).highest_c} C"


def _elsewhere(subject: Subject) -> str:
    """The next step if clocks are reduced for heat and the chip is cool."""
    if subject.is_laptop or subject.machine.host.on_battery.value:
        return (
            "the laptop's power management reduces the clocks, or a sensor elsewhere in it: connect the power supply, "
            "choose the performance profile (powerprofilesctl set performance), keep the vents free; then: "
            "dlbox check --stress 2"
        )
    return (
        "a sensor outside the chip asks for it (memory or voltage regulators): improve the airflow over the whole card "
        "and check its thermal pads; if the card stays slow, try another branch of the driver; then: "
        "dlbox check --stress 2"
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
    looks_at="the chip's current and maximum clock, and its utilisation, in several readings",
    limits=f"none when idle; a card that is busy in all readings and below {_PINNED_SHARE:.0%} of its highest clock "
    "fails, or gets a warning in a saving state (P5 to P15) or on battery",
    source="NVML; CUDA programs on GeForce cards run in P2, with memory clocks a little below the maximum; reports of "
    "cards that single releases of driver or firmware keep at their lowest clocks",
    fix="check the clocks under load: dlbox check --stress 2",
    needs={"gpu.clocks.sm_mhz": "clock"},
    optional=(
        "gpu.clocks.sm_max_mhz",
        "gpu.clocks.performance_state",
        "gpu.clocks.event_reasons",
        "gpu.utilisation_percent",
        "gpu.power.draw_w",
        "gpu.power.limit_w",
        "machine.driver.library_version",
        "machine.driver.module_version",
        "machine.host.on_battery",
        *KIND,
    ),
    unread="warn",
)
def clocks(subject: Subject) -> CheckOutcome:
    """An idle card runs at a fraction of its clock, and CUDA programs never reach P0 on GeForce cards. But a card that
    works must leave its lowest clocks."""
    gpu = subject.gpu
    now = value(gpu.clocks.sm_mhz, "clock")
    top = gpu.clocks.sm_max_mhz.value
    state = gpu.clocks.performance_state.value
    if top and now > top * 1.1:
        return skipped(f"{now} MHz of {top} MHz: the driver's values contradict each other")
    shown = f"{now} MHz" + (f" of {top}" if top else "") + (f", P{state}" if state is not None else "")
    used, highest = momentary.utilisations(gpu), max(momentary.clocks(gpu))
    if not top or not used or min(used) < _PINNED_BUSY_PERCENT or highest >= _PINNED_SHARE * top:
        return passed(shown, now, None, "MHz")
    if momentary.presence(gpu, HW_SLOWDOWN | HW_THERMAL | POWER_BRAKE) in ("lasting", "repeated"):
        return passed(f"{shown}: reduced, see the other findings on slowdown", now, None, "MHz")
    message = f"the card is busy ({min(used)} %) and does not leave its lowest clocks: {shown}{_over_limit(subject)}"
    laptop = subject.is_laptop and (state is None or subject.machine.host.on_battery.value is True)
    saving = laptop or (state is not None and state >= _SAVING_STATE)
    return (warned if saving else failed)(
        message, now, round(_PINNED_SHARE * top), "MHz", remedy=_unpin(subject)
    )


def _over_limit(subject: Subject) -> str:
    drawn, limit = momentary.draws(subject.gpu), subject.gpu.power.limit_w.value
    if not drawn or limit is None or min(drawn) <= limit:
        return ""
    return f"; the power reading stays at {min(drawn):.0f} W, above the limit of {limit:.0f} W"


def _unpin(subject: Subject) -> str:
    """The next steps for a busy card at its lowest clocks, the most frequent cause first."""
    reasons = subject.gpu.clocks.event_reasons.value or 0
    if reasons & 0x02:
        return f"somebody has set the clocks; restore the default: sudo nvidia-smi -i {subject.gpu.index} -rgc -rac"
    driver = subject.machine.driver
    version = driver.library_version.value or driver.module_version.value or ""
    branch = version.partition(".")[0]
    other = "580" if branch != "580" else "570 or 590"
    step = (
        f"suspect a regression of driver{f' {version}' if version else ''} or firmware first: switch the machine off "
        f"completely (a laptop also from its power supply), start it again, and if the clocks stay low, change the "
        f"driver branch{f' from {branch}' if branch else ''} to {other}: dlbox plan"
    )
    if subject.machine.host.on_battery.value or (subject.is_laptop and reasons & SW_THERMAL):
        return (
            "connect the laptop's power supply and choose the performance profile "
            f"(powerprofilesctl set performance); if the clocks stay low, {step}"
        )
    return step
