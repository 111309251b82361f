"""Compare this computer with its bill of materials: its cards, and their power under load."""

from __future__ import annotations

import msgspec

from inventory.builds.bill import Bill
from inventory.builds.judge import TITLES, Judgement, judgement, power_supply
from inventory.cards import cards
from inventory.cards.cards import Card
from inventory.machine.reading import Reading
from inventory.machine.records import Machine


def load_power(machine: Machine) -> Reading[float]:
    """Power that all cards draw now, in watts. There is a value only while every card is busy."""
    total = 0.0
    for gpu in machine.gpus:
        if not gpu.power.draw_w.ok or gpu.power.draw_w.value is None:
            return Reading.failed(
                f"the power of card {gpu.index} cannot be read: {gpu.power.draw_w.why}".rstrip(": ")
            )
        if not gpu.utilisation_percent.ok or (gpu.utilisation_percent.value or 0) < 80:
            return Reading.failed(
                f"card {gpu.index} is idle: run this command during training, for example during `dlbox bench`"
            )
        total += gpu.power.draw_w.value
    return Reading.of(total) if machine.gpus else Reading.failed("there is no card to read")


def power_limit(machine: Machine) -> Reading[float]:
    """Sum of the power limits of all cards in watts."""
    total = 0.0
    for gpu in machine.gpus:
        if not gpu.power.limit_w.ok or gpu.power.limit_w.value is None:
            return Reading.failed(f"the power limit of card {gpu.index} cannot be read")
        total += gpu.power.limit_w.value
    return Reading.of(total) if machine.gpus else Reading.failed("there is no card to read")


def judge_machine(
    machine: Machine,
    bill: Bill | None,
    power_w: Reading[float],
    limit_w: Reading[float],
    when: str = "as measured under load",
) -> tuple[Judgement, ...]:
    """Compare this computer with its bill of materials.

    ``power_w``: power of the cards under load, in watts. ``when``: a phrase that says when it was measured.
    ``limit_w``: sum of the power limits of the cards, in watts.
    """
    return _same_card(machine, bill), _measured_power(machine, bill, power_w, limit_w, when)


def _same_card(machine: Machine, bill: Bill | None) -> Judgement:
    if not machine.has_gpu:
        return judgement("this-card", "skip", "there is no NVIDIA card in this machine")
    found = _cards(machine)
    names = ", ".join(card.name if card else "a card not in the catalogue" for card in found)
    if bill is None:
        return judgement("this-card", "pass", f"this machine has {names}", names)
    if [bill.card.name] * bill.card_part.quantity == [card.name if card else None for card in found]:
        return judgement(
            "this-card",
            "pass",
            f"this machine has {names}, as its bill of materials says",
            names,
            bill.card.name,
        )
    message = (
        f"this machine has {names}, its bill of materials has {bill.card_part.quantity} x {bill.card.name}"
    )
    remedy = "name the bill of materials of this machine, or correct the card in it"
    return judgement("this-card", "fail", message, names, bill.card.name, None, remedy)


def _cards(machine: Machine) -> list[Card | None]:
    if machine.gpus:
        return [
            cards.match(gpu.name.value, gpu.pci_device_id.value, gpu.memory_total_bytes.value)
            for gpu in machine.gpus
        ]
    return [cards.match(None, card.device_id, None) for card in machine.cards]


def _measured_power(
    machine: Machine, bill: Bill | None, power_w: Reading[float], limit_w: Reading[float], when: str
) -> Judgement:
    if not machine.has_gpu:
        return judgement("this-power", "skip", "there is no NVIDIA card")
    if power_w.ok and power_w.value is not None:
        watts, how = power_w.value, when
    elif limit_w.ok and limit_w.value is not None:
        watts, how = limit_w.value, f"at most, its power limit (not measured: {power_w.why})"
    else:
        message = (
            f"neither the power nor the power limit of the card can be read: {power_w.why}; {limit_w.why}"
        )
        return judgement("this-power", "unknown", message, remedy="run `dlbox check` to check the driver")
    if bill is None:
        message = f"the card draws {watts:.0f} W {how}; software cannot read which power supply it has"
        return judgement(
            "this-power",
            "skip",
            message,
            round(watts),
            None,
            "W",
            "name the bill of materials of this machine",
        )
    found = power_supply(bill, watts, how)
    if limit_w.ok and limit_w.value is not None and limit_w.value > watts:
        found = _with_limit(found, power_supply(bill, limit_w.value), limit_w.value)
    return msgspec.structs.replace(found, id="parts.this-power", title=TITLES["this-power"])


def _with_limit(measured: Judgement, at_limit: Judgement, limit_w: float) -> Judgement:
    """Add to the measured result what the power limit allows, because other programs can load the card more."""
    message = f"{measured.message}; the card may draw {limit_w:.0f} W"
    if at_limit.status == measured.status or at_limit.status == "pass":
        return msgspec.structs.replace(measured, message=message)
    message += (
        f", so the total is {at_limit.measured} W, and the power supply is rated for {at_limit.expected} W"
    )
    return msgspec.structs.replace(measured, message=message, status="warn", remedy=at_limit.remedy)
