"""Theme "power": power limit, power draw and power supply."""

from __future__ import annotations

from statistics import median_low

from bench.health import momentary
from bench.health.check import KIND, CheckOutcome, Subject, check, failed, passed, skipped, value, warned
from bench.health.momentary import POWER_BRAKE
from inventory.builds.supply import SUSTAINED_LOAD_SHARE, TYPICAL_PROCESSOR_W, judge_supply

_REDUCED = 0.8
_OVERDRAW = 1.5


@check(
    "power.limit",
    title="Power limit",
    looks_at="the limit that the driver enforces, and the card's default",
    limits=f"the check warns below {_REDUCED:.0%} of the default",
    applies_to="cards with an adjustable limit",
    source="NVML",
    fix="restore the default, in watts: sudo nvidia-smi --power-limit DEFAULT",
    needs={"gpu.power.limit_w": "power limit", "gpu.power.default_limit_w": "default power limit"},
    optional=KIND,
    unread="warn",
)
def limit(subject: Subject) -> CheckOutcome:
    """A lower limit reduces energy, noise and speed. Below four fifths of the default the card does not reach
    the speed of its model."""
    now = value(subject.gpu.power.limit_w, "power limit")
    default = value(subject.gpu.power.default_limit_w, "default power limit")
    if now < _REDUCED * default and not subject.is_laptop:
        return warned(
            f"{now:.0f} W, default {default:.0f} W",
            round(now),
            round(default),
            "W",
            remedy=f"restore the default: sudo nvidia-smi -i {subject.gpu.index} --power-limit {default:.0f}",
        )
    return passed(f"{now:.0f} W, default {default:.0f} W", round(now), round(default), "W")


@check(
    "power.draw",
    title="Power draw",
    looks_at="the median power draw of several readings within two seconds, and the power limit",
    limits=f"the check warns above {_OVERDRAW:g} times the limit",
    source="NVML; reports of drivers whose power reading stays above the limit",
    fix="suspect a wrong reading of the driver first: repeat the check, then try another branch of the driver: dlbox "
    "plan; if other branches report the same, have the card checked",
    needs={"gpu.power.draw_w": "power draw", "gpu.power.limit_w": "power limit"},
    unread="warn",
)
def draw(subject: Subject) -> CheckOutcome:
    """The card keeps its draw at or below the limit, except for short peaks."""
    value(subject.gpu.power.draw_w, "power draw")
    now = median_low(momentary.draws(subject.gpu))
    if subject.gpu.power.limit_w.state == "not-supported":
        return skipped(f"{now:.0f} W; the card reports no limit to compare it with")
    top = value(subject.gpu.power.limit_w, "power limit")
    if now > _OVERDRAW * top:
        return warned(f"{now:.0f} W, limit {top:.0f} W", round(now), round(top), "W")
    return passed(f"{now:.0f} W of {top:.0f} W", round(now), round(top), "W")


@check(
    "power.brake",
    title="Power brake",
    looks_at="NVML's reasons for reduced clocks in several readings within two seconds, and its counter",
    limits="the check fails on a lasting power brake and warns if it appears repeatedly or the counter grows; the "
    "software power limit is not a fault",
    source="NVML clock event reasons, bit 0x80, and field 271",
    fix="connect every power connector of the card with its own cable, and check the size of the power supply: "
    "dlbox check --power-supply WATTS",
    needs={"gpu.clocks.event_reasons": "clock event reasons"},
    optional=("gpu.clocks.power_brake_us",),
)
def brake(subject: Subject) -> CheckOutcome:
    """The power supply or the mainboard activated the card's power brake, which halves its clocks."""
    reasons = value(subject.gpu.clocks.event_reasons, "clock event reasons")
    seen = momentary.presence(subject.gpu, POWER_BRAKE)
    counted = momentary.counted_seconds(subject.gpu, "power_brake_us")
    message = "the power supply or the mainboard slows down the card (power brake)"
    if seen == "lasting":
        return failed(message, f"0x{reasons:x}")
    alone = len(momentary.masks(subject.gpu)) == 1
    if seen == "repeated" or counted > 0 or (alone and seen == "once"):
        return warned(f"{message} at times: {momentary.share(subject.gpu, POWER_BRAKE)}", f"0x{reasons:x}")
    return passed(
        "not active" + ("; the card is at its power limit, which is normal" if reasons & 0x04 else ""),
        f"0x{reasons:x}",
    )


@check(
    "power.supply",
    title="Power supply",
    looks_at="the watts of the supply, the limits of the cards, the processor and the other parts; the same rule as in "
    "dlbox parts",
    limits="the check warns below the supply that the card's maker recommends, or if the computer draws more than "
    f"{SUSTAINED_LOAD_SHARE:.0%} of its watts, and fails if it draws more than all of them; an unknown processor "
    f"counts {TYPICAL_PROCESSOR_W:.0f} W",
    applies_to="machines whose supply is given with --power-supply",
    source="manufacturers' recommendations: 550 W for an RTX 3060 of 170 W, 850 W for an RTX 4090 of 450 W",
    fix="install a larger power supply, or lower the limit: sudo nvidia-smi --power-limit WATTS",
    needs={"gpu.power.limit_w": "power limit"},
    optional=KIND,
    unread="warn",
)
def supply(subject: Subject) -> CheckOutcome:
    """Cards draw short peaks far above their limit. If the power supply is too small, the machine switches off
    or reboots during training."""
    if subject.machine.power_supply is None:
        return skipped("not known: give it with --power-supply WATTS")
    if subject.is_laptop:
        return skipped("not checked on a laptop")
    limits = [value(gpu.power.limit_w, f"power limit of GPU {gpu.index}") for gpu in subject.machine.gpus]
    own = value(subject.gpu.power.limit_w, "power limit")
    card, stated = subject.card, subject.machine.power_supply
    at_default = card is not None and len(limits) == 1 and own <= card.tdp_w
    found = judge_supply(
        stated.watts,
        sum(limits),
        processor_w=stated.processor_w,
        advice_w=card.power_supply_w if card is not None and at_default else None,
        atx_version=stated.atx_version,
    )
    message = f"{stated.watts} W for parts that draw {found.steady_w:.0f} W{found.why}"
    measures = (stated.watts, found.enough_w, "W")
    if found.status == "fail":
        return failed(message, *measures)
    return warned(message, *measures) if found.status == "warn" else passed(message, *measures)
