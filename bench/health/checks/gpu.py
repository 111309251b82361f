"""Theme "gpu": are all cards there, does each answer, and is it what it says it is?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from bench.health.check import Outcome, Subject, check, failed, passed, skipped, unknown, value, warned
from inventory.cards import architectures
from inventory.cards.cards import architecture_of
from inventory.machine.reading import Reading
from inventory.machine.records import Gpu, Machine

LOST = (15, 16)
"""NVML codes of a card that fell off the bus, and of one that needs a reset."""

_MEMORY_SLACK = 0.10
"""Kept back of the label: 12227 of 12288 MiB on a GeForce, with ECC more: 15360 of 16384, 22731 of 24576."""


def silent(gpu: Gpu) -> str | None:
    """Why a card must be taken for gone, or None: no handle, a lost code, or no core answer at all."""
    if not gpu.handle.ok:
        code = f" (NVML code {gpu.handle.code})" if gpu.handle.code is not None else ""
        return f"{gpu.handle.why}{code}"
    gone = next((reading for reading in _readings(gpu) if reading.code in LOST), None)
    if gone is not None:
        return f"{gone.why} (NVML code {gone.code})"
    if all(reading.state == "failed" for reading in (gpu.name, gpu.uuid, gpu.memory_total_bytes)):
        return f"{gpu.name.why}" + (f" (NVML code {gpu.name.code})" if gpu.name.code else "")
    return None


def _readings(record: msgspec.Struct) -> Iterator[Reading[Any]]:
    """Every reading of a card, however deep: it may fall off the bus between two questions."""
    for name in record.__struct_fields__:
        entry = getattr(record, name)
        if isinstance(entry, Reading):
            yield entry
        elif isinstance(entry, msgspec.Struct):
            yield from _readings(entry)


@check(
    "gpu.responds",
    title="Card answers",
    looks_at="whether NVML gives a handle and the card's core values",
    limits="no code 15 (fallen off the bus) or 16 (needs a reset), and a name, an id or a memory size",
    source="NVML return codes of nvidia-ml-py 13.615",
    fix="switch the machine off and on; if it comes back, reseat the card and its power cables, "
    "try another slot, and read: sudo dmesg | grep -i xid",
    needs={
        "gpu.handle": "the card's handle",
        "gpu.name | gpu.uuid | gpu.memory_total_bytes": "the card's name, id and memory size",
    },
)
def responds(subject: Subject) -> Outcome:
    """A card can be listed and yet be gone: it fell off PCI Express, or waits for a reset after a fault.
    Every other check of this card is skipped then."""
    gone = silent(subject.gpu)
    if gone is not None:
        reset = any(reading.code == 16 for reading in _readings(subject.gpu))
        remedy = (
            "end all programs on the card, then: sudo nvidia-smi --gpu-reset; else reboot" if reset else None
        )
        return failed(f"the card does not answer: {gone}", remedy=remedy)
    return passed(subject.gpu.name.value or "answers")


@check(
    "gpu.count",
    title="Number of cards",
    scope="machine",
    looks_at="NVIDIA cards on the PCI bus, and those that NVML lists",
    limits="as many as --expect-gpus says, if it is given",
    source="the person who runs the check",
    needs_gpu=False,
    fix="switch off, reseat the missing card and its power cables, look for it with: lspci -d 10de:",
)
def count(machine: Machine, expected: int | None = None) -> Outcome:
    """Says what is in the machine. A card that the bus does not show is missing, loose or without power."""
    number = machine.gpu_count
    words = "no NVIDIA card" if number == 0 else f"{number} NVIDIA card{'s' if number != 1 else ''}"
    if expected is None:
        return passed(words, number) if number else skipped(f"{words} in this machine")
    if number < expected:
        return failed(f"{words}, {expected} expected", number, expected)
    return passed(words, number, expected)


@check(
    "gpu.model",
    title="Model",
    looks_at="the name that NVML reports against the catalogue of cards",
    limits="none: an unknown card is judged by its own limits only",
    source="inventory/cards/cards.yml",
    fix="add the card to inventory/cards/cards.yml: CONTRIBUTING.md says how",
    needs={"gpu.name": "the card's name"},
    optional=("gpu.compute_capability",),
)
def model(subject: Subject) -> Outcome:
    """The catalogue holds what a card should reach. For a card it does not have, checks that need such a
    figure are skipped."""
    name = value(subject.gpu.name, "the card's name")
    if subject.card is None:
        return passed(
            f"{name}: not in the catalogue, judged by its own limits; CONTRIBUTING.md says how to add it",
            name,
        )
    return passed(
        f"{name}, {subject.card.architecture.capitalize()}, "
        f"compute capability {subject.gpu.compute_capability.value or subject.card.compute_capability}",
        name,
    )


@check(
    "gpu.memory-size",
    title="Memory size",
    looks_at="the memory that NVML reports against the size the card is sold with",
    limits=f"at least {1 - _MEMORY_SLACK:.0%} of it",
    applies_to="cards in the catalogue",
    source="inventory/cards/cards.yml",
    fix="compare the label with nvidia-smi -q; a card that lost memory chips, or a forged one, goes back",
    needs={"gpu.memory_total_bytes": "memory size"},
    optional=("gpu.mig",),
)
def memory_size(subject: Subject) -> Outcome:
    """Reports a card with less memory than its model has: defective chips, or a relabelled card."""
    total = value(subject.gpu.memory_total_bytes, "memory size")
    if subject.gpu.mig.value:
        return skipped("the card is divided into MIG instances")
    if subject.card is None:
        return skipped("card not in the catalogue; CONTRIBUTING.md says how to add it")
    gib, label = total / 2**30, subject.card.memory_gib
    if gib > label * (1 + _MEMORY_SLACK):
        return warned(
            f"{gib:.1f} GiB, the {subject.card.name} is sold with {label}",
            round(gib, 2),
            label,
            "GiB",
            remedy="compare with nvidia-smi -q; a card with other memory chips than its model's is tested with: "
            "dlbox check --stress 5",
        )
    if gib < label * (1 - _MEMORY_SLACK):
        return failed(f"{gib:.1f} GiB, the {subject.card.name} has {label}", round(gib, 2), label, "GiB")
    return passed(f"{gib:.1f} of {label} GiB", round(gib, 2), label, "GiB")


@check(
    "gpu.compute-mode",
    title="Compute mode",
    looks_at="NVML's compute mode",
    limits="default; exclusive warns, prohibited fails",
    source="NVML documentation of compute modes",
    fix="sudo nvidia-smi --compute-mode=DEFAULT",
    needs={"gpu.compute_mode": "compute mode"},
)
def compute_mode(subject: Subject) -> Outcome:
    """Prohibited means that no CUDA program may start on this card; exclusive, that only one may."""
    mode = value(subject.gpu.compute_mode, "compute mode")
    if mode == 2:
        return failed("prohibited: no CUDA program can start on this card", "prohibited", "default")
    if mode in (1, 3):
        return warned("exclusive: only one program can use this card", "exclusive", "default")
    return passed("default", "default", "default")


@check(
    "gpu.display",
    title="Display",
    looks_at="whether a screen is active on this card",
    limits="none",
    source="NVML",
    fix="plug the screen into the mainboard's output to give the card's memory to training",
    needs={"gpu.display_active": "display state"},
    unread="warn",
)
def display(subject: Subject) -> Outcome:
    """A screen on the card costs some hundred MiB of its memory and a little time; it is no fault."""
    active = value(subject.gpu.display_active, "display state")
    return passed(
        "a screen is attached; it takes some of the memory" if active else "no screen attached", active
    )


@check(
    "gpu.mig",
    title="MIG instances",
    looks_at="NVML's MIG mode",
    limits="off, or on with instances made",
    applies_to="A100, H100, H200 and their kin",
    source="NVIDIA MIG user guide",
    fix="sudo nvidia-smi --mig 0, or make an instance: sudo nvidia-smi mig -cgi 0 -C",
    needs={"gpu.mig": "MIG mode"},
    unread="warn",
)
def mig(subject: Subject) -> Outcome:
    """A card in MIG mode is divided; a program sees one instance, with a part of memory and speed."""
    on = value(subject.gpu.mig, "MIG mode")
    return passed(
        "on: programs see instances, speed figures of the whole card do not apply" if on else "off", on
    )


@check(
    "gpu.firmware",
    title="Firmware",
    looks_at="the VBIOS version and the GSP firmware version",
    limits="GSP firmware of the driver's own version",
    source="NVML",
    fix="reinstall the driver, so that its firmware files fit: dlbox provision",
    needs={"gpu.vbios_version": "VBIOS version"},
    optional=(
        "gpu.gsp_version",
        "gpu.pci_device_id",
        "machine.driver.module_version",
        "machine.driver.library_version",
    ),
    unread="warn",
)
def firmware(subject: Subject) -> Outcome:
    """The VBIOS is the card's own program; the GSP firmware is loaded by the driver and belongs to it."""
    vbios = value(subject.gpu.vbios_version, "VBIOS version")
    if subject.gpu.gsp_version.state == "not-supported":
        if _without_gsp(subject):
            return passed(f"VBIOS {vbios}; cards before Turing have no GSP", vbios)
        return skipped(f"VBIOS {vbios}; the driver reports no GSP firmware")
    gsp = value(subject.gpu.gsp_version, "GSP firmware version")
    module = subject.machine.driver.module_version
    driver = (module if module.ok else subject.machine.driver.library_version).value
    if driver is None:
        return skipped(f"GSP {gsp}; the driver's version was not read, see driver.branch")
    if gsp != driver:
        return warned(f"GSP firmware {gsp} with driver {driver}", gsp, driver)
    return passed(f"VBIOS {vbios}, GSP {gsp}", vbios)


def _family(subject: Subject) -> str | None:
    """Architecture by the catalogue, else by the PCI id."""
    if subject.card is not None:
        return subject.card.architecture
    device = subject.gpu.pci_device_id.value
    return None if device is None else architecture_of(device)


def _without_gsp(subject: Subject) -> bool:
    """Whether the chip has no GSP processor: the open kernel modules, which need it, do not support it."""
    row = architectures.find(_family(subject))
    return row is not None and "open" not in row.flavours


@check(
    "gpu.recovery",
    title="Recovery the driver asks for",
    looks_at="NVML's recovery action",
    limits="none",
    applies_to="drivers from 565 on",
    source="NVML field 230",
    fix="reboot",
    needs={"gpu.errors.recovery_action": "recovery action"},
)
def recovery(subject: Subject) -> Outcome:
    """The driver says when a fault can only be cleared by a reset or a reboot."""
    action = value(subject.gpu.errors.recovery_action, "recovery action")
    words = {
        1: "a reset of the card",
        2: "a reboot",
        3: "draining of peer traffic",
        4: "draining and a reset",
        6: "a bus reset",
        7: "a power cycle",
    }
    if action == 0:
        return passed("none", 0, 0)
    if action not in words:
        return unknown(
            f"the driver asks for action {action}, which is not known",
            "reboot, then read what the driver asks for: nvidia-smi -q | grep -i -A2 recovery",
        )
    remedy = (
        "end all programs on the card, then: sudo nvidia-smi --gpu-reset" if action in (1, 3, 4, 6) else None
    )
    return failed(f"the driver asks for {words[action]}", action, 0, remedy=remedy)
