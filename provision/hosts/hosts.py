"""What the inventory says of a host, as far as a plan looks at it."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from common import yaml_lines
from common.shown import place as placed
from common.shown import shortened
from provision.hosts.inventory_file import HostError, Inventory, Said
from provision.resolve.rows import Framework

__all__ = ["HostError", "HostFacts", "Inventory", "default_place", "host_names", "read_host", "select"]

LOCAL_PLACE = Path("inventory/hosts.yml")


class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The variables of a host that a plan looks at. Others of the inventory are ignored."""

    name: str
    card: str | None = None
    cards: tuple[str, ...] | None = None
    """Several cards in one box; an empty list is a box without one."""
    distribution: str | None = None
    """ "ubuntu-24.04"."""
    kernel: str = ""
    secure_boot: bool | None = None
    frameworks: tuple[Framework, ...] = ()
    cuda_toolkit: bool = False
    ansible_connection: str = "ssh"

    @property
    def is_this_machine(self) -> bool:
        return self.ansible_connection == "local"

    @property
    def card_names(self) -> tuple[str, ...] | None:
        """None: the inventory does not say."""
        if self.cards is not None:
            return self.cards
        return (self.card,) if self.card is not None else None


def default_place() -> Path:
    """The inventory of the working directory, or the one dlbox ships."""
    return LOCAL_PLACE if LOCAL_PLACE.exists() else Path(str(resources.files("inventory") / "hosts.yml"))


def host_names(place: Path | None = None) -> tuple[str, ...]:
    """Every host of the inventory, in its order. Raises HostError where it is unreadable or has none."""
    inventory = Inventory(place or default_place())
    if not inventory.hosts:
        raise HostError(f"{inventory.place} has no hosts: write them as in `all: {{hosts: {{box1: {{}}}}}}`")
    return inventory.hosts


def select(patterns: Iterable[str], place: Path | Inventory | None = None) -> tuple[str, ...]:
    """The hosts of "desk-01", "desk-*", a group or "all", each once. Raises HostError."""
    inventory = place if isinstance(place, Inventory) else Inventory(place or default_place())
    return tuple(dict.fromkeys(host for pattern in patterns for host in inventory.select(pattern)))


def read_host(name: str, place: Path | Inventory | None = None) -> HostFacts:
    """The host's facts. Raises HostError where it is unknown, unreadable, or a value is of the wrong kind.

    ``place``: an inventory that was read already where there are many hosts to ask for.
    """
    inventory = place if isinstance(place, Inventory) else Inventory(place or default_place())
    if name not in inventory:
        raise inventory.unknown(name)
    found: dict[str, Any] = {"name": name}
    for field, said in inventory.variables(name).items():
        if field in HostFacts.__struct_fields__ and field != "name":
            found[field] = _value(name, field, said)
    return msgspec.convert(found, HostFacts)


def _value(host: str, field: str, said: Said) -> Any:
    """One value, checked: the complaint names the file and line it stands on."""
    value = said.value
    # `card: 3060` and `frameworks: torch` can mean one thing only.
    if field == "card" and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if field == "cards" and isinstance(value, list):
        value = [str(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in value]
    if field == "frameworks" and isinstance(value, str):
        value = [value]
    document = yaml_lines.Document(placed(said.path), {"name": host, field: value}, {(field,): said.line})
    if _is_template(value):
        problem = (
            f"`{field}` of {shortened(host)} is a template, which a plan does not fill in: write the value"
        )
        raise HostError(str(document.error((field,), problem)))
    try:
        yaml_lines.convert(document, HostFacts)
    except yaml_lines.YamlError as error:
        raise HostError(str(error)) from None
    return value


def _is_template(value: Any) -> bool:
    return (
        "{{" in value if isinstance(value, str) else isinstance(value, list) and any(map(_is_template, value))
    )
