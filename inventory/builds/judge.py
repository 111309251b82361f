"""Judge a bill of materials: budget, power, fit, PCIe lanes, speed for the money. Pure functions."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from typing import Literal

import msgspec

from inventory.builds.bill import Bill, Case, Memory, Storage
from inventory.cards.cards import Card

REST_W = 50.0
"""Board, memory, drives and fans of a box with one card (from memory)."""
PEAK_OF_TDP = 1.35
"""What a processor's package may draw over its TDP: AMD's socket limit; Intel's lies near it at 65 W."""
SPIKE = 1.6
"""Shortest spikes of a card over its power limit: 901 W of 575 W for less than 1 ms (RTX 5090, Igor's Lab)."""
COMFORT = 0.8
"""Share of its rating that a supply should carry for hours."""
TRIPS_AT = 1.3
"""Where an ATX 2 supply's protection cuts off, in its rating (from memory; 1.1 to 1.5 are met)."""
RIDES_OUT = 2.0
"""What ATX 3.0 asks a supply to survive for 0.1 ms, in its rating."""
STALE_DAYS = 90
_CONNECTOR_W = {"6-pin": 75, "8-pin": 150, "16-pin": 600}
SLOT_W = 75
_LANE_GB_S = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563, 7: 15.125}
"""GB/s a PCIe lane moves each way, by generation."""
REACHED = {"older": 0.90, "8.0": 0.70}
"""Measured share of the FP32 peak in large products: about 0.9 below capability 8.0, 0.7 from there up."""

Status = Literal["pass", "warn", "fail", "skip", "unknown"]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, found and expected, and the next step; field for field what a finding holds."""

    id: str
    status: Status
    title: str
    message: str
    measured: float | int | str | bool | None = None
    expected: float | int | str | bool | None = None
    unit: str | None = None
    remedy: str | None = None


def judge(bill: Bill, *, today: datetime.date, budget_usd: float | None = None) -> tuple[Judgement, ...]:
    """Every judgement of a bill, in the order people ask. ``budget_usd`` stands in for the bill's own."""
    return (
        _whole(bill),
        _budget(bill, bill.budget_usd if budget_usd is None else budget_usd),
        _prices(bill, today),
        supply(bill, card_power(bill)),
        _connectors(bill),
        _fit(bill),
        _length(bill),
        _slots(bill),
        _lanes(bill),
        _value(bill),
    )


def card_power(bill: Bill) -> float:
    """Watts of all cards at their power limit."""
    return (bill.card_part.power_w or bill.card.tdp_w) * bill.card_part.quantity


def processor_power(bill: Bill) -> float:
    """Watts of the processor's package under full load."""
    processor = bill.processor
    return (processor.peak_w or processor.tdp_w * PEAK_OF_TDP) * processor.quantity


def _whole(bill: Bill) -> Judgement:
    """Card, processor, board and supply are there, else it were no bill; a box needs more than they."""
    kinds = {"memory": Memory, "storage": Storage, "case": Case}
    lacking = [kind for kind, type_ in kinds.items() if not any(isinstance(p, type_) for p in bill.parts)]
    if not lacking:
        return judgement("whole", "pass", f"{len(bill.parts)} parts, of every kind that a box needs")
    names = " and ".join(filter(None, (", ".join(lacking[:-1]), lacking[-1])))
    return judgement(
        "whole", "warn", f"no {names} in the bill: the total is too low unless there is some already",
        remedy=f"add parts of `kind: {lacking[0]}`, with price_usd: 0 for what is there already",
    )  # fmt: skip


def _budget(bill: Bill, budget_usd: float | None) -> Judgement:
    total = round(bill.total_usd, 2)
    if budget_usd is None:
        return judgement(
            "budget", "skip", f"the parts cost ${total:,.2f}; no budget to hold them against", total
        )
    message = f"the parts cost ${total:,.2f} of ${budget_usd:,.2f}"
    if total <= budget_usd:
        return judgement("budget", "pass", message, total, budget_usd, "USD")
    dearest = max(bill.parts, key=lambda part: part.cost_usd)
    remedy = (
        f"save ${total - budget_usd:,.2f}; the dearest part is {dearest.model} at ${dearest.cost_usd:,.2f}"
    )
    return judgement("budget", "fail", message, total, budget_usd, "USD", remedy)


def _prices(bill: Bill, today: datetime.date) -> Judgement:
    guessed = f"; {bill.estimates} of {len(bill.parts)} estimated" if bill.estimates else ""
    if bill.historic:
        return judgement(
            "prices", "skip", f"prices of {bill.oldest_price:%Y} to {bill.priced_on:%Y}, kept{guessed}"
        )
    age = (today - bill.oldest_price).days
    message = f"the oldest price is of {bill.oldest_price.isoformat()}{guessed}"
    remedy = "look the prices up again and write them with their date into a copy of the bill"
    if age < 0:
        return judgement(
            "prices", "warn", f"{message}, which is yet to come", age, STALE_DAYS, "days", remedy
        )
    status: Status = "warn" if age > STALE_DAYS else "pass"
    return judgement("prices", status, message, age, STALE_DAYS, "days", remedy)


def supply(bill: Bill, card_w: float, how: str = "at its power limit") -> Judgement:
    """The power supply against ``card_w`` watts of the cards together, the processor and the rest."""
    rating = bill.supply.watts * bill.supply.quantity
    steady = card_w + processor_power(bill) + REST_W
    spike = steady + (SPIKE - 1) * card_w
    survives = rating * (RIDES_OUT if (bill.supply.atx_version or 2) >= 3 else TRIPS_AT)
    advice = bill.card.power_supply_w or 0
    enough = math.ceil(max(steady / COMFORT, spike / (survives / rating), advice) / 50) * 50
    message = (
        f"the card draws {card_w:.0f} W {how}, processor {processor_power(bill):.0f} W, the rest {REST_W:.0f} W: "
        f"{steady:.0f} W of {rating:.0f} W, spikes to {spike:.0f} W"
    )
    remedy = f"take a supply of {enough} W or more"
    if steady > rating:
        return judgement("power-supply", "fail", message, round(steady), round(rating), "W", remedy)
    if spike > survives:
        message += f", more than the {survives:.0f} W at which such a supply may cut off"
    elif steady > COMFORT * rating:
        message += f", above {COMFORT:.0%} of its rating"
    elif rating < advice:
        message += f", but the card's maker advises {advice} W"
    else:
        return judgement("power-supply", "pass", message, round(steady), round(rating), "W")
    return judgement("power-supply", "warn", message, round(steady), round(rating), "W", remedy)


def _connectors(bill: Bill) -> Judgement:
    wanted = bill.card_part.connectors
    if wanted is None:
        wanted = bill.card.power_connectors
    offered = bill.supply.connectors
    if wanted is None or offered is None:
        which = "the card's" if wanted is None else "the supply's"
        return judgement("power-connectors", "skip", f"{which} power plugs are not given")
    wanted = wanted * bill.card_part.quantity
    if not wanted:
        return judgement("power-connectors", "pass", "the slot feeds the card; no plug is needed")
    missing = list(wanted)
    free = sorted(offered, key=lambda plug: _CONNECTOR_W[plug])
    for need in sorted(wanted, key=lambda plug: -_CONNECTOR_W[plug]):
        fitting = [p for p in free if p == need or (need, p) == ("6-pin", "8-pin")]
        if fitting:
            free.remove(fitting[0])
            missing.remove(need)
    shown, has = ", ".join(wanted), ", ".join(offered) or "none"
    message = f"the card wants {shown}; the supply has {has}"
    if not missing:
        return judgement("power-connectors", "pass", message, has, shown)
    adapted = math.ceil((card_power(bill) - SLOT_W) / _CONNECTOR_W["8-pin"])
    if set(missing) == {"16-pin"} and free.count("8-pin") >= adapted:
        remedy = f"use the adapter that comes with the card, on {adapted} separate 8-pin cables"
        return judgement(
            "power-connectors", "warn", f"{message}: an adapter is needed", has, shown, None, remedy
        )
    remedy = f"take a supply with {shown}; do not split one cable for it"
    return judgement("power-connectors", "fail", message, has, shown, None, remedy)


def _fit(bill: Bill) -> Judgement:
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
                wrong.append(f"{part.model} is {kind}, the board takes {board.memory_type}")
    if board.form_factor and bill.case and bill.case.form_factors:
        seen.append(f"board and case ({board.form_factor})")
        if board.form_factor not in bill.case.form_factors:
            wrong.append(
                f"the board is {board.form_factor}, the case takes {', '.join(bill.case.form_factors)}"
            )
    if wrong:
        return judgement("fit", "fail", "; ".join(wrong), remedy="change one of the two parts")
    if not seen:
        return judgement("fit", "skip", "sockets, memory types and form factors are not given")
    return judgement("fit", "pass", f"what goes together: {', '.join(dict.fromkeys(seen))}")


def _length(bill: Bill) -> Judgement:
    length, room = (
        bill.card_part.length_mm or bill.card.length_mm,
        bill.case.card_length_mm if bill.case else None,
    )
    if length is None or room is None:
        return judgement("length", "skip", "the card's or the case's length is not given")
    whose = "" if bill.card_part.length_mm else " (reference card)"
    message = f"the card is {length:.0f} mm long{whose}, the case takes {room:.0f} mm"
    if length <= room:
        return judgement("length", "pass", message, length, room, "mm")
    remedy = f"take a {bill.card.name} of at most {room:.0f} mm, or another case"
    return judgement("length", "fail", message, length, room, "mm", remedy)


def _slots(bill: Bill) -> Judgement:
    slots, room = bill.card_part.slots, bill.case.card_slots if bill.case else None
    if slots is None or room is None:
        return judgement("slots", "skip", "how many slots the card covers or the case offers is not given")
    slots *= bill.card_part.quantity
    message = f"the card covers {slots:g} slots, the case offers {room:g}"
    if slots <= room:
        return judgement("slots", "pass", message, slots, room, "slots")
    remedy = f"take a card of at most {room:g} slots, or another case"
    return judgement("slots", "fail", message, slots, room, "slots", remedy)


def _lanes(bill: Bill) -> Judgement:
    generations = [g for g in (bill.board.slot_generation, bill.processor.pcie_generation) if g]
    count, own = bill.card_part.quantity, bill.processor.pcie_lanes
    widths = [w for w in (bill.board.slot_lanes, own and _share(own * bill.processor.quantity, count)) if w]
    if not generations or not widths:
        return judgement("pcie-lanes", "skip", "the slot's PCIe generation or lanes are not given")
    if count > 1 and not own:
        what = f"how many PCIe lanes of the processor the {count} cards share is not given"
        return judgement("pcie-lanes", "skip", what)
    card = bill.card
    generation, lanes = min(*generations, card.pcie_generation), min(*widths, card.pcie_lanes)
    rate = _LANE_GB_S[generation] * lanes
    best = _LANE_GB_S[card.pcie_generation] * card.pcie_lanes
    whose = f" of each of {count} cards" if count > 1 else ""
    message = (
        f"the link{whose} will be {generation}.0 x{lanes}, {rate:.1f} GB/s; "
        f"the card could do {card.pcie_generation}.0 x{card.pcie_lanes}, {best:.1f} GB/s"
    )
    rates = (round(rate, 1), round(best, 1), "GB/s")
    remedy = (
        f"use a board with a full {card.pcie_generation}.0 x{card.pcie_lanes} slot, wired to the processor"
    )
    if rate < 2:
        return judgement("pcie-lanes", "fail", f"{message}: too slow to feed it", *rates, remedy)
    if lanes < card.pcie_lanes or rate < 0.45 * best:
        return judgement("pcie-lanes", "warn", message, *rates, remedy)
    return judgement("pcie-lanes", "pass", message, *rates)


def _share(lanes: int, cards: int) -> int:
    """Lanes of each card where a processor's are split among them: 16 lanes are x8 for two and x4 for three."""
    return max((width for width in (1, 2, 4, 8, 16) if width * cards <= lanes), default=1)


def _value(bill: Bill) -> Judgement:
    if not bill.total_usd:
        return judgement("speed-per-dollar", "skip", "the parts cost nothing")
    card, count = bill.card, bill.card_part.quantity
    thousands = bill.total_usd / 1000
    speed = expected_tflops(card) * count / thousands
    bandwidth = card.memory_bandwidth_gb_s * count / thousands
    half = f", {card.fp16_tflops * count / thousands:.1f} FP16 peak" if card.fp16_tflops else ""
    message = (
        f"for each $1,000 of the box about {speed:.1f} TFLOPS in FP32{half}, "
        f"{bandwidth:.0f} GB/s of memory and {card.memory_gib * count / thousands:.0f} GB (from the card's figures)"
    )
    return judgement("speed-per-dollar", "pass", message, round(speed, 2), None, "TFLOPS per 1000 USD")


def expected_tflops(card: Card) -> float:
    """FP32 TFLOPS that large matrix products reach, from the card's figures and published measurements."""
    return card.fp32_tflops * REACHED["8.0" if float(card.compute_capability) >= 8 else "older"]


TITLES = {
    "whole": "Parts of a whole box",
    "budget": "Total against budget",
    "prices": "Age of the prices",
    "power-supply": "Power supply",
    "power-connectors": "Power plugs",
    "fit": "Socket, memory and form factor",
    "length": "Length of the card",
    "slots": "Width of the card",
    "pcie-lanes": "PCIe link",
    "speed-per-dollar": "Speed for the money",
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
    """One judgement by its short name; a pass carries no remedy."""
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


def worst(judgements: Iterable[Judgement]) -> Status:
    """The status that decides; unknown counts as worse than warn, for nobody looked."""
    order: tuple[Status, ...] = ("fail", "unknown", "warn", "pass", "skip")
    return min((j.status for j in judgements), key=order.index, default="skip")
