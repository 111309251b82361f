"""The table of PCI ids (pci_ids.tsv): chip and names of every NVIDIA card that pci.ids lists, from Kepler on.

The table has facts of pci.ids (docs/decisions/0115-pci-ids.md); ``python -m tests.import_pci_ids`` writes it.
"""

from __future__ import annotations

import functools
import re
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from inventory.cards import architectures, catalogue_file
from inventory.cards.catalogue_file import Card, Kind

PATH = Path(str(resources.files("inventory.cards") / "pci_ids.tsv"))

_MEMORY = re.compile(r"\b(\d{1,3}) ?GB\b")


class PciDevice(NamedTuple):
    """One line of pci_ids.tsv: an NVIDIA device and its names."""

    device_id: int
    kind: str
    """"desktop" or "laptop"; "function" for an audio or USB function, a switch or a bridge, which is not a card."""
    chip: str
    names: tuple[str, ...]
    """Names as NVML writes them without the vendor; empty if pci.ids names only the chip."""

    @property
    def pci_id(self) -> str:
        """ "10de:2d05"."""
        return f"10de:{self.device_id:04x}"

    @property
    def shown(self) -> str:
        """The names, or the chip of a card without a name."""
        return " or ".join(self.names) or f"{self.chip} ({self.pci_id})"

    @property
    def architecture(self) -> str | None:
        """The architecture, Kepler included; None for a function or an unknown chip."""
        found = architectures.of_chip(self.chip)
        return found[0].name if found else None


@functools.cache
def table() -> dict[int, PciDevice]:
    """PCI device id -> its line in pci_ids.tsv."""
    found: dict[int, PciDevice] = {}
    for line in PATH.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            device_id, kind, chip, names = line.split("\t")
            number = int(device_id, 16)
            found[number] = PciDevice(number, kind, chip, tuple(n for n in names.split("|") if n))
    return found


def card(device: PciDevice, name: str | None = None) -> Card | None:
    """A card without figures for the line. None if it is a function, or if its chip is older than Maxwell or unknown.

    name: one of the names of the line; None: the first.
    """
    shown = name or (device.names[0] if device.names else f"{device.chip} ({device.pci_id})")
    memory = _MEMORY.search(shown)
    try:
        return catalogue_file.of_chip(
            shown,
            device.chip,
            kind_of(shown),
            laptop=device.kind == "laptop",
            memory_gib=int(memory[1]) if memory else None,
        )
    except KeyError:
        return None


def kind_of(name: str) -> Kind:
    """The kind of a card by its name: "Tesla P4" -> "datacentre"."""
    if re.match(r"CMP |P10[246]", name):
        return "mining"
    if re.match(r"GeForce|TITAN|RTX TITAN", name):
        return "consumer"
    return "workstation" if re.match(r"Quadro|RTX|NVS|T\d{3}", name) else "datacentre"
