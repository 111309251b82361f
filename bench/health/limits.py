"""The temperatures at which a card reduces its clocks: from its margins, else its thresholds, else typical ones."""

from __future__ import annotations

import msgspec

from inventory.machine.gpu_records import Temperatures

TYPICAL_MAX_C = 86
"""Limit for cards that report none: cards reduce their clocks from 86 C (Ada, Hopper) to 97 C (Turing) on, so that no
higher temperature is safe on all of them."""
TYPICAL_SLOWDOWN_C = 96
"""Hardware slowdown of cards that report none, based on RTX 2080 SUPER and RTX 4080 SUPER (96 and 97 C)."""
_LOWEST_LIMIT_C = 50
"""A reported limit below this is wrong and is ignored."""


class ThermalLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one chip in degrees Celsius."""

    highest_c: int
    """Highest temperature for operation over hours; above it the driver reduces the clocks."""
    slowdown_c: int
    """The hardware reduces the clocks from this temperature on."""
    reported: bool
    """Whether the card reports a limit; otherwise both limits are typical ones."""


def thermal_limits(sensors: Temperatures) -> ThermalLimits:
    """The limits of a card. Cards since Ada report margins: limit = temperature + margin - margin at the limit.

    NVIDIA's documentation says that these cards will lose the older thresholds, so margins take precedence.
    """
    by_margin = _by_margin(sensors)
    if by_margin is not None:
        return by_margin
    slowdown, highest = _sound(sensors.slowdown_c.value), _sound(sensors.max_operating_c.value)
    if slowdown is None and highest is None:
        return ThermalLimits(highest_c=TYPICAL_MAX_C, slowdown_c=TYPICAL_SLOWDOWN_C, reported=False)
    if slowdown is None:
        slowdown = max(TYPICAL_SLOWDOWN_C, (highest or 0) + 1)
    if highest is None:
        highest = min(90, slowdown - 1)
    return ThermalLimits(highest_c=min(highest, slowdown), slowdown_c=slowdown, reported=True)


def memory_limit(sensors: Temperatures) -> int:
    """The highest temperature of the card's memory in degrees Celsius; 105 if the card reports none."""
    return _sound(sensors.memory_max_c.value) or 105


def _by_margin(sensors: Temperatures) -> ThermalLimits | None:
    now, margin = sensors.gpu_c.value, sensors.margin_c.value
    if now is None or margin is None or _sound(now + margin) is None:
        return None
    at_slowdown = sensors.slowdown_margin_c.value
    at_highest = sensors.max_operating_margin_c.value
    slowdown = now + margin - (at_slowdown if at_slowdown is not None else 0)
    highest = now + margin - (at_highest if at_highest is not None else 0)
    return ThermalLimits(highest_c=min(highest, slowdown), slowdown_c=slowdown, reported=True)


def _sound(limit_c: int | None) -> int | None:
    return limit_c if limit_c is not None and _LOWEST_LIMIT_C <= limit_c <= 130 else None
