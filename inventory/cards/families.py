"""Find the architecture of a card that is not in the catalogue, by its name or device id.

Cards that neither the catalogue nor the table of PCI ids names use the drivers and wheels of their architecture. Kepler
is included so that an error can name it. The product names of NVIDIA are general knowledge.
"""

from __future__ import annotations

import re

from inventory.cards import cards, pci_table

KEPLER = "kepler"
_KEPLER_IDS = range(0x0FC0, 0x1340)
"""GK107, GK110, GK104, GK106 and GK208, for ids that the table does not list."""

_MAKERS = (
    ("AMD", re.compile(r"\b(amd|radeon|ati|rx ?\d{3,4}|vega|firepro|instinct|1002 [0-9a-f]{4})\b")),
    ("Intel", re.compile(r"\b(intel|arc|iris|uhd|8086 [0-9a-f]{4})\b")),
)

# The order matters: names with a generation come before names that are only a number.
_NAMES = tuple(
    (family, re.compile(pattern))
    for family, pattern in (
        ("blackwell", r"\bblackwell\b|\brtx pro \d{3,4}\b|\b(rtx ?)?50[89]0 ?d\b"),
        ("ada", r"\brtx \d{4} ada\b|\bl(20|40|40s)\b"),
        ("hopper", r"\bh(20|800)\b|\bgh200\b"),
        ("ampere", r"\b(rtx ?)?3050 ?ti\b|\brtx ?2050\b|\bmx ?570\b|\b(rtx )?a(2|10|10g|16|30|40|800)\b"),
        ("ampere", r"\b(rtx )?a(400|500|[1-5]000|[45]500|6000)\b"),
        (
            "turing",
            r"\bquadro rtx \d{4}\b|\bgtx ?1630\b|\bgtx ?1650 ?ti\b|\bmx ?4[35]0\b|\bt(400|500|550|600|[12]000|1200)\b",
        ),
        ("volta", r"\b(tesla )?v100s?\b|\bgv100\b|\btitan v ceo\b"),
        (
            "pascal",
            r"\bgt ?10[13]0\b|\bgtx ?1060 5 ?gb?\b|\bmx ?[123][135]0\b|\bgp100\b|\b(tesla )?p(4|6|40|100)\b",
        ),
        ("pascal", r"\b(quadro )?p(400|500|600|620|[1-6]000|[2345]200)\b"),
        ("maxwell", r"\bgtx ?(745|750)\b|\b(gtx ?)?(8[3-6]0|9[1-8][05])mx?\b|\b(tesla )?m(4|6|10|40|60)\b"),
        ("maxwell", r"\bquadro m\d{3,4}m?\b|\b(quadro )?k(620|1200|2200)\b"),
        (KEPLER, r"\bgtx ?(6\d0|7[678]0) ?(ti)?m?\b|\bgt ?(6[1-4]0|7[1-4]0)m?\b|\btitan (black|z)\b"),
        (KEPLER, r"^gtx titan$|\b(tesla )?k(8|10|20x?|40|80)[cm]?\b|\bquadro k\d{3,4}m?\b|\bnvs 510\b"),
    )
)
_LAPTOP_SERIES = (
    ("maxwell", re.compile(r"\bgtx ?9\d0\b")),
    ("pascal", re.compile(r"\bgtx ?10\d0m?\b")),
    ("turing", re.compile(r"\bgtx ?16\d0\b|\brtx ?20[678]0\b")),
    ("ampere", re.compile(r"\brtx ?30\d0\b")),
    ("ada", re.compile(r"\brtx ?40\d0\b")),
    ("blackwell", re.compile(r"\brtx ?50\d0\b")),
)


def _plain(text: str) -> str:
    text = re.sub(r"[^a-z0-9]+", " ", text.lower())
    return " ".join(re.sub(r"\b(nvidia|geforce|corporation|graphics|gpu|card)\b", " ", text).split())


def of_id(pci_device_id: int) -> str | None:
    """The architecture ("pascal", "kepler", ...) of a device id; None for older and unknown ids."""
    device = pci_table.table().get(pci_device_id)
    if device is not None:
        return device.architecture
    return KEPLER if pci_device_id in _KEPLER_IDS else cards.architecture_of(pci_device_id)


def of_name(text: str) -> str | None:
    """The architecture of a name: "RTX 3060 Laptop GPU" -> "ampere"; None if it is unknown."""
    plain = _plain(text)
    known = next((family for family, pattern in _NAMES if pattern.search(plain)), None)
    if known is None and cards.is_laptop_name(text):
        known = next((family for family, pattern in _LAPTOP_SERIES if pattern.search(plain)), None)
    return known


def other_maker(text: str) -> str | None:
    """ "AMD" or "Intel" if the name is that of one of their cards, else None."""
    plain = _plain(text)
    return next((maker for maker, pattern in _MAKERS if pattern.search(plain)), None)
