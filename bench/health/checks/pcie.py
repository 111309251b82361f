"""Theme "pcie": the link between computer and card. Its width can be checked at any time, its speed only under load."""

from __future__ import annotations

from bench.health.check import KIND, CheckOutcome, Subject, check, failed, passed, skipped, value, warned
from inventory.machine.reading import Reading

_SHARED_LANES = 8
_BUSY_PERCENT = 10
_REPLAYS = 80
_CORRECTABLE = 480
_GBIT = {1: 2.0, 2: 4.0, 3: 7.877, 4: 15.754, 5: 31.508, 6: 60.5}
"""Usable Gbit/s per lane and direction by generation, after line coding: 2.5 and 5 GT/s with 8b/10b, then 128b/130b."""


def gigabytes(generation: int, lanes: int) -> float:
    """Highest rate of a link in GB/s (10^9 bytes per second) per direction; 0 for an unknown generation."""
    return _GBIT.get(generation, 0.0) * lanes / 8


@check(
    "pcie.link-width",
    title="PCIe lanes in use",
    looks_at="the link's current width, and the largest that card and slot both support",
    limits="the check warns on fewer lanes than possible, and fails on x4 or fewer or on a quarter of them; "
    "it never fails on a laptop; x8 is normal if several cards share the lanes of the processor",
    applies_to="not in virtual machines, where the link is that of the host",
    source="NVML and sysfs; the width does not change when the card is idle",
    fix="switch off, reseat the card, clean its contacts, remove riser cables; set the slot to x16 in the firmware",
    needs={
        "gpu.link.width | pci.link_width": "link width",
        "gpu.link.width_max | pci.link_width_max": "widest link",
    },
    optional=("pci.slot_width_max", *KIND),
)
def link_width(subject: Subject) -> CheckOutcome:
    """Card and slot negotiate a number of lanes when the machine starts. A card that is not fully seated, dust
    or a bad riser cable reduces this number, and copies to the card become slower accordingly."""
    width = value(
        _either(subject.gpu.link.width, subject.pci.link_width if subject.pci else None), "link width"
    )
    limit = value(
        _either(subject.gpu.link.width_max, subject.pci.link_width_max if subject.pci else None),
        "widest link",
    )
    slot = _slot_width(subject)
    possible = min(limit, slot or limit)
    message = f"x{width} of x{possible}"
    if width >= possible:
        return passed(message, width, possible, "lanes")
    if subject.machine.host.environment == "virtual-machine":
        return skipped(f"{message}; in a virtual machine the host decides on the link")
    if shares_lanes(subject, width):
        return passed(f"{message}: the cards share the lanes of the processor", width, possible, "lanes")
    if subject.is_laptop:
        return warned(
            f"the link runs at {message}",
            width,
            possible,
            "lanes",
            remedy="many laptops connect their card with fewer lanes than it has, which cannot be changed; copies to "
            "the card are slower, training on data in its memory is not",
        )
    if width <= 4 or width * 4 <= possible:
        return failed(f"the link runs at {message}", width, possible, "lanes")
    return warned(
        f"the link runs at {message}",
        width,
        possible,
        "lanes",
        remedy="if two cards, or a card and an SSD, share lanes, this "
        "is normal: the mainboard's manual has the slots; else switch off and reseat the card",
    )


@check(
    "pcie.slot",
    title="PCIe slot",
    looks_at="lanes and generation of the slot, and those of the card",
    limits="the check warns if the slot has fewer lanes, or a quarter of the card's rate or less",
    applies_to="cards in the catalogue, not in laptops or virtual machines",
    source="inventory/cards/cards.yml; NVML's maximum of card and system; sysfs of the bridge above",
    fix="move the card to the slot next to the CPU; the mainboard's manual has the lanes of each slot",
    needs={
        "gpu.link.width_max | pci.link_width_max": "widest link",
        "gpu.link.generation_max | pci.link_generation_max": "fastest generation",
    },
    optional=("pci.slot_width_max", *KIND),
    unread="warn",
)
def slot_offers(subject: Subject) -> CheckOutcome:
    """Some mainboard slots have full length but only four lanes. The card works there, but copies are slow.
    Some cards have eight lanes by design: RTX 3050, 4060, 4060 Ti, 5050, 5060, 5060 Ti."""
    if subject.card is None:
        return skipped("card not in the catalogue; to add it see CONTRIBUTING.md")
    if subject.is_laptop or subject.machine.host.environment in ("virtual-machine", "wsl2"):
        return skipped("the slot is not visible here")
    card = subject.card
    lanes = min(
        _slot_width(subject) or card.pcie_lanes,
        value(
            _either(subject.gpu.link.width_max, subject.pci.link_width_max if subject.pci else None),
            "widest link",
        ),
    )
    fastest = value(
        _either(subject.gpu.link.generation_max, subject.pci.link_generation_max if subject.pci else None),
        "fastest generation",
    )
    slot_rate, card_rate = gigabytes(fastest, lanes), gigabytes(card.pcie_generation, card.pcie_lanes)
    message = f"PCIe {fastest} x{lanes}, card: PCIe {card.pcie_generation} x{card.pcie_lanes}"
    if shares_lanes(subject, lanes) and slot_rate > card_rate / 4:
        message += ": the cards share the lanes of the processor"
        return passed(message, round(slot_rate, 1), round(card_rate, 1), "GB/s")
    if lanes < card.pcie_lanes or (slot_rate and slot_rate <= card_rate / 4):
        return warned(message, round(slot_rate, 1), round(card_rate, 1), "GB/s")
    return passed(message, round(slot_rate, 1), round(card_rate, 1), "GB/s")


@check(
    "pcie.link-generation",
    title="PCIe generation in use",
    looks_at="the link's generation under load",
    limits="the highest that card and slot both support; checked in P0 to P2 with at least 10 % utilisation",
    source="NVML; reports of links stuck at generation 1 under load",
    fix="set the slot's PCIe speed to Auto in the firmware, remove riser cables; then: dlbox check --stress 2",
    needs={"gpu.link.generation": "link generation", "gpu.link.generation_max": "fastest generation"},
    optional=("gpu.clocks.performance_state", "gpu.utilisation_percent"),
    unread="warn",
)
def link_generation(subject: Subject) -> CheckOutcome:
    """An idle card lowers its link to generation 1 to save power, which is not a fault. Under load the link
    returns to its highest generation; a riser cable of an older generation often prevents this."""
    generation = value(subject.gpu.link.generation, "link generation")
    limit = value(subject.gpu.link.generation_max, "fastest generation")
    state, busy = subject.gpu.clocks.performance_state.value, subject.gpu.utilisation_percent.value
    if generation >= limit:
        return passed(f"PCIe {generation}", generation, limit, "generation")
    if subject.machine.host.environment == "virtual-machine":
        return skipped(
            f"generation {generation} of {limit}; in a virtual machine the host decides on the link"
        )
    if state is None or busy is None or state > 2 or busy < _BUSY_PERCENT:
        return skipped(
            f"generation {generation} of {limit} when idle; to check it under load: dlbox check --stress 2"
        )
    return warned(f"PCIe {generation} of {limit} under load", generation, limit, "generation")


@check(
    "pcie.replays",
    title="PCIe replays",
    looks_at="packets sent again since the driver was loaded",
    limits=f"up to {_REPLAYS}",
    source="NVIDIA DCGM's default limit",
    fix="reseat the card, remove the riser cable, lower the slot's PCIe generation by one in the firmware",
    needs={"gpu.link.replays": "replay counter"},
    unread="warn",
)
def replays(subject: Subject) -> CheckOutcome:
    """The link detects corrupted packets and sends them again. Many such packets mean a bad contact or cable."""
    number = value(subject.gpu.link.replays, "replay counter")
    if number > _REPLAYS:
        return warned(f"{number} packets were sent again", number, _REPLAYS)
    return passed(f"{number}", number, _REPLAYS)


@check(
    "pcie.errors",
    title="PCIe errors",
    looks_at="the kernel's advanced error counters of the card since boot",
    limits=f"the check fails on fatal errors, and warns on non-fatal errors or more than {_CORRECTABLE} corrected ones",
    source="sysfs aer_dev_*; NVIDIA DCGM's default limit of corrected errors",
    fix="reseat the card, remove the riser cable, try another slot, and read: sudo dmesg | grep -i aer",
    needs={
        "pci.aer_fatal": "counter of fatal errors",
        "pci.aer_nonfatal": "counter of non-fatal errors",
        "pci.aer_correctable": "counter of corrected errors",
    },
)
def errors(subject: Subject) -> CheckOutcome:
    """The kernel counts errors on the link: corrected errors cost time, other errors lose data."""
    if subject.pci is None:
        return skipped("the card is not visible on this system's bus")
    fatal = value(subject.pci.aer_fatal, "counter of fatal errors")
    if fatal:
        return failed(f"{fatal} fatal errors since boot", fatal, 0)
    nonfatal = value(subject.pci.aer_nonfatal, "counter of non-fatal errors")
    corrected = value(subject.pci.aer_correctable, "counter of corrected errors")
    if nonfatal:
        return warned(f"{nonfatal} non-fatal errors since boot", nonfatal, 0)
    if corrected > _CORRECTABLE:
        return warned(f"{corrected} corrected errors since boot", corrected, _CORRECTABLE)
    return passed(f"none uncorrected, {corrected} corrected", corrected, _CORRECTABLE)


@check(
    "pcie.bar1",
    title="Resizable BAR",
    looks_at="the part of the card's memory that the CPU can address directly (BAR1), and the memory size",
    limits="the check warns below 64 MiB",
    source="NVML; 256 MiB is the size without Resizable BAR",
    fix='turn on "Above 4G Decoding" and "Resizable BAR" in the firmware',
    needs={"gpu.bar1_total_bytes": "BAR1 size", "gpu.memory_total_bytes": "memory size"},
    unread="warn",
)
def bar1(subject: Subject) -> CheckOutcome:
    """With Resizable BAR the CPU can address all of the card's memory. Games become faster; training copies by
    DMA and hardly benefits, so that its absence is not a fault. RTX 30 and later cards support it."""
    size = value(subject.gpu.bar1_total_bytes, "BAR1 size")
    mib = size >> 20
    if mib < 64:
        return warned(f"only {mib} MiB: the firmware gave the card too little address space", mib, 256, "MiB")
    total = value(subject.gpu.memory_total_bytes, "memory size")
    if size >= 0.9 * total:
        return passed(f"on: {mib} MiB", mib, None, "MiB")
    newer = subject.card is not None and subject.card.architecture in ("ampere", "ada", "blackwell")
    return passed(
        f"off: {mib} MiB" + ("; the firmware may support it, but training does not need it" if newer else ""),
        mib,
        None,
        "MiB",
    )


def shares_lanes(subject: Subject, width: int) -> bool:
    """Whether fewer than 16 lanes are normal because several cards share them: consumer processors have 16 lanes for
    cards, so that two cards get 8 each."""
    return subject.machine.gpu_count > 1 and width >= _SHARED_LANES


def _either(first: Reading[int], second: Reading[int] | None) -> Reading[int]:
    return first if first.ok or second is None or not second.ok else second


def _slot_width(subject: Subject) -> int | None:
    """Lanes of the bridge above the card. None in a virtual machine, whose bridge is not the real slot."""
    if subject.pci is None or subject.machine.host.environment in ("virtual-machine", "wsl2"):
        return None
    return subject.pci.slot_width_max.value
