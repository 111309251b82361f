"""Find a card in the catalogue (cards.yml) by a name as people write it, by PCI id, or by NVML's values."""

from __future__ import annotations

import difflib
import functools
import re
from importlib import resources
from pathlib import Path

import msgspec

from inventory.cards.architectures import ModuleFlavour
from inventory.cards.catalogue_file import (
    Architecture,
    Card,
    Catalogue,
    CatalogueError,
    Precision,
    read,
)

__all__ = [
    "Architecture",
    "Card",
    "CatalogueError",
    "ModuleFlavour",
    "Precision",
    "UnknownCard",
    "architecture_of",
    "catalogue",
    "find",
    "id_in",
    "is_companion_id",
    "is_laptop_id",
    "is_laptop_name",
    "match",
]


class UnknownCard(LookupError):  # noqa: N818 - callers read "except UnknownCard"
    """The catalogue has no card of that name. The message is one sentence that lists the most similar names."""


@functools.cache
def _shipped() -> tuple[Catalogue, tuple[Card, ...]]:
    return read(Path(str(resources.files("inventory.cards") / "cards.yml")))


def catalogue() -> tuple[Card, ...]:
    """All cards of the catalogue, by architecture. If cards share a short name, the most common one comes first."""
    return _shipped()[1]


_PCI_ID = re.compile(
    r"(?:\b|0x)10de[:\s](?:0x)?([0-9a-f]{4})\b"  # lspci -n
    r"|\bpci:v000010ded0000([0-9a-f]{4})"  # the kernel's modalias
    r"|\bven_10de&dev_([0-9a-f]{4})\b"  # Windows
    r"|^0x([0-9a-f]{4})$",
    re.ASCII,
)
_BARE_ID = re.compile(r"(?=.*[a-f])[0-9a-f]{4}", re.ASCII)
_COMPANIONS = frozenset({
    "0fb0", "0fb8", "0fb9", "0fba", "0fbb", "0fbc", "10ef", "10f0", "10f1", "10f7", "10f8", "10f9", "1ad6", "1ad7",
    "1ad8", "1ad9", "1ada", "1adb", "1aeb", "1aec", "1aed", "1aef", "1af1", "228b", "228e", "22ba", "22bb", "22bc",
    "22bd", "22be",
})  # fmt: skip
"""Device ids of audio functions, USB functions and PCIe switches that lie within the ranges of GPU ids.

From pci.ids of 2023-04-11; 22bb to 22be are from memory."""
_SHORT_SUPER = re.compile(r"\b(1650|1660|20[678]0|40[78]0)( ?ti)? ?s\b")
_LAPTOP = re.compile(
    r"laptop|notebook|mobile|max-?\s?q|\b(?:9\d{2}|10[5-8]0)m\b|\bmx\s?\d{3}\b|\brtx\s?2050\b"
)
_MEMORY = re.compile(r"(?<![a-z0-9])(\d{1,3})\s*g(?:i?b)?(?![a-z0-9])", re.ASCII)
_NOISE = re.compile(
    r"\b(?:nvidia|corporation|geforce|tesla|graphics|card|gpu|lite hash rate|lhr|founders edition|fe)\b"
)
_FAMILIES = frozenset({"gtx", "rtx", "gt", "titan"})


class _Key(msgspec.Struct, frozen=True):
    """The parts of a name: "GeForce RTX 4060 Ti 16GB" -> {rtx}, 16, {4060, ti}."""

    families: frozenset[str]
    memory_gib: int | None
    words: frozenset[str]


def _key(text: str) -> _Key:
    text = text.lower()
    bracket = re.search(r"\[([^\]]*)\]", text)  # lspci: "GA106 [GeForce RTX 3060] (rev a1)"
    text = bracket[1] if bracket else text
    text = re.sub(r"[^a-z0-9]+", " ", text)
    text = _NOISE.sub(" ", text)
    text = re.sub(r"\b(gtx|rtx|gt)(?=\d)", r"\1 ", text)
    text = _SHORT_SUPER.sub(r"\1\2 super", text)
    text = re.sub(r"\btitan(?=(?:v|xp?|rtx)\b)", "titan ", text)
    text = re.sub(r"(?<=\d)(?=(?:ti|super|d)(?:super)?(?:\d|\b))", " ", text)
    text = re.sub(r"\bti(?=super)", "ti ", text)
    text = re.sub(r"\b(ti|super)(?=\d)", r"\1 ", text)
    memory = _MEMORY.search(text)
    text = _MEMORY.sub(" ", text)
    words = {re.sub(r"^sxm\d$", "sxm", w) for w in text.split()}
    gib = int(memory[1]) if memory else None
    return _Key(frozenset(words & _FAMILIES), gib, frozenset(words - _FAMILIES))


@functools.cache
def _keys() -> tuple[tuple[_Key, Card], ...]:
    return tuple((_key(name), card) for card in catalogue() for name in (card.name, *card.aliases))


def _named(text: str) -> list[Card]:
    """Cards that the name can mean, the most common one first. The name may omit the words in ``_OPTIONAL``."""
    asked = _key(text)
    if not asked.words and "titan" not in asked.families:
        return []
    exact: list[Card] = []
    loose: list[Card] = []
    for key, card in _keys():
        if asked.families and not asked.families <= key.families:
            continue
        if asked.memory_gib is not None and asked.memory_gib != card.memory_gib:
            continue
        if asked.words == key.words and (not asked.families or asked.families == key.families):
            exact.append(card)
        elif asked.words < key.words and key.words - asked.words <= _OPTIONAL:
            loose.append(card)
    return list(dict.fromkeys(exact + loose))


_MEMORY_TYPE = re.compile(r"\b(gddr\d+x?|hbm\d+e?)\b", re.IGNORECASE)
_OPTIONAL = frozenset({"sxm", "pcie", "hbm3", "pascal", "gddr6", "gddr6x"})


def is_laptop_name(name: str) -> bool:
    """Whether the name is that of a laptop GPU; before the RTX 30 family, many names do not show this."""
    return bool(_LAPTOP.search(name.lower()))


def is_companion_id(pci_device_id: int) -> bool:
    """Whether the device id is that of a card's audio or USB function."""
    return f"{pci_device_id:04x}" in _COMPANIONS


def is_laptop_id(pci_device_id: int) -> bool:
    """Whether the device id is that of a laptop GPU. The name that NVML reports does not matter."""
    return f"{pci_device_id:04x}" in _laptop_ids()


@functools.cache
def _laptop_ids() -> frozenset[str]:
    return frozenset(_shipped()[0].laptop_ids)


def architecture_of(pci_device_id: int) -> Architecture | None:
    """The architecture by ranges of device ids, also for cards that are not in the catalogue. None for Kepler, for
    older architectures and for unknown ids.

    Pass only ids of display functions: audio and USB functions of newer cards have ids in the ranges of older cards.
    """
    for block in _shipped()[0].id_ranges:
        if int(block.first, 16) <= pci_device_id <= int(block.last, 16):
            return block.architecture
    return None


def find(text: str) -> Card:
    """The card for a text such as "GTX 1060", "rtx 3060 12gb", "NVIDIA GeForce RTX 3090", "4090" or "10de:1c03".

    If several cards share a name, the name means the first of them in the catalogue, which was sold first:
    "GTX 1060" has 6 GB, "RTX 3060" 12 GB, "RTX 3080" 10 GB, "RTX 4060 Ti" and "RTX 5060 Ti" have 8 GB.
    Raises ``UnknownCard``.
    """
    device_id = id_in(text)
    if device_id is not None:
        return _find_id(device_id)
    shown = " ".join(text.split())[:60]
    if is_laptop_name(text):
        raise UnknownCard(f'"{shown}" is a laptop GPU; the catalogue has only desktop cards')
    found = _named(text) or _named(_without_board_words(text)) or _named(_MEMORY_TYPE.sub(" ", text))
    if found:
        return found[0]
    raise UnknownCard(f'no card "{shown}" in the catalogue; nearest: {", ".join(_nearest(text))}')


def id_in(text: str) -> int | None:
    """The device id in "10de:1c03", "0x1c03", a line of `lspci -nn` or a modalias; None if there is none."""
    lower = text.strip().lower()
    found = _PCI_ID.search(lower)
    if found:
        return int(next(group for group in found.groups() if group), 16)
    return int(lower, 16) if _BARE_ID.fullmatch(lower) and not _named(lower) else None


_MEANING = frozenset({
    "quadro", "pro", "ada", "generation", "blackwell", "radeon", "rx", "arc", "ultra", "plus",
    "m", "q", "s", "t", "a",
})  # fmt: skip
"""Words that, with the same number, name another model. The words of board makers do not."""


def _without_board_words(text: str) -> str:
    """The name without the words of board makers: "MSI RTX 3060 Ventus 2X 12G OC" -> "rtx 3060 12g"."""
    known = frozenset(word for key, _ in _keys() for word in key.words | key.families)
    plain = re.sub(r"[^a-z0-9]+", " ", text.lower())
    plain = re.sub(r"\b(gtx|rtx|gt)(?=\d)", r"\1 ", plain)
    words_of_model = []
    words = plain.split()
    for word in words:
        if word == "x" and "titan" not in words:
            continue  # as in MSI's "Gaming X"; of NVIDIA's names only TITAN X contains an X
        from_maker = word.isalpha() or re.fullmatch(r"[1-3]x|v\d|mk\d", word)
        if word in known or word in _MEANING or not from_maker or _NOISE.fullmatch(word):
            words_of_model.append(word)
    return " ".join(words_of_model) if any(word.isdigit() for word in words_of_model) else ""


def _find_id(device_id: int) -> Card:
    pci_id = f"10de:{device_id:04x}"
    for card in catalogue():
        if pci_id in card.pci_ids:
            return card
    if f"{device_id:04x}" in _COMPANIONS:
        raise UnknownCard(
            f"{pci_id} is the sound or USB function of a card, not the card: "
            "use the id in the line `VGA` or `3D controller` of `lspci -nn`"
        )
    if is_laptop_id(device_id):
        raise UnknownCard(f"{pci_id} is a laptop GPU; the catalogue has only desktop cards")
    architecture = architecture_of(device_id)
    kind = f"by its id a {architecture.capitalize()} card" if architecture else "not an id of a known family"

    def distance(card: Card) -> int:
        return min(abs(int(i[5:], 16) - device_id) for i in card.pci_ids)

    near = sorted((c for c in catalogue() if c.pci_ids), key=distance)
    names = ", ".join(f"{c.name} ({c.pci_ids[0]})" for c in near[:2])
    raise UnknownCard(f"{pci_id} is not in the catalogue: {kind}; nearest: {names}")


def _nearest(text: str) -> list[str]:
    asked = _key(text[:100])
    numbers = {w for w in asked.words if w.isdigit()}
    name = " ".join([*sorted(asked.families), *sorted(asked.words)])

    def likeness(card: Card) -> float:
        key = _key(card.name)
        own = " ".join([*sorted(key.families), *sorted(key.words)])
        return difflib.SequenceMatcher(None, name, own).ratio() + len(numbers & key.words)

    return [card.name for card in sorted(catalogue(), key=likeness, reverse=True)[:3]]


def match(name: str | None, pci_device_id: int | None, memory_bytes: int | None) -> Card | None:
    """The card of the catalogue that matches the values read from the PCI bus and NVML. None for laptop GPUs and for
    cards that are not in the catalogue.

    The id takes precedence over the name. ``memory_bytes`` distinguishes variants with the same id and name.
    """
    if (name and is_laptop_name(name)) or (pci_device_id is not None and is_laptop_id(pci_device_id)):
        return None
    pci_id = "" if pci_device_id is None else f"10de:{pci_device_id:04x}"
    listed = [c for c in catalogue() if pci_id in c.pci_ids]
    named = _named(name) if name else []
    if not listed and pci_device_id is not None and named:
        # A new id of a known model is accepted; an id of another architecture means another card.
        named = [c for c in named if architecture_of(pci_device_id) in (c.architecture, None)]
    candidates = listed or named
    if not candidates or memory_bytes is None:
        return candidates[0] if candidates else None
    model = _key(candidates[0].name).words - _OPTIONAL
    variants = [c for c in catalogue() if c in candidates or _same_model(c, candidates[0], model)]
    gib = memory_bytes / 2**30

    def distance(card: Card) -> tuple[bool, bool, float]:
        off = abs(card.memory_gib - gib)
        return off > 0.1 * card.memory_gib, card not in candidates, off

    return min(variants, key=distance)


def _same_model(card: Card, other: Card, model: frozenset[str]) -> bool:
    return (
        card.kind == other.kind == "consumer"
        and card.architecture == other.architecture
        and _key(card.name).words - _OPTIONAL == model
        and card.memory_gib != other.memory_gib
    )
