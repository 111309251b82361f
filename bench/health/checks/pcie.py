"""Theme "pcie": the road between computer and card. Width may be judged at any time, speed only under load."""

from __future__ import annotations

from bench.health.check import KIND, Outcome, Subject, check, failed, passed, skipped, value, warned
from inventory.machine.reading import Reading

_BUSY_PERCENT = 10
_REPLAYS = 80
_CORRECTABLE = 480
_GBIT = {1: 2.0, 2: 4.0, 3: 7.877, 4: 15.754, 5: 31.508, 6: 60.5}
"""Usable Gbit/s a lane and direction after line coding: 2.5, 5 GT/s at 8b/10b, then 128b/130b."""


def gigabytes(generation: int, lanes: int) -> float:
    """Highest rate of a link in 10^9 bytes a second and direction."""
    return _GBIT.get(generation, 0.0) * lanes / 8


@check(
    "pcie.link-width",
    title="PCIe lanes in use",
    looks_at="the link's width now against what card and slot can do together",
    limits="half or less warns; x4 and narrower, or a quarter, fails; never fails on a laptop",
    source="NVML and sysfs; the width does not change when the card idles",
    fix="switch off, reseat the card, clean its contacts, take out riser cables; look in the firmware for x16",
    needs={
        "gpu.link.width | pci.link_width": "link width",
        "gpu.link.width_max | pci.link_width_max": "widest link",
    },
    optional=("pci.slot_width_max", *KIND),
)
def link_width(subject: Subject) -> Outcome:
    """Card and slot agree on a number of lanes when the machine starts. A card that is not fully seated, dust
    or a bad riser cable makes them settle for fewer, and copying to the card slows down accordingly."""
    width = value(
        _either(subject.gpu.link.width, subject.pci.link_width if subject.pci else None), "link width"
    )
    limit = value(
        _either(subject.gpu.link.width_max, subject.pci.link_width_max if subject.pci else None),
        "widest link",
    )
    slot = _slot_width(subject)
    reach = min(limit, slot or limit)
    words = f"x{width} of x{reach}"
    if width >= reach:
        return passed(words, width, reach, "lanes")
    if (width <= 4 or width * 4 <= reach) and not subject.is_laptop:
        return failed(f"the link runs at {words}", width, reach, "lanes")
    return warned(
        f"the link runs at {words}",
        width,
        reach,
        "lanes",
        remedy="if two cards or an SSD share the lanes this "
        "is normal for the mainboard: its manual says which slots; else switch off and reseat the card",
    )


@check(
    "pcie.slot",
    title="PCIe slot",
    looks_at="what the slot offers against what the card could use",
    limits="a narrower slot warns, and one with a quarter of the card's rate or less",
    applies_to="cards in the catalogue, not in laptops or virtual machines",
    source="inventory/cards/cards.yml; NVML's maximum of card and system; sysfs of the bridge above",
    fix="move the card to the slot next to the processor; the mainboard's manual says which has all lanes",
    needs={
        "gpu.link.width_max | pci.link_width_max": "widest link",
        "gpu.link.generation_max | pci.link_generation_max": "fastest generation",
    },
    optional=("pci.slot_width_max", *KIND),
    unread="warn",
)
def slot_offers(subject: Subject) -> Outcome:
    """Mainboards have slots of full length with four lanes only. The card works there, but data comes slowly.
    Many cards have eight lanes by design: RTX 3050, 4060, 4060 Ti, 5050, 5060, 5060 Ti."""
    if subject.card is None:
        return skipped("card not in the catalogue; CONTRIBUTING.md says how to add it")
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
    has, could = gigabytes(fastest, lanes), gigabytes(card.pcie_generation, card.pcie_lanes)
    words = f"PCIe {fastest} x{lanes} for a card of PCIe {card.pcie_generation} x{card.pcie_lanes}"
    if lanes < card.pcie_lanes or (has and has <= could / 4):
        return warned(words, round(has, 1), round(could, 1), "GB/s")
    return passed(words, round(has, 1), round(could, 1), "GB/s")


@check(
    "pcie.link-generation",
    title="PCIe generation in use",
    looks_at="the link's generation while the card works",
    limits="that of card and slot together; judged in P0 to P2 with at least 10 % utilisation",
    source="NVML; reports of links stuck at generation 1 under load",
    fix="set the slot's PCIe speed to Auto in the firmware, take out riser cables; then: dlbox check --stress 2",
    needs={"gpu.link.generation": "link generation", "gpu.link.generation_max": "fastest generation"},
    optional=("gpu.clocks.performance_state", "gpu.utilisation_percent"),
    unread="warn",
)
def link_generation(subject: Subject) -> Outcome:
    """A card at rest lowers its link to generation 1 to save power, which says nothing about its health. Under
    load the link must come up; a riser cable of an older generation often keeps it down."""
    generation = value(subject.gpu.link.generation, "link generation")
    limit = value(subject.gpu.link.generation_max, "fastest generation")
    state, busy = subject.gpu.clocks.performance_state.value, subject.gpu.utilisation_percent.value
    if generation >= limit:
        return passed(f"PCIe {generation}", generation, limit, "generation")
    if state is None or busy is None or state > 2 or busy < _BUSY_PERCENT:
        return skipped(
            f"generation {generation} of {limit} at rest; judged under load: dlbox check --stress 2"
        )
    return warned(f"PCIe {generation} of {limit} under load", generation, limit, "generation")


@check(
    "pcie.replays",
    title="PCIe replays",
    looks_at="packets that had to be sent again since the driver was loaded",
    limits=f"up to {_REPLAYS}",
    source="NVIDIA DCGM's default limit",
    fix="reseat the card, take out the riser cable, lower the slot's PCIe generation by one in the firmware",
    needs={"gpu.link.replays": "replay counter"},
    unread="warn",
)
def replays(subject: Subject) -> Outcome:
    """The link detects damaged packets and repeats them. Many repeats mean a bad contact or cable."""
    number = value(subject.gpu.link.replays, "replay counter")
    if number > _REPLAYS:
        return warned(f"{number} packets were sent again", number, _REPLAYS)
    return passed(f"{number}", number, _REPLAYS)


@check(
    "pcie.errors",
    title="PCIe errors",
    looks_at="the kernel's advanced error counters of the card since boot",
    limits=f"no fatal ones (fail), no non-fatal ones, up to {_CORRECTABLE} corrected ones (warn)",
    source="sysfs aer_dev_*; NVIDIA DCGM's default limit of corrected errors",
    fix="reseat the card, take out the riser cable, try another slot, and read: sudo dmesg | grep -i aer",
    needs={
        "pci.aer_fatal": "counter of fatal errors",
        "pci.aer_nonfatal": "counter of non-fatal errors",
        "pci.aer_correctable": "counter of corrected errors",
    },
)
def errors(subject: Subject) -> Outcome:
    """The kernel counts what goes wrong on the link: corrected errors cost time, the others lose data."""
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
    looks_at="the part of the card's memory that the processor can address at once (BAR1) against all of it",
    limits="none for training; smaller than 64 MiB warns",
    source="NVML; 256 MiB is the size without Resizable BAR",
    fix='turn on "Above 4G Decoding" and "Resizable BAR" in the firmware',
    needs={"gpu.bar1_total_bytes": "BAR1 size", "gpu.memory_total_bytes": "memory size"},
    unread="warn",
)
def bar1(subject: Subject) -> Outcome:
    """With Resizable BAR the processor reaches all of the card's memory. Games gain by it; training copies by
    DMA and hardly notices, so that its absence is no fault. RTX 30 and later can have it."""
    size = value(subject.gpu.bar1_total_bytes, "BAR1 size")
    mib = size >> 20
    if mib < 64:
        return warned(f"only {mib} MiB: the firmware gave the card too little address space", mib, 256, "MiB")
    total = value(subject.gpu.memory_total_bytes, "memory size")
    if size >= 0.9 * total:
        return passed(f"on: {mib} MiB", mib, None, "MiB")
    newer = subject.card is not None and subject.card.architecture in ("ampere", "ada", "blackwell")
    return passed(
        f"off: {mib} MiB" + ("; the firmware may offer it, training does not need it" if newer else ""),
        mib,
        None,
        "MiB",
    )


def _either(first: Reading[int], second: Reading[int] | None) -> Reading[int]:
    return first if first.ok or second is None or not second.ok else second


def _slot_width(subject: Subject) -> int | None:
    """Lanes of the bridge above the card; a virtual machine's bridge says nothing of the real slot."""
    if subject.pci is None or subject.machine.host.environment in ("virtual-machine", "wsl2"):
        return None
    return subject.pci.slot_width_max.value
