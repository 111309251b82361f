"""Read cards.yml, the catalogue of cards: the types of its entries, and the ``Card`` made of each."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from common.file_access import yaml_lines
from inventory.cards import architectures
from inventory.cards.architectures import DeviceId, ModuleFlavour

Architecture = Literal["maxwell", "pascal", "volta", "turing", "ampere", "ada", "hopper", "blackwell"]
Precision = Literal["fp32", "tf32", "fp16", "bf16"]
Connector = Literal["6-pin", "8-pin", "16-pin"]

Count = Annotated[int, Meta(gt=0)]
Rate = Annotated[float, Meta(gt=0)]
PciId = Annotated[str, Meta(pattern="^10de:[0-9a-f]{4}$")]


class CatalogueError(yaml_lines.YamlError):
    """cards.yml is not valid; the message names the line, the entry and the expected value."""


class Source(msgspec.Struct, frozen=True):
    """Source of a figure. ``verified``: a person read the figure in the source and did not take it from memory."""

    text: str
    verified: bool


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One model of graphics card. The figures are those of the reference design; cards by other makers have other boost
    clocks."""

    name: str
    """NVML's name without the vendor; variants include their memory: "GeForce RTX 3060 12GB"."""
    chip: str
    architecture: Architecture
    compute_capability: str
    """"8.6"."""
    kind: Literal["consumer", "datacentre"] = "consumer"
    cores: int
    boost_mhz: int
    memory_gib: int
    """Nominal size; NVML reports up to 1 % less."""
    memory_type: str
    memory_bus_bits: int
    memory_gbps_per_pin: float
    """Data rate of each memory pin in Gbit/s: twice the highest memory clock in GHz that NVML reports."""
    memory_bandwidth_gb_s: float
    """Published memory bandwidth in 10^9 bytes per second."""
    l2_bytes: int | None = None
    tf32_tflops: float | None = None
    """Peak with FP32 accumulation and without sparsity, in TFLOPS. None: the card has no units for the precision."""
    fp16_tflops: float | None = None
    bf16_tflops: float | None = None
    tdp_w: int
    power_supply_w: int | None = None
    """Rated power of the power supply that the maker of the card recommends, in watts."""
    power_connectors: tuple[Connector, ...] | None = None
    """Power plugs of the card. Empty: the slot alone powers the card. None: unknown."""
    length_mm: int | None = None
    pcie_generation: int
    pcie_lanes: int
    launched: datetime.date
    launch_usd: float | None = None
    has_ecc: bool = False
    min_driver_branch: int
    last_driver_branch: int | None = None
    """Last driver branch that supports the card. None: current branches still support it."""
    module_flavour: ModuleFlavour
    """Kernel modules that support the card; from branch 615 on there are only open modules."""
    pci_ids: tuple[str, ...] = ()
    """PCI ids in lower case, such as "10de:2503". Variants that differ only in memory may share an id."""
    aliases: tuple[str, ...] = ()
    note: str = ""
    unverified: tuple[str, ...] = ()
    """Fields whose values were not compared with a source."""
    sources: tuple[tuple[str, str], ...] = ()
    """(field, source) for each of the other fields."""

    @property
    def fp32_tflops(self) -> float:
        """FP32 peak, computed as one fused multiply-add (two operations) per core and cycle at boost clock."""
        return 2 * self.cores * self.boost_mhz / 1e6

    @property
    def memory_bytes(self) -> int:
        """Nominal size of the memory."""
        return self.memory_gib * 2**30

    @property
    def has_tensor_cores(self) -> bool:
        """Whether the card has units for matrix products in FP16."""
        return self.fp16_tflops is not None

    def peak_tflops(self, precision: Precision) -> float | None:
        """Peak in 10^12 operations per second; None if the card has no units for the precision."""
        return {
            "fp32": self.fp32_tflops,
            "tf32": self.tf32_tflops,
            "fp16": self.fp16_tflops,
            "bf16": self.bf16_tflops,
        }[precision]


class _IdRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Device ids of one architecture, both ends included."""

    first: DeviceId
    last: DeviceId
    architecture: Architecture


class _CardEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of ``cards`` in cards.yml."""

    name: Annotated[str, Meta(min_length=1)]
    aliases: tuple[str, ...] = ()
    chip: str
    architecture: Architecture
    compute_capability: Annotated[str, Meta(pattern=r"^\d+\.\d$")]
    kind: Literal["consumer", "datacentre"] = "consumer"
    cores: Count
    boost_mhz: Count
    memory_gib: Count
    memory_type: str
    memory_bus_bits: Count
    memory_gbps_per_pin: Rate
    memory_bandwidth_gb_s: Rate
    l2_kib: Count | None = None
    tensor_cores: bool = True
    tf32_tflops: Rate | None = None
    fp16_tflops: Rate | None = None
    bf16_tflops: Rate | None = None
    tdp_w: Count
    power_supply_w: Count | None = None
    power_connectors: tuple[Connector, ...] | None = None
    length_mm: Count | None = None
    pcie_generation: Annotated[int, Meta(ge=1, le=7)]
    pcie_lanes: Literal[1, 2, 4, 8, 16]
    launched: datetime.date
    launch_usd: Rate | None = None
    has_ecc: bool = False
    pci_ids: tuple[PciId, ...] = ()
    sources: dict[str, tuple[str, ...]] = {}
    note: str = ""


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of cards.yml."""

    sources: dict[str, Source]
    id_ranges: tuple[_IdRange, ...]
    laptop_ids: tuple[DeviceId, ...]
    cards: tuple[_CardEntry, ...]


_FIGURES = (
    "cores", "boost_mhz", "memory_gib", "memory_type", "memory_bus_bits", "memory_gbps_per_pin",
    "memory_bandwidth_gb_s", "l2_kib", "tf32_tflops", "fp16_tflops", "bf16_tflops", "tdp_w", "power_supply_w",
    "power_connectors", "length_mm", "pcie_generation", "pcie_lanes", "launched", "launch_usd", "has_ecc",
    "pci_ids",
)  # fmt: skip


def read(path: Path) -> tuple[Catalogue, tuple[Card, ...]]:
    """Read the file and create one ``Card`` per entry. Raises CatalogueError."""
    try:
        document = yaml_lines.read(path)
        raw = yaml_lines.convert(document, Catalogue)
        cards = tuple(_card(entry, raw, document, i) for i, entry in enumerate(raw.cards))
        _check_names(raw, document)
    except yaml_lines.YamlError as error:
        raise CatalogueError(str(error)) from None
    return raw, cards


def _card(entry: _CardEntry, raw: Catalogue, document: yaml_lines.YamlDocument, index: int) -> Card:
    family = architectures.find(entry.architecture)
    if family is None:
        raise document.error(
            ("cards", index, "architecture"), f"`{entry.architecture}` has no row in architectures.yml"
        )
    known: dict[str, Source] = {}
    for source, fields in entry.sources.items():
        where: yaml_lines.Where = ("cards", index, "sources", source)
        if source not in raw.sources:
            raise document.error(
                where, f"`{entry.name}` names the source `{source}`, which `sources` does not list"
            )
        for field in fields:
            if field not in _FIGURES:
                raise document.error(
                    where, f"`{entry.name}` gives a source for `{field}`, which is not a figure"
                )
            known[field] = raw.sources[source]
    given = [f for f in _FIGURES if getattr(entry, f) not in (None, (), False)]
    fp32 = 2 * entry.cores * entry.boost_mhz / 1e6

    def peak(own: float | None, multiple: float | None) -> float | None:
        if own is not None or multiple is None or not entry.tensor_cores:
            return own
        return multiple * fp32

    return Card(
        name=entry.name,
        chip=entry.chip,
        architecture=entry.architecture,
        compute_capability=entry.compute_capability,
        kind=entry.kind,
        cores=entry.cores,
        boost_mhz=entry.boost_mhz,
        memory_gib=entry.memory_gib,
        memory_type=entry.memory_type,
        memory_bus_bits=entry.memory_bus_bits,
        memory_gbps_per_pin=entry.memory_gbps_per_pin,
        memory_bandwidth_gb_s=entry.memory_bandwidth_gb_s,
        l2_bytes=entry.l2_kib * 1024 if entry.l2_kib else None,
        tf32_tflops=peak(entry.tf32_tflops, family.tensor_tf32),
        fp16_tflops=peak(entry.fp16_tflops, family.tensor_fp16),
        bf16_tflops=peak(entry.bf16_tflops, family.tensor_bf16),
        tdp_w=entry.tdp_w,
        power_supply_w=entry.power_supply_w,
        power_connectors=entry.power_connectors,
        length_mm=entry.length_mm,
        pcie_generation=entry.pcie_generation,
        pcie_lanes=entry.pcie_lanes,
        launched=entry.launched,
        launch_usd=entry.launch_usd,
        has_ecc=entry.has_ecc,
        min_driver_branch=family.first_branch_of_chip(entry.chip),
        last_driver_branch=family.last_branch,
        module_flavour=family.module_flavour,
        pci_ids=entry.pci_ids,
        aliases=entry.aliases,
        note=entry.note,
        unverified=tuple(f for f in given if f not in known or not known[f].verified),
        sources=tuple((f, known[f].text) for f in given if f in known),
    )


def _check_names(raw: Catalogue, document: yaml_lines.YamlDocument) -> None:
    taken: dict[str, str] = {}
    for index, entry in enumerate(raw.cards):
        for name in (entry.name, *entry.aliases):
            first = taken.setdefault(name.lower(), entry.name)
            if first is not entry.name:
                raise document.error(("cards", index), f"`{name}` already names `{first}`: use a unique name")
