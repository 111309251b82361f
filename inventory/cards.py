"""Look a card up in the catalogue (cards.yml): by name as people write it, by PCI id, by what NVML says."""

from __future__ import annotations

from typing import Literal

import msgspec

Architecture = Literal[
    "maxwell", "pascal", "volta", "turing", "ampere", "ada", "hopper", "blackwell"
]


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One model of graphics card. Figures are the reference design's; partner cards differ in boost and TDP."""

    name: str
    """As NVML prints it without the vendor: "GeForce RTX 3060"; variants carry their memory: "GeForce RTX 3060 12GB"."""
    architecture: Architecture
    compute_capability: str
    """"8.6"."""
    cores: int
    boost_mhz: int
    memory_gib: int
    memory_bus_bits: int
    memory_bandwidth_gb_s: float
    tdp_w: int
    pcie_generation: int
    pcie_lanes: int
    pci_ids: tuple[str, ...] = ()
    """"10de:2503", lower case."""
