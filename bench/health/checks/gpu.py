"""Theme "gpu": whether all cards are present, each answers, and each matches its model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec

from bench.health.causes import environment_causes
from bench.health.check import CheckOutcome, Subject, check, failed, passed, skipped, unknown, value, warned
from inventory.cards import architectures, families
from inventory.cards.cards import (
    CatalogueError,
    UnknownCard,
    architecture_of,
    catalogue,
    find,
    is_laptop_name,
)
from inventory.machine.gpu_records import Gpu
from inventory.machine.reading import Reading
from inventory.machine.records import Machine
from inventory.nvml import bounds

LOST = (15, 16)
"""NVML codes of a card that fell off the bus, and of one that needs a reset."""

_MEMORY_SLACK = 0.10
"""Share of the nominal size that may be missing in NVML's value. Examples: 12227 of 12288 MiB on a GeForce; 15360 of
16384 and 22731 of 24576 MiB with ECC."""


def silent(gpu: Gpu) -> str | None:
    """Why a card counts as lost, or None: it has no handle, a code of ``LOST``, or none of its core values was read."""
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
    """All readings of a card, including nested ones. They are needed because a card may fall off the bus between two
    queries."""
    for name in record.__struct_fields__:
        entry = getattr(record, name)
        if isinstance(entry, Reading):
            yield entry
        elif isinstance(entry, msgspec.Struct):
            yield from _readings(entry)
        elif name == "samples":
            for sample in entry:
                yield from _readings(sample)


def _code(gpu: Gpu) -> int | None:
    """NVML's return code of a card that does not answer; None if the process that asked it ended."""
    return gpu.handle.code if not gpu.handle.ok else gpu.name.code


@check(
    "gpu.responds",
    title="Card answers",
    looks_at="whether NVML gives a handle and the card's core values",
    limits="no code 15 (fallen off the bus) or 16 (needs a reset), and a name, an id or a memory size is read",
    source="NVML return codes of nvidia-ml-py 13.615",
    fix="switch the machine off and on; if the fault returns, reseat the card and its power cables, "
    "try another slot, and read: sudo dmesg | grep -i xid",
    needs={
        "gpu.handle": "the card's handle",
        "gpu.name | gpu.uuid | gpu.memory_total_bytes": "the card's name, id and memory size",
    },
    optional=("machine.installation.container",),
)
def responds(subject: Subject) -> CheckOutcome:
    """A card can be listed although it is lost: it fell off the PCI Express bus, or needs a reset after a
    fault. All other checks of the card are skipped then."""
    gone = silent(subject.gpu)
    if gone is not None:
        reset = any(reading.code == 16 for reading in _readings(subject.gpu))
        remedy = (
            "stop all programs on the card, then: sudo nvidia-smi --gpu-reset; if that fails, reboot"
            if reset
            else environment_causes.silent_card(subject.machine, _code(subject.gpu))
        )
        return failed(f"the card does not answer: {gone}", remedy=remedy)
    return passed(subject.gpu.name.value or "answers")


@check(
    "gpu.count",
    title="Number of cards",
    scope="machine",
    looks_at="the numbers of NVIDIA cards on the PCI bus and in NVML's list",
    limits="at least as many as --expect-gpus, if it is given",
    source="the number given by the user",
    needs_gpu=False,
    fix="switch off, reseat the missing card and its power cables, then look for it: lspci -d 10de:",
)
def count(machine: Machine, expected: int | None = None) -> CheckOutcome:
    """Counts the cards in the machine. A card that is not on the bus is missing, loose or without power."""
    number = machine.gpu_count
    label = "no NVIDIA card" if number == 0 else f"{number} NVIDIA card{'s' if number != 1 else ''}"
    if expected is None:
        return passed(label, number) if number else skipped(f"{label} in this machine")
    if number < expected:
        return failed(f"{label}, {expected} expected", number, expected)
    return passed(label, number, expected)


@check(
    "gpu.model",
    title="Model",
    looks_at="the name, compute capability and PCI id that the driver reports, and the catalogue of cards",
    limits="name and compute capability belong to the chip of the PCI id; an unknown card is checked against its own "
    "limits only",
    source="inventory/cards/catalogue; reports of forged cards, which have the name of another model",
    fix="add the card to inventory/cards/catalogue: see CONTRIBUTING.md",
    needs={"gpu.name": "the card's name"},
    optional=("gpu.compute_capability", "gpu.pci_device_id"),
)
def model(subject: Subject) -> CheckOutcome:
    """The catalogue has the figures that a card should reach. For a card that is not in it, the checks that
    need such a figure are skipped."""
    name = value(subject.gpu.name, "the card's name")
    contradiction = forged(name, subject.gpu.compute_capability.value, subject.gpu.pci_device_id.value)
    if contradiction is not None:
        return failed(
            contradiction,
            name,
            remedy="compare the card with its invoice, and its chip with: lspci -nn -d 10de:; a card whose firmware "
            "names another model is forged or modified: return it to the seller",
        )
    if subject.card is None:
        return passed(
            f"{name}: not in the catalogue, checked against its own limits; to add it see CONTRIBUTING.md",
            name,
        )
    return passed(
        f"{name}, {subject.card.architecture.capitalize()}, "
        f"compute capability {subject.gpu.compute_capability.value or subject.card.compute_capability}",
        name,
    )


_OLD = ("fermi", "kepler")
"""Chips under the name of much newer cards are the usual forgery; the catalogue lists few PCI ids of them."""


def forged(name: str, capability: str | None, device_id: int | None) -> str | None:
    """One clause if name or compute capability ("8.6") contradict the PCI id, else None. Unknown ids and names that the
    catalogue does not have never contradict."""
    if device_id is None:
        return None
    chip = _chip_of(device_id)
    pci_id = f"10de:{device_id:04x}"
    computed = _architecture_of_capability(capability)
    if chip is not None and computed is not None and chip != computed:
        return (
            f"{name} reports compute capability {capability} ({computed.capitalize()}), "
            f"but its PCI id {pci_id} is that of a {chip.capitalize()} chip"
        )
    named = _architecture_of_name(name)
    if computed in _OLD and named is not None and named not in (*_OLD, "maxwell"):
        return (
            f"the name {name} is that of a {named.capitalize()} card, "
            f"but it reports compute capability {capability} ({computed.capitalize()})"
        )
    if chip is not None and named is not None and chip != named:
        return (
            f"the name {name} is that of a {named.capitalize()} card, "
            f"but its PCI id {pci_id} is that of a {chip.capitalize()} chip"
        )
    return None


def _architecture_of_capability(capability: str | None) -> str | None:
    """The only architecture with this compute capability, or with its first number; None if there are several."""
    rows = architectures.shipped()
    exact = {row.name for row in rows if capability in row.capabilities}
    major = (capability or "").partition(".")[0]
    alike = {row.name for row in rows if any(one.partition(".")[0] == major for one in row.capabilities)}
    found = (
        exact or alike or ({"fermi"} if major == "2" else set())
    )  # the table of architectures begins with Kepler
    return next(iter(found)) if len(found) == 1 else None


def _chip_of(device_id: int) -> str | None:
    """The architecture of a PCI id. Only an id between two ids of the catalogue counts: later chips may use the ids
    above the highest known one."""
    listed = [int(pci_id.partition(":")[2], 16) for card in catalogue() for pci_id in card.pci_ids]
    return families.of_id(device_id) if listed and min(listed) <= device_id <= max(listed) else None


def _architecture_of_name(name: str) -> str | None:
    known = families.of_name(name)
    if known is None and not is_laptop_name(name):
        with suppress(UnknownCard, CatalogueError):
            return find(name).architecture
    return known


@check(
    "gpu.memory-size",
    title="Memory size",
    looks_at="the memory that NVML reports, and the nominal size of the model",
    limits=f"at least {1 - _MEMORY_SLACK:.0%} of the nominal size",
    applies_to="cards in the catalogue",
    source="inventory/cards/catalogue",
    fix="compare the label with nvidia-smi -q; return a card with failed memory chips or a forged label",
    needs={"gpu.memory_total_bytes": "memory size"},
    optional=("gpu.mig", "gpu.name", "gpu.vbios_version", "gpu.temperatures.gpu_c", "gpu.clocks.sm_mhz"),
)
def memory_size(subject: Subject) -> CheckOutcome:
    """A card with less memory than its model has defective memory chips or a forged label."""
    total = value(subject.gpu.memory_total_bytes, "memory size")
    if subject.gpu.mig.value:
        return skipped("the card is divided into MIG instances")
    if subject.card is None:
        return skipped("card not in the catalogue; to add it see CONTRIBUTING.md")
    if bounds.is_virtual(subject.gpu):
        return skipped("a virtual GPU has a part of the card's memory")
    gib, label = total / 2**30, subject.card.memory_gib
    if label is None:
        return skipped(
            f"{gib:.1f} GiB; the catalogue has no figures of this card; to add them see CONTRIBUTING.md"
        )
    if subject.card.modified_memory_gib is not None:
        return passed(
            f"{gib:.1f} GiB: a {subject.card.name} whose memory was replaced; the model has {label}",
            round(gib, 2),
            subject.card.modified_memory_gib,
            "GiB",
        )
    if gib > label * (1 + _MEMORY_SLACK):
        return warned(
            f"{gib:.1f} GiB, the nominal size of the {subject.card.name} is {label}",
            round(gib, 2),
            label,
            "GiB",
            remedy="compare with nvidia-smi -q; if the card has been modified, test its memory: "
            "dlbox check --stress 5",
        )
    if gib < label * (1 - _MEMORY_SLACK):
        return failed(
            f"{gib:.1f} GiB, the nominal size of the {subject.card.name} is {label}",
            round(gib, 2),
            label,
            "GiB",
        )
    return passed(f"{gib:.1f} of {label} GiB", round(gib, 2), label, "GiB")


@check(
    "gpu.compute-mode",
    title="Compute mode",
    looks_at="NVML's compute mode",
    limits="default; the check warns on exclusive mode and fails on prohibited mode",
    source="NVML documentation of compute modes",
    fix="sudo nvidia-smi --compute-mode=DEFAULT",
    needs={"gpu.compute_mode": "compute mode"},
)
def compute_mode(subject: Subject) -> CheckOutcome:
    """Prohibited: no CUDA program can start on this card. Exclusive: only one program can."""
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
    fix="connect the screen to the mainboard's output, so that training can use all of the card's memory",
    needs={"gpu.display_active": "display state"},
    unread="warn",
)
def display(subject: Subject) -> CheckOutcome:
    """A screen on the card uses some hundred MiB of its memory and a little time. This is not a fault."""
    active = value(subject.gpu.display_active, "display state")
    return passed(
        "a screen is attached; it uses some of the memory" if active else "no screen attached", active
    )


@check(
    "gpu.mig",
    title="MIG instances",
    looks_at="NVML's MIG mode",
    limits="none: the mode is shown only",
    applies_to="A100, H100, H200 and similar cards",
    source="NVIDIA MIG user guide",
    fix="sudo nvidia-smi --mig 0, or create an instance: sudo nvidia-smi mig -cgi 0 -C",
    needs={"gpu.mig": "MIG mode"},
    unread="warn",
)
def mig(subject: Subject) -> CheckOutcome:
    """A card in MIG mode is divided into instances. A program uses one instance, with a part of memory and speed."""
    on = value(subject.gpu.mig, "MIG mode")
    return passed(
        "on: programs use instances; speed figures of the whole card do not apply" if on else "off", on
    )


@check(
    "gpu.firmware",
    title="Firmware",
    looks_at="the VBIOS version and the GSP firmware version",
    limits="the GSP firmware has the driver's version",
    source="NVML",
    fix="reinstall the driver with its firmware files: dlbox provision",
    needs={"gpu.vbios_version": "VBIOS version"},
    optional=(
        "gpu.gsp_version",
        "gpu.pci_device_id",
        "machine.driver.module_version",
        "machine.driver.library_version",
    ),
    unread="warn",
)
def firmware(subject: Subject) -> CheckOutcome:
    """The VBIOS is the card's firmware. The GSP firmware is part of the driver, which loads it."""
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
    """Architecture from the catalogue, else from the PCI id; None if neither gives it."""
    if subject.card is not None:
        return subject.card.architecture
    device = subject.gpu.pci_device_id.value
    return None if device is None else architecture_of(device)


def _without_gsp(subject: Subject) -> bool:
    """Whether the chip has no GSP processor. The open kernel modules need one and do not support such chips."""
    row = architectures.find(_family(subject))
    return row is not None and "open" not in row.flavours


@check(
    "gpu.recovery",
    title="Recovery action",
    looks_at="the recovery action that the driver requests",
    limits="none",
    applies_to="drivers from 565 on",
    source="NVML field 230",
    fix="reboot",
    needs={"gpu.errors.recovery_action": "recovery action"},
)
def recovery(subject: Subject) -> CheckOutcome:
    """The driver reports a recovery action if only a reset or a reboot can clear a fault."""
    action = value(subject.gpu.errors.recovery_action, "recovery action")
    actions = {
        1: "a reset of the card",
        2: "a reboot",
        3: "a stop of peer-to-peer traffic",
        4: "a stop of peer-to-peer traffic and a reset",
        6: "a bus reset",
        7: "a power cycle",
    }
    if action == 0:
        return passed("none", 0, 0)
    if action not in actions:
        return unknown(
            f"the driver requests recovery action {action}, which dlbox does not know",
            "reboot, then read the recovery action: nvidia-smi -q | grep -i -A2 recovery",
        )
    remedy = (
        "stop all programs on the card, then: sudo nvidia-smi --gpu-reset" if action in (1, 3, 4, 6) else None
    )
    return failed(f"the driver requests {actions[action]}", action, 0, remedy=remedy)
