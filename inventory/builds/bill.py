"""A bill of materials as a file: the parts of one box, what each cost and when."""

from __future__ import annotations

import datetime
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from common import yaml_lines
from inventory.cards import cards, families
from inventory.cards.cards import Card

Dollars = Annotated[float, Meta(ge=0, le=1_000_000)]
Watts = Annotated[float, Meta(gt=0, le=10_000)]
Count = Annotated[int, Meta(ge=1, le=64)]
Millimetres = Annotated[float, Meta(gt=0, le=2_000)]
Lanes = Literal[1, 2, 4, 8, 16]
Generation = Annotated[int, Meta(ge=1, le=7)]
Connector = Literal["6-pin", "8-pin", "16-pin"]
FormFactor = Literal["mini-itx", "micro-atx", "atx", "e-atx"]


class BillError(yaml_lines.YamlError):
    """The bill cannot be used; the message is one sentence with file, line and what is expected."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every part has. Prices in US dollars, for one piece."""

    model: Annotated[str, Meta(min_length=1)]
    price_usd: Dollars
    quantity: Count = 1
    priced_on: datetime.date | None = None
    """None: the bill's own date."""
    price_source: str = ""
    """Where the price was seen; empty: an estimate."""
    used: bool = False
    note: str = ""

    @property
    def cost_usd(self) -> float:
        return self.price_usd * self.quantity


class CardPart(_Part, frozen=True, kw_only=True, tag="card"):
    """The graphics card. What is left out comes from the catalogue's reference card."""

    power_w: Watts | None = None
    length_mm: Millimetres | None = None
    slots: Annotated[float, Meta(gt=0, le=5)] | None = None
    """Width in expansion slots."""
    connectors: tuple[Connector, ...] | None = None


class Processor(_Part, frozen=True, kw_only=True, tag="processor"):
    """``peak_w`` is what the package may draw under full load; left out, 1.35 times the TDP."""

    tdp_w: Watts
    peak_w: Watts | None = None
    socket: str = ""
    pcie_generation: Generation | None = None
    """Of the lanes that go to the card's slot."""
    pcie_lanes: Lanes | None = None


class Board(_Part, frozen=True, kw_only=True, tag="board"):
    slot_generation: Generation | None = None
    """Of the slot the card goes into."""
    slot_lanes: Lanes | None = None
    socket: str = ""
    memory_type: str = ""
    form_factor: FormFactor | None = None


class Memory(_Part, frozen=True, kw_only=True, tag="memory"):
    gib: Count | None = None
    memory_type: str = ""


class Storage(_Part, frozen=True, kw_only=True, tag="storage"):
    gb: Annotated[int, Meta(gt=0, le=1_000_000)] | None = None


class PowerSupply(_Part, frozen=True, kw_only=True, tag="power-supply"):
    watts: Watts
    atx_version: Annotated[float, Meta(ge=1, le=4)] | None = None
    """3.0 and later must ride out twice their rating for 0.1 ms; left out, an older one is assumed."""
    connectors: tuple[Connector, ...] | None = None
    """Plugs for cards; a 6+2 pin plug is an 8-pin."""


class Case(_Part, frozen=True, kw_only=True, tag="case"):
    card_length_mm: Millimetres | None = None
    """Longest card that fits."""
    card_slots: Annotated[float, Meta(gt=0, le=10)] | None = None
    form_factors: tuple[FormFactor, ...] = ()


class Cooler(_Part, frozen=True, kw_only=True, tag="cooler"):
    pass


class Other(_Part, frozen=True, kw_only=True, tag="other"):
    pass


Part: TypeAlias = CardPart | Processor | Board | Memory | Storage | PowerSupply | Case | Cooler | Other
P = TypeVar("P", bound=_Part)


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    title: Annotated[str, Meta(min_length=1)]
    budget_usd: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None
    priced_on: datetime.date
    historic: bool = False
    note: str = ""
    parts: tuple[Part, ...]


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """One box as bought or to be bought: exactly one kind of card, processor, board and supply."""

    name: str
    title: str
    budget_usd: float | None
    priced_on: datetime.date
    historic: bool
    """A box of its day: its prices are not meant to be today's."""
    note: str
    parts: tuple[Part, ...]
    card_part: CardPart
    card: Card
    processor: Processor
    board: Board
    supply: PowerSupply
    case: Case | None

    @property
    def total_usd(self) -> float:
        return sum(part.cost_usd for part in self.parts)

    @property
    def oldest_price(self) -> datetime.date:
        return min(part.priced_on or self.priced_on for part in self.parts)

    @property
    def estimates(self) -> int:
        """How many prices were seen nowhere."""
        return sum(not part.price_source for part in self.parts)


def read(path: Path) -> Bill:
    """One bill; raises ``BillError``."""
    try:
        document = yaml_lines.read(path)
        return _bill(path.stem, yaml_lines.convert(document, _File), document)
    except yaml_lines.YamlError as error:
        raise BillError(str(error)) from None


def _bill(name: str, raw: _File, document: yaml_lines.YamlDocument) -> Bill:
    card_part = _one(CardPart, raw, document)
    try:
        card = cards.find(card_part.model)
    except cards.UnknownCard as error:
        maker = families.other_maker(card_part.model)
        why = f"`{card_part.model}` is {maker}'s, and dlbox is for NVIDIA's cards" if maker else str(error)
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
        processor=_one(Processor, raw, document),
        board=_one(Board, raw, document),
        supply=_one(PowerSupply, raw, document),
        case=_one(Case, raw, document) if any(isinstance(part, Case) for part in raw.parts) else None,
    )


def _one(type_: type[P], raw: _File, document: yaml_lines.YamlDocument) -> P:
    found = [(index, part) for index, part in enumerate(raw.parts) if isinstance(part, type_)]
    if not found:
        raise document.error(("parts",), f"`parts` lacks one of `kind: {type_.__struct_config__.tag}`")
    if len(found) > 1:
        index, part = found[1]
        raise document.error(
            ("parts", index), f"`{part.model}` is a second part of its kind; use `quantity` or leave it out"
        )
    return found[0][1]


def builds_folder() -> Path:
    """Where the bills that come with dlbox lie."""
    return Path(str(resources.files("inventory") / "builds"))


def shipped() -> tuple[Bill, ...]:
    """The bills that come with dlbox, by name."""
    return tuple(read(path) for path in sorted(builds_folder().glob("*.yml")))


def open_bill(name_or_path: str) -> Bill:
    """A bill that comes with dlbox by its name, or a file; raises ``BillError``."""
    names = sorted(path.stem for path in builds_folder().glob("*.yml"))
    if name_or_path in names:
        return read(builds_folder() / f"{name_or_path}.yml")
    path = Path(name_or_path)
    if path.suffix in (".yml", ".yaml") or len(path.parts) > 1 or _is_there(path):
        return read(path)
    raise BillError(f"there is no build `{name_or_path[:60]}`: give a file, or one of {', '.join(names)}")


def _is_there(path: Path) -> bool:
    try:
        return bool(path.parts) and path.exists()
    except (OSError, ValueError):
        return False
