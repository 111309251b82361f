"""Builds requests for the resolver from the names of cards, or from the facts of this machine."""

from __future__ import annotations

import re

from inventory.cards import cards, families
from inventory.machine.records import Machine, PciCard
from provision.resolve.box_reading import (
    DISTRIBUTION,
    KERNEL,
    MACHINE,
    MODULE_VERSION,
    RELEASE,
    checked,
)
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
    for card in _visible(machine):
        gpu = machine.gpu_of(card)
        found.append(
            target_of(
                card.device_id,
                gpu.name.value if gpu else None,
                gpu.memory_total_bytes.value if gpu else None,
                address=card.address,
                bound_driver=card.driver,
            )
        )
    if not machine.cards:
        found = [
            target_of(
                gpu.pci_device_id.value,
                gpu.name.value,
                gpu.memory_total_bytes.value,
                address=gpu.pci_address.value or "",
            )
            for gpu in machine.gpus
        ]
    boot = host.secure_boot
    return Request(
        distribution=f"{host.distribution.id}-{host.distribution.version}".rstrip("-"),
        targets=tuple(found),
        kernel=host.kernel,
        secure_boot=boot.value if boot.ok else False if boot.state == "not-supported" else None,
        machine_type=host.architecture,
        environment=host.environment,
        cpu_flags=host.cpu_flags.value if host.cpu_flags.ok else None,
        driver_version=_driver_version(machine),
    )


def _visible(machine: Machine) -> tuple[PciCard, ...]:
    """The cards that this system may use. /sys of a container shows all cards of its host, NVML those it was given."""
    if machine.host.environment != "container" or not machine.gpus:
        return machine.cards
    given = tuple(card for card in machine.cards if machine.gpu_of(card) is not None)
    return given or machine.cards


def _driver_version(machine: Machine) -> str:
    """The driver that is loaded: in a container that of its host, under WSL2 that of Windows; empty if unknown."""
    readings = [machine.driver.module_version]
    if machine.host.environment == "wsl2":
        readings = [machine.driver.library_version]
    for reading in readings:
        if reading.ok and re.fullmatch(MODULE_VERSION.pattern, reading.value or "", re.ASCII):
            return reading.value or ""
    return ""


def target_of(
    device_id: int | None,
    name: str | None = None,
    memory_bytes: int | None = None,
    *,
    address: str = "",
    bound_driver: str | None = None,
) -> Target:
    """The card with this PCI device id, and with the name and memory that NVML reports, where NVML runs."""
    card = cards.match(name, device_id, memory_bytes)
    if card is not None:
        return Target(
            name=card.name,
            architecture=card.architecture,
            capability=card.compute_capability,
            address=address,
            bound_driver=bound_driver,
        )
    shown = name or (f"10de:{device_id:04x}" if device_id is not None else "an unnamed card")
    family = families.of_id(device_id) if device_id is not None else None
    return Target(name=shown, architecture=family, address=address, bound_driver=bound_driver)
