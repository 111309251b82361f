"""Builds requests for the resolver from the names of cards, or from the facts of this machine."""

from __future__ import annotations

import re

from inventory.cards import cards, families
from inventory.machine.reading import Reading
from inventory.machine.records import Machine
from provision.resolve.box_reading import DISTRIBUTION, KERNEL, MACHINE, RELEASE, checked
from provision.resolve.model import Request, Target

_TIMES = re.compile(r"([1-9]|1[0-6])\s*x\s+(?=\D|\d{3,4}\b)", re.IGNORECASE)
_BETWEEN = re.compile(r"\s*[/+&,]\s*|\s+and\s+|(?<=\w)\s+(?=(?:gtx|rtx)\b)", re.IGNORECASE)
"""Separators between the names of two cards in one text."""


def targets(names: tuple[str, ...]) -> tuple[Target, ...]:
    """Cards by name or by PCI id; "2 x RTX 3060" stands for two cards. Raises UnknownCard."""
    found: list[Target] = []
    for name in names:
        times = _TIMES.match(name.strip())
        one = _target(name.strip()[times.end() :] if times else name)
        found += [one] * (int(times[1]) if times else 1)
    return tuple(found)


def _refuse_several(name: str) -> None:
    """Raises UnknownCard if one text names two cards, because the choice of one would be a guess."""
    several = [part for part in _BETWEEN.split(name) if part.strip()]
    if len(several) < 2 or cards.id_in(name) is not None:
        return
    for part in several:
        try:
            cards.find(part)
        except cards.UnknownCard:
            return
    shown = " ".join(name.split())[:60]
    raise cards.UnknownCard(
        f'"{shown}" names {len(several)} cards: pass one name per option, or a name such as "2 x RTX 3060"'
    )


def _target(name: str) -> Target:
    """A card of the catalogue, or a card of which only the architecture is known. Raises UnknownCard."""
    _refuse_several(name)
    try:
        card = cards.find(name)
    except cards.AmbiguousCard:
        raise
    except cards.UnknownCard:
        shown = " ".join(name.split())[:60]
        maker = families.other_maker(name)
        if maker is not None:
            return Target(name=shown, architecture=None, maker=maker)
        device_id = cards.id_in(name)
        if device_id is None:
            family = families.of_name(name)
        elif cards.is_companion_id(device_id) or device_id > _NEWEST_ID:
            raise
        else:
            family, shown = families.of_id(device_id), f"10de:{device_id:04x}"
        if family is None and device_id is None:
            raise
        return Target(name=shown, architecture=family)
    others = cards.candidates(name)[1:] if cards.is_bare_number(name) else ()
    return Target(
        name=card.name,
        architecture=card.architecture,
        capability=card.compute_capability,
        alternatives=tuple(other.name for other in others),
    )


_NEWEST_ID = 0x3FFF
"""No card with a higher PCI device id is known."""


def of_machine(machine: Machine) -> Request:
    """The request for this machine. The cards come from the PCI bus (with WSL2, from NVML); no driver is needed.

    Raises ReadingError if a field of the reading does not match its grammar.
    """
    host = machine.host
    if host.kernel:
        checked("kernel", host.kernel, KERNEL)
    checked("machine_type", host.architecture, MACHINE)
    checked("distribution.id", host.distribution.id, DISTRIBUTION)
    checked("distribution.version", host.distribution.version, RELEASE)
    found = []
    for card in machine.cards:
        gpu = machine.gpu_of(card)
        found.append(
            _read(gpu.name if gpu else None, card.device_id, gpu.memory_total_bytes if gpu else None)
        )
    if not machine.cards:
        found = [_read(gpu.name, gpu.pci_device_id.value, gpu.memory_total_bytes) for gpu in machine.gpus]
    boot = host.secure_boot
    return Request(
        distribution=f"{host.distribution.id}-{host.distribution.version}".rstrip("-"),
        targets=tuple(found),
        kernel=host.kernel,
        secure_boot=boot.value if boot.ok else False if boot.state == "not-supported" else None,
        machine_type=host.architecture,
        environment=host.environment,
    )


def _read(name: Reading[str] | None, device_id: int | None, memory: Reading[int] | None) -> Target:
    text = name.value if name is not None and name.ok else None
    card = cards.match(text, device_id, memory.value if memory is not None and memory.ok else None)
    if card is not None:
        return Target(name=card.name, architecture=card.architecture, capability=card.compute_capability)
    shown = text or (f"10de:{device_id:04x}" if device_id is not None else "an unnamed card")
    return Target(name=shown, architecture=families.of_id(device_id) if device_id is not None else None)
