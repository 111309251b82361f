"""The variables of inventory hosts that a plan depends on."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from common.file_access import yaml_lines
from common.terminal.shown import place as shown_path
from common.terminal.shown import shortened
from provision.hosts.inventory_file import HostError, Inventory, InventoryValue
from provision.resolve.rows import Framework

__all__ = ["HostError", "HostFacts", "Inventory", "default_inventory", "host_names", "read_host", "select"]

LOCAL_INVENTORY = Path("inventory/hosts.yml")
"""Path of the default inventory, relative to the working directory."""


class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The variables of one host that a plan depends on; others are ignored."""

    name: str
    card: str | None = None
    cards: tuple[str, ...] | None = None
    """The cards of a box with several cards. An empty list means that the box has no card."""
    distribution: str | None = None
    """ "ubuntu-24.04"."""
    kernel: str = ""
    secure_boot: bool | None = None
    frameworks: tuple[Framework, ...] = ()
    cuda_toolkit: bool = False
    ansible_connection: str = "ssh"
    pypi_only: bool = False
    """Whether PyPI, or the mirror that replaces it, is the only package index that the host may use."""
    compute_cards: tuple[str, ...] | None = None
    """The cards to train on: names, indices or PCI addresses. An empty list means none, None all that can train."""

    @property
    def is_this_machine(self) -> bool:
        """Whether Ansible works on this machine, without SSH."""
        return self.ansible_connection == "local"

    @property
    def card_names(self) -> tuple[str, ...] | None:
        """All cards of the host; None if the inventory does not name any."""
        if self.cards is not None:
            return self.cards
        return (self.card,) if self.card is not None else None


def default_inventory() -> Path:
    """The inventory of the working directory, else the one shipped with dlbox."""
    shipped = Path(str(resources.files("inventory") / "hosts.yml"))
    return LOCAL_INVENTORY if LOCAL_INVENTORY.exists() else shipped


def host_names(path: Path | None = None) -> tuple[str, ...]:
    """All hosts of the inventory, in its order. Raises HostError if it cannot be read or has no hosts."""
    inventory = Inventory(path or default_inventory())
    if not inventory.hosts:
        raise HostError(
            f"{shown_path(inventory.path)} has no hosts: add them as in `all: {{hosts: {{box1: {{}}}}}}`"
        )
    return inventory.hosts


def select(patterns: Iterable[str], source: Path | Inventory | None = None) -> tuple[str, ...]:
    """The hosts that match "desk-01", "desk-*", a group or "all", without duplicates. Raises HostError.

    ``source``: the path of an inventory, or an inventory that was already read.
    """
    inventory = source if isinstance(source, Inventory) else Inventory(source or default_inventory())
    return tuple(dict.fromkeys(host for pattern in patterns for host in inventory.select(pattern)))


def read_host(name: str, source: Path | Inventory | None = None) -> HostFacts:
    """The host's facts. Raises HostError if the host is unknown, or a file or a value is not valid.

    ``source``: as in ``select``.
    """
    inventory = source if isinstance(source, Inventory) else Inventory(source or default_inventory())
    if name not in inventory:
        raise inventory.unknown(name)
    found: dict[str, Any] = {"name": name}
    for field, entry in inventory.variables(name).items():
        if field in HostFacts.__struct_fields__ and field != "name":
            found[field] = _value(name, field, entry)
    return msgspec.convert(found, HostFacts)


def _value(host: str, field: str, entry: InventoryValue) -> Any:
    """One checked value. Raises HostError, which names file and line."""
    value = entry.value
    # `card: 3060` and `frameworks: torch` are unambiguous, so accept them.
    if field == "card" and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if field == "compute_cards" and not isinstance(value, list | dict) and value is not None:
        value = [value]
    if field in ("cards", "compute_cards") and isinstance(value, list):
        value = [str(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in value]
    if field == "frameworks" and isinstance(value, str):
        value = [value]
    document = yaml_lines.YamlDocument(
        shown_path(entry.path), {"name": host, field: value}, {(field,): entry.line}
    )
    if _is_template(value):
        problem = f"`{field}` of {shortened(host)} is a template, which a plan does not render: write the value itself"
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
