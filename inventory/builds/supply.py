"""The one rule for the power supply of a computer: `dlbox check`, `dlbox parts` and `dlbox parts --this` use it."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

OTHER_PARTS_W = 50.0
"""Power of board, memory, drives and fans in a computer with one card (from memory)."""
TYPICAL_PROCESSOR_W = 175.0
"""Power of the processor's package where the processor is unknown: that of a desktop processor of 125 W at its peak.
The makers' advice fits it: 550 W for an RTX 3060 of 170 W, 850 W for an RTX 4090 of 450 W."""
SPIKE_RATIO = 1.6
"""Ratio of the shortest power spikes of a card to its power limit. An RTX 5090 with a limit of 575 W drew 901 W for
less than 1 ms (measured by Igor's Lab)."""
SUSTAINED_LOAD_SHARE = 0.8
"""Largest share of its rated power that a power supply should deliver for hours."""
ATX2_CUTOFF_RATIO = 1.3
"""Ratio of power to rated power at which an ATX 2 supply switches off (from memory: between 1.1 and 1.5)."""
ATX3_PEAK_RATIO = 2.0
"""Ratio of power to rated power that an ATX 3.0 supply must deliver for 0.1 ms."""


class SupplyVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a power supply is large enough. Powers in watts."""

    status: Literal["pass", "warn", "fail"]
    steady_w: float
    spike_w: float
    enough_w: int
    """The smallest rated power that passes, in steps of 50 W."""
    why: str = ""
    """What is wrong, as the end of a sentence; empty if nothing is."""


def judge_supply(
    rated_w: float,
    cards_w: float,
    *,
    processor_w: float | None = None,
    advice_w: float | None = None,
    atx_version: float | None = None,
) -> SupplyVerdict:
    """Compare the rated power of a supply with the power of the computer.

    ``cards_w``: power of all cards at their limits. ``processor_w``: peak power of the processor; None if unknown.
    ``advice_w``: the supply that the maker of the card recommends, for a computer with one such card at its default
    limit. Where the processor is unknown, this advice replaces the estimate from a typical processor.
    """
    processor = TYPICAL_PROCESSOR_W if processor_w is None else processor_w
    steady = cards_w + processor + OTHER_PARTS_W
    spike = steady + (SPIKE_RATIO - 1) * cards_w
    ratio = ATX3_PEAK_RATIO if (atx_version or 2) >= 3 else ATX2_CUTOFF_RATIO
    trusted = processor_w is None and advice_w is not None
    computed = 0.0 if trusted else max(steady / SUSTAINED_LOAD_SHARE, spike / ratio)
    enough = math.ceil(max(computed, advice_w or 0) / 50) * 50
    known = cards_w + OTHER_PARTS_W if processor_w is None else steady
    status: Literal["pass", "warn", "fail"] = "warn"
    why = ""
    if known > rated_w:
        status = "fail"
    elif not trusted and spike > ratio * rated_w:
        why = f", more than the {ratio * rated_w:.0f} W at which such a power supply may switch off"
    elif not trusted and steady > SUSTAINED_LOAD_SHARE * rated_w:
        why = f", above {SUSTAINED_LOAD_SHARE:.0%} of its rated power"
    elif rated_w < (advice_w or 0):
        why = f", but the maker of the card recommends {advice_w:.0f} W"
    else:
        status = "pass"
    return SupplyVerdict(status=status, steady_w=steady, spike_w=spike, enough_w=enough, why=why)
