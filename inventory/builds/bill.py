"""Read a bill of materials: the parts of one computer, with the price of each and the date of the price."""

from __future__ import annotations

import datetime
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from common.file_access import yaml_lines
from inventory.cards import cards, families
from inventory.cards.cards import Card
from inventory.cards.catalogue_file import Connector

Dollars = Annotated[float, Meta(ge=0, le=1_000_000)]
Watts = Annotated[float, Meta(gt=0, le=10_000)]
Count = Annotated[int, Meta(ge=1, le=64)]
Millimetres = Annotated[float, Meta(gt=0, le=2_000)]
Lanes = Literal[1, 2, 4, 8, 16]
Generation = Annotated[int, Meta(ge=1, le=7)]
FormFactor = Literal["mini-itx", "micro-atx", "atx", "e-atx"]


class BillError(yaml_lines.YamlError):
    """The bill of materials is not valid. The message is one sentence: the file, the line and the expected value."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Fields of every part. Prices are in US dollars for one piece."""

    model: Annotated[str, Meta(min_length=1)]
    price_usd: Dollars
    quantity: Count = 1
    priced_on: datetime.date | None = None
    """Date of the price. None: the date of the whole bill of materials."""
    price_source: str = ""
    """Where the price was found. Empty: the price is an estimate."""
    used: bool = False
    note: str = ""

    @property
    def cost_usd(self) -> float:
        """Price of all pieces of the part."""
        return self.price_usd * self.quantity


class CardPart(_Part, frozen=True, kw_only=True, tag="card"):
    """The graphics card. A missing value is taken from the reference card in the catalogue."""

    power_w: Watts | None = None
    length_mm: Millimetres | None = None
    slots: Annotated[float, Meta(gt=0, le=5)] | None = None
    """Width in expansion slots."""
    connectors: tuple[Connector, ...] | None = None


class ProcessorPart(_Part, frozen=True, kw_only=True, tag="processor"):
    """The processor. ``peak_w``: the power of the package under full load. The default is 1.35 times the TDP."""

    tdp_w: Watts
    peak_w: Watts | None = None
    socket: str = ""
    pcie_generation: Generation | None = None
    """PCIe generation of the lanes that connect the processor to the slot of the card."""
    pcie_lanes: Lanes | None = None


class BoardPart(_Part, frozen=True, kw_only=True, tag="board"):
    """The main board."""

    slot_generation: Generation | None = None
    """PCIe generation of the slot for the card."""
    slot_lanes: Lanes | None = None
    socket: str = ""
    memory_type: str = ""
    form_factor: FormFactor | None = None


class MemoryPart(_Part, frozen=True, kw_only=True, tag="memory"):
    """Memory modules."""

    gib: Count | None = None
    memory_type: str = ""


class StoragePart(_Part, frozen=True, kw_only=True, tag="storage"):
    """A drive."""

    gb: Annotated[int, Meta(gt=0, le=1_000_000)] | None = None


class PowerSupplyPart(_Part, frozen=True, kw_only=True, tag="power-supply"):
    """The power supply."""

    watts: Watts
    atx_version: Annotated[float, Meta(ge=1, le=4)] | None = None
    """ATX version; 2 is assumed if it is missing. Version 3.0 and later must deliver twice the rated power for 0.1
    ms."""
    connectors: tuple[Connector, ...] | None = None
    """Power plugs for cards; a 6+2-pin plug counts as 8-pin."""


class CasePart(_Part, frozen=True, kw_only=True, tag="case"):
    """The case."""

    card_length_mm: Millimetres | None = None
    """Length of the longest card that fits."""
    card_slots: Annotated[float, Meta(gt=0, le=10)] | None = None
    form_factors: tuple[FormFactor, ...] = ()


class CoolerPart(_Part, frozen=True, kw_only=True, tag="cooler"):
    """A cooler."""


class OtherPart(_Part, frozen=True, kw_only=True, tag="other"):
    """Any other part."""


Part: TypeAlias = (
    CardPart
    | ProcessorPart
    | BoardPart
    | MemoryPart
    | StoragePart
    | PowerSupplyPart
    | CasePart
    | CoolerPart
    | OtherPart
)
P = TypeVar("P", bound=_Part)


class _BillFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    title: Annotated[str, Meta(min_length=1)]
    budget_usd: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None
    priced_on: datetime.date
    historic: bool = False
    note: str = ""
    parts: tuple[Part, ...]


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """A computer as bought or to be bought, with exactly one kind of card, processor, board and power supply."""

    name: str
    title: str
    budget_usd: float | None
    priced_on: datetime.date
    historic: bool
    """Whether the bill of materials describes an old computer, so that its prices are not those of today."""
    note: str
    parts: tuple[Part, ...]
    card_part: CardPart
    card: Card
    processor: ProcessorPart
    board: BoardPart
    supply: PowerSupplyPart
    case: CasePart | None

    @property
    def total_usd(self) -> float:
        """Total price of all parts."""
        return sum(part.cost_usd for part in self.parts)

    @property
    def oldest_price(self) -> datetime.date:
        """Date of the oldest price."""
        return min(part.priced_on or self.priced_on for part in self.parts)

    @property
    def estimates(self) -> int:
        """Number of parts whose price is an estimate."""
        return sum(not part.price_source for part in self.parts)


def read(path: Path) -> Bill:
    """Read one bill of materials. Raises BillError."""
    try:
        document = yaml_lines.read(path)
        return _bill(path.stem, yaml_lines.convert(document, _BillFile), document)
    except yaml_lines.YamlError as error:
        raise BillError(str(error)) from None


def _bill(name: str, raw: _BillFile, document: yaml_lines.YamlDocument) -> Bill:
    card_part = _one(CardPart, raw, document)
    try:
        card = cards.find(card_part.model)
        if card.laptop:
            raise cards.UnknownCard(f"`{card_part.model}` is a laptop GPU, which is not sold as a part")
    except cards.UnknownCard as error:
        maker = families.other_maker(card_part.model)
        why = (
            f"`{card_part.model}` is a card by {maker}; dlbox supports only cards by NVIDIA"
            if maker
            else str(error)
        )
        raise document.error(("parts", raw.parts.index(card_part), "model"), why) from None
    return Bill(
        name=name,
        title=raw.title,
        budget_usd=raw.budget_usd,
        priced_on=raw.priced_on,
        historic=raw.historic,
        note=raw.note,
        parts=raw.parts,
        card_part=card_part,
        card=card,
        processor=_one(ProcessorPart, raw, document),
        board=_one(BoardPart, raw, document),
        supply=_one(PowerSupplyPart, raw, document),
        case=_one(CasePart, raw, document) if any(isinstance(part, CasePart) for part in raw.parts) else None,
    )


def _one(type_: type[P], raw: _BillFile, document: yaml_lines.YamlDocument) -> P:
    found = [(index, part) for index, part in enumerate(raw.parts) if isinstance(part, type_)]
    if not found:
        raise document.error(("parts",), f"`parts` has no part of `kind: {type_.__struct_config__.tag}`")
    if len(found) > 1:
        index, part = found[1]
        raise document.error(
            ("parts", index), f"`{part.model}` is a second part of its kind: use `quantity`, or remove it"
        )
    return found[0][1]


def builds_folder() -> Path:
    """Folder of the bills of materials that come with dlbox."""
    return Path(str(resources.files("inventory") / "builds"))


def shipped() -> tuple[Bill, ...]:
    """The bills of materials that come with dlbox, sorted by name. Raises BillError."""
    return tuple(read(path) for path in sorted(builds_folder().glob("*.yml")))


def open_bill(name_or_path: str) -> Bill:
    """Read a bill of materials: one that comes with dlbox, by its name, or a file. Raises BillError."""
    names = sorted(path.stem for path in builds_folder().glob("*.yml"))
    if name_or_path in names:
        return read(builds_folder() / f"{name_or_path}.yml")
    path = Path(name_or_path)
    if path.suffix in (".yml", ".yaml") or len(path.parts) > 1 or _is_there(path):
        return read(path)
    raise BillError(f"there is no build `{name_or_path[:60]}`: name a file or one of {', '.join(names)}")


def _is_there(path: Path) -> bool:
    try:
        return bool(path.parts) and path.exists()
    except (OSError, ValueError):
        return False
