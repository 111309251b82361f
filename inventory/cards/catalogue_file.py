"""Read the catalogue of cards (catalogue/*.yml): the types of its entries, and the ``Card`` made of each."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from common.file_access import yaml_lines
from inventory.cards import architectures
from inventory.cards.architectures import ArchitectureRow, ModuleFlavour

Architecture = Literal["maxwell", "pascal", "volta", "turing", "ampere", "ada", "hopper", "blackwell"]
Kind = Literal["consumer", "workstation", "datacentre", "mining"]
Precision = Literal["fp32", "tf32", "fp16", "bf16"]
Connector = Literal["6-pin", "8-pin", "16-pin"]

Count = Annotated[int, Meta(gt=0)]
Rate = Annotated[float, Meta(gt=0)]
PciId = Annotated[str, Meta(pattern="^10de:[0-9a-f]{4}$")]


class CatalogueError(yaml_lines.YamlError):
    """A file of the catalogue is not valid; the message names the line, the entry and the expected value."""


class Source(msgspec.Struct, frozen=True):
    """Source of a figure. ``verified``: a person read the figure in the source and did not take it from memory."""

    text: str
    verified: bool


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One model of graphics card. The figures are those of the reference design; cards by other makers have other boost
    clocks. A figure that is not known is None: of many cards only name, chip and architecture are known."""

    name: str
    """NVML's name without the vendor; variants include their memory: "GeForce RTX 3060 12GB"."""
    chip: str
    architecture: Architecture
    compute_capability: str
    """"8.6"."""
    kind: Kind = "consumer"
    laptop: bool = False
    """Whether this is a laptop GPU. Its maker decides clocks and power, so the catalogue has no figures for it."""
    cores: int | None = None
    boost_mhz: int | None = None
    memory_gib: int | None = None
    """Nominal size of the card as sold; NVML reports up to 1 % less."""
    modified_memory_gib: int | None = None
    """Size of the memory if it is more than that of any card that was sold under the name, because somebody replaced
    the memory chips: 22 for an RTX 2080 Ti. All other figures are those of the card as sold."""
    memory_type: str = ""
    memory_bus_bits: int | None = None
    memory_gbps_per_pin: float | None = None
    """Data rate of each memory pin in Gbit/s: twice the highest memory clock in GHz that NVML reports."""
    memory_bandwidth_gb_s: float | None = None
    """Published memory bandwidth in 10^9 bytes per second."""
    l2_bytes: int | None = None
    tf32_tflops: float | None = None
    """Peak with FP32 accumulation and without sparsity, in TFLOPS. None: not known, or no units for the precision."""
    fp16_tflops: float | None = None
    bf16_tflops: float | None = None
    has_tensor_cores: bool = False
    """Whether the card has units for matrix products in FP16."""
    tdp_w: int | None = None
    power_supply_w: int | None = None
    """Rated power of the power supply that the maker of the card recommends, in watts."""
    power_connectors: tuple[Connector, ...] | None = None
    """Power plugs of the card. Empty: the slot alone powers the card. None: unknown."""
    length_mm: int | None = None
    pcie_generation: int | None = None
    pcie_lanes: int | None = None
    launched: datetime.date | None = None
    launch_usd: float | None = None
    has_ecc: bool | None = False
    """Whether the memory can correct errors. None: not known."""
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
    def fp32_tflops(self) -> float | None:
        """FP32 peak, computed as one fused multiply-add (two operations) per core and cycle at boost clock."""
        return 2 * self.cores * self.boost_mhz / 1e6 if self.cores and self.boost_mhz else None

    @property
    def memory_modified(self) -> bool:
        """Whether somebody replaced the memory chips by larger ones."""
        return self.modified_memory_gib is not None

    @property
    def memory_bytes(self) -> int | None:
        """Nominal size of the memory in bytes."""
        return self.memory_gib * 2**30 if self.memory_gib else None

    def peak_tflops(self, precision: Precision) -> float | None:
        """Peak in 10^12 operations per second; None if it is unknown or the card has no units for the precision."""
        return {
            "fp32": self.fp32_tflops,
            "tf32": self.tf32_tflops,
            "fp16": self.fp16_tflops,
            "bf16": self.bf16_tflops,
        }[precision]


class _CardEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of ``cards`` in a file of the catalogue."""

    name: Annotated[str, Meta(min_length=1)]
    aliases: tuple[str, ...] = ()
    chip: str
    kind: Kind = "consumer"
    cores: Count | None = None
    boost_mhz: Count | None = None
    memory_gib: Count
    memory_type: str = ""
    memory_bus_bits: Count | None = None
    memory_gbps_per_pin: Rate | None = None
    memory_bandwidth_gb_s: Rate | None = None
    l2_kib: Count | None = None
    tf32_tflops: Rate | None = None
    fp16_tflops: Rate | None = None
    bf16_tflops: Rate | None = None
    tdp_w: Count | None = None
    power_supply_w: Count | None = None
    power_connectors: tuple[Connector, ...] | None = None
    length_mm: Count | None = None
    pcie_generation: Annotated[int, Meta(ge=1, le=7)] | None = None
    pcie_lanes: Literal[1, 2, 4, 8, 16] | None = None
    launched: datetime.date | None = None
    launch_usd: Rate | None = None
    has_ecc: bool = False
    pci_ids: tuple[PciId, ...] = ()
    source: str | None = None
    sources: dict[str, tuple[str, ...]] = {}
    note: str = ""


class _CardsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the catalogue: the cards of one family."""

    cards: tuple[_CardEntry, ...]


class _SourcesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """sources.yml of the catalogue."""

    sources: dict[str, Source]


_FIGURES = (
    "cores", "boost_mhz", "memory_gib", "memory_type", "memory_bus_bits", "memory_gbps_per_pin",
    "memory_bandwidth_gb_s", "l2_kib", "tf32_tflops", "fp16_tflops", "bf16_tflops", "tdp_w", "power_supply_w",
    "power_connectors", "length_mm", "pcie_generation", "pcie_lanes", "launched", "launch_usd", "has_ecc",
)  # fmt: skip


_KINDS = get_args(Kind)


def read(folder: Path) -> tuple[Card, ...]:
    """Read all files of the folder and create one ``Card`` per entry. The order is by architecture, then by kind, then
    that of the files. Raises CatalogueError."""
    try:
        return _read(folder)
    except yaml_lines.YamlError as error:
        raise CatalogueError(str(error)) from None


def _read(folder: Path) -> tuple[Card, ...]:
    sources = yaml_lines.convert(yaml_lines.read(folder / "sources.yml"), _SourcesFile).sources
    cards: list[Card] = []
    taken: dict[str, str] = {}
    for path in sorted(folder.glob("*.yml")):
        if path.name == "sources.yml":
            continue
        document = yaml_lines.read(path)
        for index, entry in enumerate(yaml_lines.convert(document, _CardsFile).cards):
            for name in (entry.name, *entry.aliases):
                first = taken.setdefault(name.lower(), entry.name)
                if first is not entry.name:
                    raise document.error(
                        ("cards", index), f"`{name}` already names `{first}`: use a unique name"
                    )
            cards.append(_card(entry, sources, document, index))
    order = [row.name for row in architectures.shipped()]
    return tuple(sorted(cards, key=lambda c: (order.index(c.architecture), _KINDS.index(c.kind))))


def of_chip(name: str, chip: str, kind: Kind, *, laptop: bool, memory_gib: int | None) -> Card:
    """A card of which only name, chip and perhaps memory are known. KeyError if the chip has no architecture here."""
    found = architectures.of_chip(chip)
    if found is None or found[0].name not in get_args(Architecture):
        raise KeyError(chip)
    row, capability = found
    return Card(
        name=name,
        kind=kind,
        laptop=laptop,
        memory_gib=memory_gib,
        has_ecc=_ecc(kind, listed=False),
        **_facts_of_chip(chip, row, capability),
    )


def _ecc(kind: Kind, *, listed: bool) -> bool | None:
    """Consumer cards have no ECC unless the catalogue says so; of other cards it is unknown."""
    return listed or (False if kind in ("consumer", "mining") else None)


def _facts_of_chip(chip: str, row: ArchitectureRow, capability: str) -> dict[str, Any]:
    return {
        "chip": chip,
        "architecture": row.name,
        "compute_capability": capability,
        "has_tensor_cores": row.has_tensor_cores(chip),
        "min_driver_branch": row.first_branch_of_chip(chip),
        "last_driver_branch": row.last_branch,
        "module_flavour": row.module_flavour,
    }


def _card(
    entry: _CardEntry, sources: dict[str, Source], document: yaml_lines.YamlDocument, index: int
) -> Card:
    of = architectures.of_chip(entry.chip)
    if of is None:
        raise document.error(
            ("cards", index, "chip"), f"`{entry.chip}` is not in `chips` of architectures.yml"
        )
    row, capability = of
    known = _known(entry, sources, document, index)
    given = [f for f in _FIGURES if getattr(entry, f) not in (None, (), False, "")]
    # NVIDIA halves the rate of the tensor cores of consumer cards; the multiples are theirs.
    derived = (
        entry.kind == "consumer" and row.has_tensor_cores(entry.chip) and entry.cores and entry.boost_mhz
    )
    fp32 = 2 * (entry.cores or 0) * (entry.boost_mhz or 0) / 1e6

    def peak(own: float | None, multiple: float | None) -> float | None:
        return own if own is not None or multiple is None or not derived else multiple * fp32

    same = {
        f: getattr(entry, f)
        for f in ("name", "kind", "memory_gib", "aliases", "note", "pci_ids", *_FIGURES)
        if f not in ("l2_kib", "has_ecc")
    }
    peaks = {
        "tf32_tflops": peak(entry.tf32_tflops, row.tensor_tf32),
        "fp16_tflops": peak(entry.fp16_tflops, row.tensor_fp16),
        "bf16_tflops": peak(entry.bf16_tflops, row.tensor_bf16),
    }
    return Card(
        **{**same, **peaks, **_facts_of_chip(entry.chip, row, capability)},
        has_ecc=_ecc(entry.kind, listed=entry.has_ecc),
        l2_bytes=entry.l2_kib * 1024 if entry.l2_kib else None,
        unverified=tuple(f for f in given if f not in known or not known[f].verified),
        sources=tuple((f, known[f].text) for f in given if f in known),
    )


def _known(
    entry: _CardEntry, sources: dict[str, Source], document: yaml_lines.YamlDocument, index: int
) -> dict[str, Source]:
    """The source of each figure of the entry that has one."""
    known: dict[str, Source] = {}

    def listed(name: str, where: yaml_lines.Where) -> Source:
        if name not in sources:
            raise document.error(
                where, f"`{entry.name}` names the source `{name}`, which sources.yml does not list"
            )
        return sources[name]

    if entry.source is not None:
        known = dict.fromkeys(_FIGURES, listed(entry.source, ("cards", index, "source")))
    for source, fields in entry.sources.items():
        where: yaml_lines.Where = ("cards", index, "sources", source)
        found = listed(source, where)
        for field in fields:
            if field not in _FIGURES:
                raise document.error(
                    where, f"`{entry.name}` gives a source for `{field}`, which is not a field with a number"
                )
            known[field] = found
    return known
