"""The names of the cards in the catalogue and in the table of PCI ids, those that fit a text, and the nearest."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import NamedTuple, get_args

from inventory.cards import catalogue_file, names, pci_table
from inventory.cards.catalogue_file import Architecture, Card
from inventory.cards.names import NameKey, name_key

FOLDER = Path(str(resources.files("inventory.cards") / "catalogue"))


@functools.cache
def catalogue() -> tuple[Card, ...]:
    """All cards of the catalogue, by architecture. If cards share a short name, the most common one comes first."""
    return catalogue_file.read(FOLDER)


class CardName(NamedTuple):
    """A name of a card, and the card. device: the line of the table for a card that is not in the catalogue."""

    key: NameKey
    card: Card | None
    device: pci_table.PciDevice | None = None
    name: str = ""

    def memory_gib(self) -> int | None:
        """Memory of the card, or of its name; None if neither states it."""
        return self.card.memory_gib if self.card else self.key.memory_gib

    def result(self) -> Card | None:
        """The card; None if its chip is not supported."""
        return self.card or (pci_table.card(self.device, self.name) if self.device else None)


@functools.cache
def catalogue_names() -> tuple[CardName, ...]:
    """Names and aliases of the catalogue, in its order."""
    return tuple(
        CardName(name_key(name), card) for card in catalogue() for name in (card.name, *card.aliases)
    )


@functools.cache
def table_names() -> tuple[CardName, ...]:
    """Names of the table, Kepler and older included; one entry per name."""
    found = {name: device for device in pci_table.table().values() for name in device.names}
    return tuple(
        CardName(name_key(name), None, device, name)
        for name, device in found.items()
        if device.kind != "function"
    )


def best(asked: NameKey, entries: Iterable[CardName]) -> list[CardName]:
    """The entries that fit the name best, in their order."""
    fitting = [(names.fits(asked, e.key, e.memory_gib()), e) for e in entries]
    highest = max((fit for fit, _ in fitting), default=0)
    found = [e for fit, e in fitting if fit == highest] if highest else []
    if asked.memory_gib is not None:
        found = [e for e in found if e.memory_gib() == asked.memory_gib] or found
    if highest > 1:
        return found
    most = max((len(e.key.words & asked.words) for e in found), default=0)
    return [e for e in found if len(e.key.words & asked.words) == most]


def nearest(text: str) -> str:
    """The three cards whose names are most similar, as "A, B or C"."""
    asked = name_key(text[:100])
    numbers = {w for w in asked.words if w.isdigit()}
    name = " ".join([*sorted(asked.families), *sorted(asked.words)])
    laptop = "laptop" in asked.words

    def likeness(entry: CardName) -> float:
        own = " ".join([*sorted(entry.key.families), *sorted(entry.key.words)])
        matcher = difflib.SequenceMatcher(None, name, own)
        if matcher.real_quick_ratio() < 0.4 and not numbers & entry.key.words:
            return 0.0
        return matcher.ratio() + len(numbers & entry.key.words)

    models = {(e.key.families, e.key.words - names.OPTIONAL) for e in catalogue_names()}
    known = [e for e in catalogue_names() if not laptop]
    known += [
        e
        for e in table_names()
        if laptop == (e.device is not None and e.device.kind == "laptop")
        and (laptop or (e.key.families, e.key.words - names.OPTIONAL) not in models)
    ]
    found: list[str] = []
    for entry in sorted(known, key=likeness, reverse=True):
        shown = entry.card.name if entry.card else entry.name
        supported = entry.card or (entry.device and entry.device.architecture in get_args(Architecture))
        if shown not in found and supported:
            found.append(shown)
        if len(found) == 3:
            break
    return f"{', '.join(found[:-1])} or {found[-1]}"
