"""Theme "power": limits, draw, supply."""

from __future__ import annotations

from bench.health.check import KIND, Outcome, Subject, check, failed, passed, skipped, value, warned
from bench.health.checks.thermal import POWER_BRAKE

_REDUCED = 0.8
_REST_OF_COMPUTER_W = 225
_SUPPLY_USE = 0.8
_OVERDRAW = 1.5


@check(
    "power.limit",
    title="Power limit",
    looks_at="the limit that the driver enforces against the card's default",
    limits=f"below {_REDUCED:.0%} of the default warns",
    applies_to="cards with an adjustable limit",
    source="NVML",
    fix="set it back, in watts: sudo nvidia-smi --power-limit DEFAULT",
    needs={"gpu.power.limit_w": "power limit", "gpu.power.default_limit_w": "default power limit"},
    optional=KIND,
    unread="warn",
)
def limit(subject: Subject) -> Outcome:
    """A lowered limit saves energy and noise and costs some speed. Below four fifths of the default the card
    no longer gives what its model should."""
    now = value(subject.gpu.power.limit_w, "power limit")
    default = value(subject.gpu.power.default_limit_w, "default power limit")
    if now < _REDUCED * default and not subject.is_laptop:
        return warned(
            f"{now:.0f} W, default {default:.0f} W",
            round(now),
            round(default),
            "W",
            remedy=f"set it back: sudo nvidia-smi -i {subject.gpu.index} --power-limit {default:.0f}",
        )
    return passed(f"{now:.0f} W, default {default:.0f} W", round(now), round(default), "W")


@check(
    "power.draw",
    title="Power draw",
    looks_at="what the card draws now against its limit",
    limits=f"above {_OVERDRAW:g} times the limit warns",
    source="NVML",
    fix="measure again; if it stays, the card's power sensor or regulation is broken: have it checked",
    needs={"gpu.power.draw_w": "power draw", "gpu.power.limit_w": "power limit"},
    unread="warn",
)
def draw(subject: Subject) -> Outcome:
    """The card regulates its draw to the limit, within short peaks."""
    now = value(subject.gpu.power.draw_w, "power draw")
    if subject.gpu.power.limit_w.state == "not-supported":
        return skipped(f"{now:.0f} W; the card reports no limit to hold it against")
    top = value(subject.gpu.power.limit_w, "power limit")
    if now > _OVERDRAW * top:
        return warned(f"{now:.0f} W, limit {top:.0f} W", round(now), round(top), "W")
    return passed(f"{now:.0f} W of {top:.0f} W", round(now), round(top), "W")


@check(
    "power.brake",
    title="Power brake",
    looks_at="NVML's reasons for reduced clocks, now",
    limits="the external power brake fails; the software power limit is no fault",
    source="NVML clock event reasons, bit 0x80",
    fix="check that every power connector of the card has its own cable from the supply, and the supply's size: "
    "dlbox check --power-supply WATTS",
    needs={"gpu.clocks.event_reasons": "clock event reasons"},
)
def brake(subject: Subject) -> Outcome:
    """The power supply or the mainboard pulled the card's emergency brake, and its clocks are halved."""
    reasons = value(subject.gpu.clocks.event_reasons, "clock event reasons")
    if reasons & POWER_BRAKE:
        return failed("the power supply or mainboard brakes the card", f"0x{reasons:x}")
    return passed(
        "not braked" + ("; at its power limit, which is normal" if reasons & 0x04 else ""), f"0x{reasons:x}"
    )


@check(
    "power.supply",
    title="Power supply",
    looks_at="the supply's watts against what the cards may draw and the rest of the computer",
    limits=f"(card limits + {_REST_OF_COMPUTER_W} W) / {_SUPPLY_USE:g}, or the card maker's advice if that is less",
    applies_to="machines whose supply is given with --power-supply",
    source="makers' recommendations: 550 W for an RTX 3060 of 170 W, 850 W for an RTX 4090 of 450 W",
    fix="fit a larger supply, or lower the limit: sudo nvidia-smi --power-limit WATTS",
    needs={"gpu.power.limit_w": "power limit"},
    optional=KIND,
    unread="warn",
)
def supply(subject: Subject) -> Outcome:
    """Cards draw short peaks far above their limit. A supply that is too small switches off or resets the
    machine in the middle of training, which looks like any other fault."""
    if subject.machine.power_supply is None:
        return skipped("not known: name it with --power-supply WATTS")
    if subject.is_laptop:
        return skipped("a laptop has its own supply")
    limits = [value(gpu.power.limit_w, f"power limit of GPU {gpu.index}") for gpu in subject.machine.gpus]
    own = value(subject.gpu.power.limit_w, "power limit")
    needed = (sum(limits) + _REST_OF_COMPUTER_W) / _SUPPLY_USE
    if (
        subject.card is not None
        and subject.card.power_supply_w
        and len(limits) == 1
        and own <= subject.card.tdp_w
    ):
        needed = min(needed, subject.card.power_supply_w)
    watts = subject.machine.power_supply.watts
    if watts < needed:
        return warned(f"{watts} W, about {needed:.0f} W advised", watts, round(needed), "W")
    return passed(f"{watts} W, about {needed:.0f} W advised", watts, round(needed), "W")
