"""Write the table of PCI ids from a copy of pci.ids: ``python -m tests.import_pci_ids /usr/share/misc/pci.ids``.

The table (inventory/cards/pci_ids.tsv) has the facts of pci.ids that dlbox uses: the device ids of NVIDIA, the chip and
the names of the card. docs/decisions/0115-pci-ids.md has the reasons and the licence.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).parent.parent / "inventory" / "cards" / "pci_ids.tsv"

HEAD = """# PCI device ids of NVIDIA (vendor 10de): id, kind, chip, names. Written by tests/import_pci_ids.py.
# Source: pci.ids of {date}, https://pci-ids.ucw.cz/, Copyright (c) 1997-2026 Martin Mares, 2015-2026 Albert Pool,
# used under the 3-clause BSD licence (the file is licensed GPL-2+ or BSD-3-Clause): docs/decisions/0115-pci-ids.md.
# kind: desktop, laptop, or function (not a card: audio, USB, switches, bridges). Several names are separated by "|".
"""

_CHIP = re.compile(r"(GB[12]0B|[A-Z]{2}\d{3})(GLM|BM|GL|M)?B?")
_NO_CARD = re.compile(
    r"\b(audio|usb|ucsi|sata|nvswitch|bridge|endpoint|controller|root|npu|host|rp)\b", re.IGNORECASE
)
_FIRST_CHIP = 0x0FC0
"""First id of Kepler. Older ids are not in the table, apart from functions of newer cards."""
_OTHER_CHIPS = {"2c2c": "GB203", "2d2c": "GB206"}
"""Ids whose entry does not name the chip; the ids around them are those of this chip."""
_DESKTOP = {"1fb0": "T1000", "1fb2": "T400"}
"""Ids that pci.ids lists as laptop cards, and NVIDIA's list of compatible GPUs as desktop cards."""
_LAPTOP = re.compile(
    r"\s*(?:/\s*)?\b(?:Mobile|Max-Q|Laptop GPU)(?: Refresh| Rev\. 2| 6GB)?(?:\s*/\s*(?:Mobile|Max-Q)(?: Refresh)?)?"
    r"(?: 8GB/16GB)?"
)
_DROPPED = re.compile(r" (?:Lite Hash Rate|Rev\. [A2])\b|^(?:Reserved|Initial) Dev ?ID.*|^INT SKU$")
_SEVERAL = {
    "GeForce GTX 960 OEM / 970M": ("GeForce GTX 960 OEM", "GeForce GTX 970M"),
    "GeForce 945M / 945A": ("GeForce 945M", "GeForce 945A"),
    "GH200 120GB / 480GB": ("GH200 120GB", "GH200 480GB"),
    "Quadro M5000M / M5000 SE": ("Quadro M5000M", "Quadro M5000 SE"),
    "Quadro P2000 Mobile / DRIVE PX 2 AutoChauffeur": ("Quadro P2000 Mobile",),
    "Quadro RTX 6000/8000": ("Quadro RTX 6000", "Quadro RTX 8000"),
    "RTX 2000 / 2000E Ada Generation": ("RTX 2000 Ada Generation", "RTX 2000E Ada Generation"),
    "GeForce RTX 3080 11GB / 12GB Engineering Sample": ("GeForce RTX 3080 Engineering Sample",),
    "TS4 / B100": ("B100",),
    "Tesla T10 16GB / GRID RTX T10-2/T10-4/T10-8": ("Tesla T10 16GB",),
    "GeForce RTX 3080 Mobile / Max-Q 8GB/16GB": ("GeForce RTX 3080 Laptop GPU",),
}


class Entry(NamedTuple):
    """A line of the table."""

    id: str
    kind: str
    chip: str
    names: tuple[str, ...]


def devices(text: str) -> Iterator[tuple[str, str]]:
    """Device id and description of each device of NVIDIA."""
    inside = False
    for line in text.splitlines():
        if line and not line.startswith(("\t", "#")):
            inside = line.startswith("10de ")
        elif inside and (found := re.fullmatch(r"\t([0-9a-f]{4})  (.+)", line)):
            yield found[1], found[2]


def entry(device_id: str, description: str) -> Entry | None:
    """The line of the table for a device; None for an older card."""
    if (
        _NO_CARD.search(description.partition("[")[0])
        or "NVSwitch" in description
        or "PCIe Faber" in description
    ):
        return Entry(device_id, "function", "-", (description,)) if int(device_id, 16) >= 0x0BE0 else None
    if int(device_id, 16) < _FIRST_CHIP:
        return None
    chip = _CHIP.match(description)
    name = re.search(r"\[(.*)\]", description)
    if chip is None and device_id not in _OTHER_CHIPS:
        return None
    base = chip[1] if chip else _OTHER_CHIPS[device_id]
    laptop = bool(chip and chip[2] in ("GLM", "BM", "M")) or bool(_LAPTOP.search(description))
    laptop = laptop or bool(re.search(r"\[GeForce (?:RTX 2050|MX\d{3})\b", description))
    if "Max-Q Workstation" in description:
        laptop = False
    if device_id in _DESKTOP:
        return Entry(device_id, "desktop", base, (_DESKTOP[device_id],))
    text = re.sub(r"^Geforce", "GeForce", name[1]) if name else ""
    inner = re.match(r"(GM107) ", text)
    base = inner[1] if inner else base
    parts = _SEVERAL.get(text) or ((text,) if laptop and _LAPTOP.search(text) else tuple(text.split(" / ")))
    names = dict.fromkeys(_name(part, laptop) for part in parts)
    return Entry(device_id, "laptop" if laptop else "desktop", base, tuple(n for n in names if n))


def _name(text: str, laptop: bool) -> str:
    """The name as NVML writes it: "GeForce RTX 3060 Mobile / Max-Q" -> "GeForce RTX 3060 Laptop GPU"."""
    text = _DROPPED.sub("", text)
    if laptop and _LAPTOP.search(text):
        text = f"{_LAPTOP.sub('', text).strip()} Laptop GPU"
    return " ".join(text.split())


def table(text: str) -> str:
    """The content of the table."""
    date = re.search(r"Version: (\d{4})\.(\d\d)\.(\d\d)", text)
    when = "-".join(date.groups()) if date else "an unknown date"
    lines = [HEAD.format(date=when)]
    for device_id, description in devices(text):
        found = entry(device_id, description)
        if found is not None:
            lines.append("\t".join((found.id, found.kind, found.chip, "|".join(found.names))) + "\n")
    return "".join(lines)


if __name__ == "__main__":
    TABLE.write_text(table(Path(sys.argv[1]).read_text(encoding="utf-8")), encoding="utf-8")
