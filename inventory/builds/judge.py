"""Judge a bill of materials: budget, power, compatibility, PCIe lanes, speed per dollar. Pure functions."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from typing import Literal

import msgspec

from inventory.builds.bill import Bill, CasePart, MemoryPart, StoragePart
from inventory.builds.supply import OTHER_PARTS_W, judge_supply
from inventory.cards.cards import Card

PEAK_TDP_RATIO = 1.35
"""Ratio of a processor's peak package power to its TDP: AMD's socket limit, which is close to Intel's at 65 W."""
STALE_DAYS = 90
"""Prices that are older than this get a warning."""
_CONNECTOR_W = {"6-pin": 75, "8-pin": 150, "16-pin": 600}
SLOT_W = 75
_LANE_GB_S = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563, 7: 15.125}
"""GB/s of one PCIe lane in each direction, by generation."""
REACHED_SHARE = {"older": 0.90, "8.0": 0.70}
"""Share of the FP32 peak that large matrix products reach, as measured: about 0.9 below compute capability 8.0,
0.7 at 8.0 and above."""

Status = Literal["pass", "warn", "fail", "skip", "unknown"]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The result for one criterion, and what to do next. It has the same fields as a finding of a health check."""

    id: str
    status: Status
    title: str
    message: str
    measured: float | int | str | bool | None = None
    expected: float | int | str | bool | None = None
    unit: str | None = None
    remedy: str | None = None


def judge_bill(bill: Bill, *, today: datetime.date, budget_usd: float | None = None) -> tuple[Judgement, ...]:
    """All judgements of a bill of materials. ``budget_usd`` replaces the budget that the bill states."""
    return (
        _completeness(bill),
        _budget(bill, bill.budget_usd if budget_usd is None else budget_usd),
        _prices(bill, today),
        power_supply(bill, card_power(bill)),
        _connectors(bill),
        _compatibility(bill),
        _length(bill),
        _slots(bill),
        _lanes(bill),
        _value_for_money(bill),
    )


def card_power(bill: Bill) -> float | None:
    """Power of all cards at their power limits, in watts; None if neither the bill nor the catalogue gives it."""
    watts = bill.card_part.power_w or bill.card.tdp_w
    return watts * bill.card_part.quantity if watts else None


def processor_power(bill: Bill) -> float:
    """Power of the processor's package under full load, in watts."""
    processor = bill.processor
    return (processor.peak_w or processor.tdp_w * PEAK_TDP_RATIO) * processor.quantity


def _completeness(bill: Bill) -> Judgement:
    """Whether memory, storage and case are listed. A valid bill has a card, a processor, a board and a power supply."""
    kinds = {"memory": MemoryPart, "storage": StoragePart, "case": CasePart}
    lacking = [kind for kind, type_ in kinds.items() if not any(isinstance(p, type_) for p in bill.parts)]
    if not lacking:
        return judgement(
            "whole", "pass", f"{len(bill.parts)} parts, including every kind that a computer needs"
        )
    names = " and ".join(filter(None, (", ".join(lacking[:-1]), lacking[-1])))
    return judgement(
        "whole", "warn", f"the bill of materials has no {names}: the total is too low unless you have them already",
        remedy=f"add parts of `kind: {lacking[0]}`, with price_usd: 0 for parts that you have already",
    )  # fmt: skip


def _budget(bill: Bill, budget_usd: float | None) -> Judgement:
    total = round(bill.total_usd, 2)
    if budget_usd is None:
        return judgement(
            "budget", "skip", f"the parts cost ${total:,.2f}; there is no budget to compare this with", total
        )
    message = f"the parts cost ${total:,.2f} of ${budget_usd:,.2f}"
    if total <= budget_usd:
        return judgement("budget", "pass", message, total, budget_usd, "USD")
    costliest = max(bill.parts, key=lambda part: part.cost_usd)
    price = f"{costliest.model} at ${costliest.cost_usd:,.2f}"
    remedy = f"save ${total - budget_usd:,.2f}; the most expensive part is {price}"
    return judgement("budget", "fail", message, total, budget_usd, "USD", remedy)


def _prices(bill: Bill, today: datetime.date) -> Judgement:
    estimated = f"; {bill.estimates} of {len(bill.parts)} estimated" if bill.estimates else ""
    if bill.historic:
        return judgement(
            "prices", "skip", f"historic prices of {bill.oldest_price:%Y} to {bill.priced_on:%Y}{estimated}"
        )
    age = (today - bill.oldest_price).days
    message = f"the oldest price is from {bill.oldest_price.isoformat()}{estimated}"
    remedy = "look up the prices again and write them with their date into a copy of the bill"
    if age < 0:
        return judgement(
            "prices", "warn", f"{message}, a date in the future", age, STALE_DAYS, "days", remedy
        )
    status: Status = "warn" if age > STALE_DAYS else "pass"
    return judgement("prices", status, message, age, STALE_DAYS, "days", remedy)


def power_supply(bill: Bill, card_w: float | None, how: str = "at its power limit") -> Judgement:
    """Compare the power supply with the power of the computer: ``card_w`` watts for all cards, the processor, the
    other parts. It is not judged if ``card_w`` is None."""
    if card_w is None:
        return judgement(
            "power-supply", "skip", f"the power of the {bill.card.name} is unknown: add `power_w` to the card"
        )
    rating = bill.supply.watts * bill.supply.quantity
    processor = processor_power(bill)
    found = judge_supply(
        rating,
        card_w,
        processor_w=processor,
        advice_w=bill.card.power_supply_w,
        atx_version=bill.supply.atx_version,
    )
    message = (
        f"the card draws {card_w:.0f} W {how}, the processor {processor:.0f} W, other parts {OTHER_PARTS_W:.0f} W: "
        f"{found.steady_w:.0f} W of {rating:.0f} W, with spikes up to {found.spike_w:.0f} W{found.why}"
    )
    remedy = f"use a power supply of at least {found.enough_w} W" if found.status != "pass" else None
    steady = round(found.steady_w)
    return judgement("power-supply", found.status, message, steady, round(rating), "W", remedy)


def _connectors(bill: Bill) -> Judgement:
    needed = bill.card_part.connectors
    if needed is None:
        needed = bill.card.power_connectors
    offered = bill.supply.connectors
    if needed is None or offered is None:
        which = "card" if needed is None else "power supply"
        return judgement(
            "power-connectors", "skip", f"the bill of materials does not give the power plugs of the {which}"
        )
    needed = needed * bill.card_part.quantity
    if not needed:
        return judgement("power-connectors", "pass", "the slot powers the card; no plug is needed")
    missing = list(needed)
    free = sorted(offered, key=lambda plug: _CONNECTOR_W[plug])
    for need in sorted(needed, key=lambda plug: -_CONNECTOR_W[plug]):
        fitting = [p for p in free if p == need or (need, p) == ("6-pin", "8-pin")]
        if fitting:
            free.remove(fitting[0])
            missing.remove(need)
    needed_plugs, offered_plugs = ", ".join(needed), ", ".join(offered) or "none"
    message = f"the card needs {needed_plugs}; the power supply has {offered_plugs}"
    if not missing:
        return judgement("power-connectors", "pass", message, offered_plugs, needed_plugs)
    watts = card_power(bill)
    adapted = math.ceil((watts - SLOT_W) / _CONNECTOR_W["8-pin"]) if watts else 0
    if adapted and set(missing) == {"16-pin"} and free.count("8-pin") >= adapted:
        remedy = f"use the adapter that is supplied with the card, on {adapted} separate 8-pin cables"
        return judgement(
            "power-connectors",
            "warn",
            f"{message}: an adapter is needed",
            offered_plugs,
            needed_plugs,
            None,
            remedy,
        )
    remedy = f"use a power supply with {needed_plugs}; do not split one cable"
    return judgement("power-connectors", "fail", message, offered_plugs, needed_plugs, None, remedy)


def _compatibility(bill: Bill) -> Judgement:
    board, processor = bill.board, bill.processor
    wrong, seen = [], []
    if board.socket and processor.socket:
        seen.append(f"processor and board (socket {board.socket})")
        if board.socket.casefold() != processor.socket.casefold():
            wrong.append(f"{processor.model} needs socket {processor.socket}, the board has {board.socket}")
    for part in bill.parts:
        kind = getattr(part, "memory_type", "")
        if part is not board and kind and board.memory_type:
            seen.append(f"memory and board ({kind})")
            if kind.casefold() != board.memory_type.casefold():
                wrong.append(f"{part.model} is {kind} memory, the board needs {board.memory_type}")
    if board.form_factor and bill.case and bill.case.form_factors:
        seen.append(f"board and case ({board.form_factor})")
        if board.form_factor not in bill.case.form_factors:
            wrong.append(
                f"the board is {board.form_factor}, the case has space for {', '.join(bill.case.form_factors)}"
            )
    if wrong:
        return judgement("fit", "fail", "; ".join(wrong), remedy="replace one of the two parts")
    if not seen:
        return judgement(
            "fit", "skip", "the bill of materials does not give sockets, memory types or form factors"
        )
    return judgement("fit", "pass", f"compatible: {', '.join(dict.fromkeys(seen))}")


def _length(bill: Bill) -> Judgement:
    length, available = (
        bill.card_part.length_mm or bill.card.length_mm,
        bill.case.card_length_mm if bill.case else None,
    )
    if length is None or available is None:
        return judgement(
            "length", "skip", "the bill of materials does not give the length of the card or of the case"
        )
    whose = "" if bill.card_part.length_mm else " (reference card)"
    message = f"the card is {length:.0f} mm long{whose}, the case has space for {available:.0f} mm"
    if length <= available:
        return judgement("length", "pass", message, length, available, "mm")
    remedy = f"use a {bill.card.name} of at most {available:.0f} mm, or another case"
    return judgement("length", "fail", message, length, available, "mm", remedy)


def _slots(bill: Bill) -> Judgement:
    slots, available = bill.card_part.slots, bill.case.card_slots if bill.case else None
    if slots is None or available is None:
        return judgement(
            "slots", "skip", "the bill of materials does not give the slots of the card or of the case"
        )
    slots *= bill.card_part.quantity
    message = f"the card covers {slots:g} slots, the case has {available:g}"
    if slots <= available:
        return judgement("slots", "pass", message, slots, available, "slots")
    remedy = f"use a card of at most {available:g} slots, or another case"
    return judgement("slots", "fail", message, slots, available, "slots", remedy)


def _lanes(bill: Bill) -> Judgement:
    generations = [g for g in (bill.board.slot_generation, bill.processor.pcie_generation) if g]
    count, own = bill.card_part.quantity, bill.processor.pcie_lanes
    widths = [
        w for w in (bill.board.slot_lanes, own and _lanes_per_card(own * bill.processor.quantity, count)) if w
    ]
    if not generations or not widths:
        return judgement(
            "pcie-lanes",
            "skip",
            "the bill of materials does not give the PCIe generation or the lanes of the slot",
        )
    if count > 1 and not own:
        what = f"the bill of materials does not give the processor's PCIe lanes, which {count} cards share"
        return judgement("pcie-lanes", "skip", what)
    card = bill.card
    if card.pcie_generation is None or card.pcie_lanes is None:
        return judgement(
            "pcie-lanes", "skip", f"the catalogue does not give the PCIe link of the {card.name}"
        )
    generation, lanes = min(*generations, card.pcie_generation), min(*widths, card.pcie_lanes)
    rate = _LANE_GB_S[generation] * lanes
    best = _LANE_GB_S[card.pcie_generation] * card.pcie_lanes
    whose = f" of each of {count} cards" if count > 1 else ""
    message = (
        f"the link{whose} will be {generation}.0 x{lanes}, {rate:.1f} GB/s; "
        f"the card supports {card.pcie_generation}.0 x{card.pcie_lanes}, {best:.1f} GB/s"
    )
    rates = (round(rate, 1), round(best, 1), "GB/s")
    remedy = f"use a board with a {card.pcie_generation}.0 x{card.pcie_lanes} slot connected to the processor"
    if rate < 2:
        return judgement("pcie-lanes", "fail", f"{message}: too slow for the card", *rates, remedy)
    if lanes < card.pcie_lanes or rate < 0.45 * best:
        return judgement("pcie-lanes", "warn", message, *rates, remedy)
    return judgement("pcie-lanes", "pass", message, *rates)


def _lanes_per_card(lanes: int, cards: int) -> int:
    """Number of lanes of each card if ``cards`` cards share ``lanes`` lanes of a processor. 16 lanes give x8 to each of
    two cards and x4 to each of three."""
    return max((width for width in (1, 2, 4, 8, 16) if width * cards <= lanes), default=1)


def _value_for_money(bill: Bill) -> Judgement:
    if not bill.total_usd:
        return judgement("speed-per-dollar", "skip", "the parts cost nothing")
    card, count = bill.card, bill.card_part.quantity
    thousands = bill.total_usd / 1000
    expected, memory = expected_tflops(card), card.modified_memory_gib or card.memory_gib
    if expected is None or memory is None or card.memory_bandwidth_gb_s is None:
        return judgement(
            "speed-per-dollar", "skip", f"the catalogue does not give the speed of the {card.name}"
        )
    speed = expected * count / thousands
    bandwidth = card.memory_bandwidth_gb_s * count / thousands
    half = f", {card.fp16_tflops * count / thousands:.1f} FP16 peak" if card.fp16_tflops else ""
    message = (
        f"per $1,000 of the total price about {speed:.1f} TFLOPS in FP32{half}, "
        f"{bandwidth:.0f} GB/s of memory bandwidth and {memory * count / thousands:.0f} GB of memory "
        "(computed from the card's data)"
    )
    return judgement("speed-per-dollar", "pass", message, round(speed, 2), None, "TFLOPS per 1000 USD")


def expected_tflops(card: Card) -> float | None:
    """FP32 speed of large matrix products in TFLOPS, estimated from the card's data and published measurements; None if
    the catalogue does not give the peak."""
    if card.fp32_tflops is None:
        return None
    return card.fp32_tflops * REACHED_SHARE["8.0" if float(card.compute_capability) >= 8 else "older"]


TITLES = {
    "whole": "Parts of a complete computer",
    "budget": "Total price and budget",
    "prices": "Age of the prices",
    "power-supply": "Power supply",
    "power-connectors": "Power plugs",
    "fit": "Socket, memory and form factor are compatible",
    "length": "Length of the card",
    "slots": "Width of the card",
    "pcie-lanes": "PCIe link",
    "speed-per-dollar": "Speed per dollar",
    "this-card": "Card in this machine",
    "this-power": "Power in this machine",
}


def judgement(
    name: str,
    status: Status,
    message: str,
    measured: float | str | None = None,
    expected: float | str | None = None,
    unit: str | None = None,
    remedy: str | None = None,
) -> Judgement:
    """Create the judgement with this short name. A judgement that passes has no remedy."""
    return Judgement(
        id=f"parts.{name}",
        status=status,
        title=TITLES[name],
        message=message,
        measured=measured,
        expected=expected,
        unit=unit,
        remedy=None if status == "pass" else remedy,
    )


def worst_status(judgements: Iterable[Judgement]) -> Status:
    """The worst status of all judgements. "unknown" is worse than "warn"."""
    order: tuple[Status, ...] = ("fail", "unknown", "warn", "pass", "skip")
    return min((j.status for j in judgements), key=order.index, default="skip")
