"""Find a card by a name as people write it, by PCI id, or by NVML's values.

Two sources answer: the catalogue (catalogue/*.yml) has the figures of the cards that people train on, and the table of
PCI ids (pci_ids.tsv) has chip and name of all others. A card of the table has no figures.
"""

from __future__ import annotations

import re
from typing import cast, get_args

import msgspec

from inventory.cards import architectures, names, pci_table
from inventory.cards.architectures import ModuleFlavour
from inventory.cards.catalogue_file import Architecture, Card, CatalogueError, Precision
from inventory.cards.name_index import (
    FOLDER,
    CardName,
    best,
    catalogue,
    catalogue_names,
    nearest,
    table_names,
)
from inventory.cards.names import NameKey, is_laptop_name, name_key

__all__ = [
    "FOLDER",
    "AmbiguousCard",
    "Architecture",
    "Card",
    "CatalogueError",
    "ModuleFlavour",
    "Precision",
    "UnknownCard",
    "architecture_of",
    "candidates",
    "catalogue",
    "find",
    "id_in",
    "is_bare_number",
    "is_companion_id",
    "is_laptop_id",
    "is_laptop_name",
    "match",
]


class UnknownCard(LookupError):  # noqa: N818 - callers read "except UnknownCard"
    """No card has that name or id. The message is one sentence that lists the most similar names."""


class AmbiguousCard(UnknownCard):
    """Cards of several architectures have that name. The message is one sentence that lists them."""


_PCI_ID = re.compile(
    r"(?:\b|0x)10de[:\s_-](?:0x)?([0-9a-f]{4})\b"  # lspci -n
    r"|\bpci:v000010ded0000([0-9a-f]{4})"  # the kernel's modalias
    r"|\bven_10de&dev_([0-9a-f]{4})\b"  # Windows
    r"|\b0x([0-9a-f]{4})10de\b"  # nvidia-smi
    r"|\bdevice (?:id )?:?\s*(?:0x)?([0-9a-f]{4})(?: \(rev [0-9a-f]+\))?$"  # lspci without a name for the id
    r"|^0x([0-9a-f]{4})$",
    re.ASCII,
)
_SOUND_OR_USB = re.compile(r"\b(audio|usb|ucsi)\b", re.IGNORECASE)
_BARE_ID = re.compile(r"[0-9a-f]{4}", re.ASCII)
_CHIP_NAME = re.compile(r"\b(gb[12]0b|g[a-z]\d{3}|tu\d{3}|ad\d{3})(?:glm|gl|bm|m)?\b", re.ASCII)


def _named(text: str) -> list[Card]:
    """Cards of the catalogue that the name can mean, the most common one first."""
    return list(dict.fromkeys(e.card for e in best(name_key(text), catalogue_names()) if e.card))


def is_companion_id(pci_device_id: int) -> bool:
    """Whether the device id is that of a card's audio or USB function, or of a switch or bridge."""
    device = pci_table.table().get(pci_device_id)
    return device is not None and device.kind == "function"


def is_laptop_id(pci_device_id: int) -> bool:
    """Whether the device id is that of a laptop GPU. The name that NVML reports does not matter."""
    device = pci_table.table().get(pci_device_id)
    return device is not None and device.kind == "laptop"


def architecture_of(pci_device_id: int) -> Architecture | None:
    """The architecture by the table of ids; for ids that it does not list, by ranges. None for Kepler, for older
    architectures, for functions that are not cards and for unknown ids."""
    device = pci_table.table().get(pci_device_id)
    if device is not None:
        known = device.architecture
        return cast(Architecture, known) if known in get_args(Architecture) else None
    for row in architectures.shipped():
        if any(int(first, 16) <= pci_device_id <= int(last, 16) for first, last in row.id_ranges):
            return cast(Architecture, row.name)
    return None


def find(text: str) -> Card:
    """The card for a text such as "GTX 1060", "rtx 3060 12gb", "NVIDIA GeForce RTX 3090", "4090", "Device 2d05" or
    "10de:1c03". A card that is not in the catalogue has no figures.

    If several cards share a name, the name means the first of ``candidates``, which was sold first: "GTX 1060" has
    6 GB, "RTX 3060" 12 GB, "RTX 3080" 10 GB, "RTX 4060 Ti" and "RTX 5060 Ti" have 8 GB.
    Raises ``AmbiguousCard`` if they have different architectures, and ``UnknownCard`` if there is no such card.
    """
    found = candidates(text)
    if len({card.architecture for card in found}) > 1:
        listed = ", ".join(f"{card.name} ({card.architecture.capitalize()})" for card in found[:5])
        raise AmbiguousCard(f'"{_shown(text)}" can mean several cards, use the full name: {listed}')
    return found[0]


def candidates(text: str) -> tuple[Card, ...]:
    """All cards that the text can mean, the most common one first: "3060" is the RTX 3060 with 12 GB or with 8 GB.

    Never empty. Raises ``UnknownCard``.
    """
    device_id = id_in(text)
    if device_id is not None:
        return (_find_id(device_id),)
    asked = name_key(text)
    listed = _named(text)
    if listed:
        return tuple(listed)
    modified = _with_more_memory(asked)
    if modified is not None:
        return (modified,)
    entries = best(asked, table_names()) or _only_for_laptops(asked)
    if asked.memory_gib is not None and _named_without_memory(asked):
        # The catalogue has every memory with which the model was sold, apart from those in the table.
        entries = [e for e in entries if e.key.memory_gib == asked.memory_gib]
    found = [card for entry in entries if (card := entry.result())]
    if found:
        return tuple(found)
    if entries and entries[0].device:
        raise UnknownCard(_not_supported(f'"{_shown(text)}"', entries[0].device))
    of_chip = _by_chip_name(text)
    if of_chip is not None:
        return (of_chip,)
    raise UnknownCard(f'no card "{_shown(text)}" in the catalogue; did you mean {nearest(text)}?')


def is_bare_number(text: str) -> bool:
    """Whether the text is only the number of a model, such as "3060", so that a person should see what it means."""
    return bool(re.fullmatch(r"\s*\d{3,4}\s*", text))


def _shown(text: str) -> str:
    return " ".join(text.split())[:60]


def _with_more_memory(asked: NameKey) -> Card | None:
    """A card whose memory was replaced by twice as much: "RTX 2080 Ti 22GB"."""
    if asked.memory_gib is None:
        return None
    for card in _named_without_memory(asked):
        if card.kind in _MODIFIED and asked.memory_gib == 2 * (card.memory_gib or 0):
            return msgspec.structs.replace(card, modified_memory_gib=asked.memory_gib)
    return None


def _only_for_laptops(asked: NameKey) -> list[CardName]:
    """Entries for a model that exists only in laptops, whose name omits this: "Quadro T2000"."""
    laptop = msgspec.structs.replace(asked, words=asked.words | {"laptop"})
    return [e for e in best(laptop, table_names()) if names.fits(laptop, e.key, e.memory_gib()) > 1]


def _named_without_memory(asked: NameKey) -> list[Card]:
    entries = best(msgspec.structs.replace(asked, memory_gib=None), catalogue_names())
    return [e.card for e in entries if e.card]


_MODIFIED = ("consumer", "mining")
"""Kinds of cards that are sold with replaced memory chips."""


def _by_chip_name(text: str) -> Card | None:
    """The card of which the text names only the chip: "NVIDIA Corporation GA106M (rev a1)"."""
    found = _CHIP_NAME.search(text.lower())
    if found is None or architectures.of_chip(found[1].upper()) is None:
        return None
    chip = found[1].upper()
    return pci_table.card(pci_table.PciDevice(0, "desktop", chip, (chip,)))


def id_in(text: str) -> int | None:
    """The device id in "10de:1c03", "0x1c03", "Device 1c03", a line of `lspci -nn`, a modalias, or None."""
    lower = " ".join(text.lower().split())
    found = _PCI_ID.search(lower)
    if found:
        return int(next(group for group in found.groups() if group), 16)
    if not _BARE_ID.fullmatch(lower) or _named(lower):
        return None
    if int(lower, 16) in pci_table.table():
        return int(lower, 16)
    return None if lower.isdigit() or best(name_key(lower), table_names()) else int(lower, 16)


def _find_id(device_id: int) -> Card:
    pci_id = f"10de:{device_id:04x}"
    for card in catalogue():
        if pci_id in card.pci_ids:
            return card
    device = pci_table.table().get(device_id)
    if device is None:
        raise UnknownCard(_unknown_id(device_id))
    if device.kind == "function":
        part = "the sound or USB function of a card" if _SOUND_OR_USB.search(device.shown) else "not a card"
        raise UnknownCard(
            f"{pci_id} is {part} ({device.shown}): "
            "use the id in the line `VGA` or `3D controller` of `lspci -nn`"
        )
    found = _of_device(device, None)
    if found is None:
        raise UnknownCard(_not_supported(pci_id, device))
    return found


def _of_device(device: pci_table.PciDevice, name: str | None) -> Card | None:
    """The card for a line of the table: with the figures of the catalogue if the model is in it.

    name: the name that NVML reports; it decides if the line has several names.
    """
    own = next((n for n in device.names if name and name_key(n) == name_key(name)), None)
    shown = own or (device.names[0] if device.names else None)
    if shown is not None and device.kind != "laptop":
        for entry in catalogue_names():
            known = entry.card
            if known and known.architecture == device.architecture and names.same(entry.key, name_key(shown)):
                return known
    return pci_table.card(device, own)


def _not_supported(asked: str, device: pci_table.PciDevice) -> str:
    if device.architecture == "kepler" or device.chip.startswith(("GF", "GT")):
        return f"{asked} is a {device.shown} (chip {device.chip}): dlbox supports Maxwell and newer cards"
    return f"{asked} has the chip {device.chip}, of which dlbox does not know the architecture: update dlbox"


def _unknown_id(device_id: int) -> str:
    architecture = architecture_of(device_id)
    known = f"its id belongs to the {architecture.capitalize()} family" if architecture else ""
    kind = known or "not an id of a known family"

    def distance(device: pci_table.PciDevice) -> int:
        return abs(device.device_id - device_id)

    cards_only = (d for d in pci_table.table().values() if d.kind != "function" and d.names)
    near = sorted(cards_only, key=distance)[:2]
    listed = ", ".join(f"{device.names[0]} ({device.pci_id})" for device in near)
    return f"10de:{device_id:04x} is not in the table of PCI ids: {kind}; nearest: {listed}"


def match(name: str | None, pci_device_id: int | None, memory_bytes: int | None) -> Card | None:
    """The card that matches the values read from the PCI bus and NVML, or None.

    The id takes precedence over the name. ``memory_bytes`` distinguishes variants with the same id and name, and shows
    whether the memory was replaced (``Card.memory_modified``). Laptop GPUs and cards that are not in the catalogue have
    no figures.
    """
    device = None if pci_device_id is None else pci_table.table().get(pci_device_id)
    if (name and is_laptop_name(name)) or (device is not None and device.kind == "laptop"):
        return _laptop(name, device)
    pci_id = "" if pci_device_id is None else f"10de:{pci_device_id:04x}"
    listed = [c for c in catalogue() if pci_id in c.pci_ids]
    named = _named(name) if name else []
    if pci_device_id is not None and named:
        # A new id of a known model is accepted; an id of another architecture means another card.
        named = [c for c in named if architecture_of(pci_device_id) in (c.architecture, None)]
    if listed and named and device is not None and len(device.names) > 1 and named[0].name in device.names:
        listed = named  # of an id with several names, the name decides
    found = listed or named
    if not found and device is not None:
        return _of_device(device, name)
    if not found:
        card = _by_exact_name(name)
        own = None if pci_device_id is None else architecture_of(pci_device_id)
        return card if card and own in (card.architecture, None) else None
    if memory_bytes is None:
        return found[0]
    return _with_memory(found, memory_bytes / 2**30)


def _laptop(name: str | None, device: pci_table.PciDevice | None) -> Card | None:
    if device is None or device.kind != "laptop":
        return _by_exact_name(name)
    return _of_device(device, name)


def _by_exact_name(name: str | None) -> Card | None:
    """The card of the table with this name, for a reading without an id."""
    if not name:
        return None
    asked = name_key(name)
    return next((c for e in table_names() if names.same(e.key, asked) and (c := e.result())), None)


def _with_memory(found: list[Card], gib: float) -> Card:
    """The variant of a model with this memory; with more memory than every variant, the memory was replaced."""
    model = name_key(found[0].name).words - names.OPTIONAL
    variants = [c for c in catalogue() if c in found or _same_model(c, found[0], model)]

    def distance(card: Card) -> tuple[bool, bool, float]:
        nominal = card.memory_gib or 0
        off = abs(nominal - gib)
        return off > 0.1 * nominal, card not in found, off

    best = min(variants, key=distance)
    if best.kind in _MODIFIED and gib > 1.1 * max(c.memory_gib or 0 for c in variants):
        return msgspec.structs.replace(best, modified_memory_gib=round(gib))
    return best


def _same_model(card: Card, other: Card, model: frozenset[str]) -> bool:
    return (
        card.kind == other.kind == "consumer"
        and card.architecture == other.architecture
        and name_key(card.name).words - names.OPTIONAL == model
        and card.memory_gib != other.memory_gib
    )
