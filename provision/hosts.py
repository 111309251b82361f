"""What the inventory says of a host: just enough of Ansible's YAML inventory to plan for a box that is elsewhere.

Read are the inventory file and the group_vars and host_vars beside it, with Ansible's precedence: all, parent
group, child group, host. Templates and vaulted values are not evaluated; the plan needs none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import yaml

from provision.stack_rows import Framework

LOCAL_PLACE = Path("inventory/hosts.yml")
_SUFFIXES = (".yml", ".yaml", "")


class HostError(LookupError):
    """The host is not there, or says too little; the message is one sentence."""


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


class _Loader(yaml.SafeLoader):
    """Ansible's own tags (!vault, !unsafe) stand for values that a plan does not need."""


def _ignored(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> None:
    return None


_Loader.add_multi_constructor("!", _ignored)


def default_place() -> Path:
    """The inventory of the working directory, or the one dlbox ships."""
    return LOCAL_PLACE if LOCAL_PLACE.exists() else Path(str(resources.files("inventory") / "hosts.yml"))


def read_host(name: str, place: Path | None = None) -> HostFacts:
    """The host's facts. Raises HostError where it is unknown, unreadable, or a value is of the wrong kind."""
    place = place or default_place()
    tree = _mapping(place, "an inventory")
    groups = _groups_of(name, tree, ())
    if groups is None:
        known = sorted(set(_host_names(tree)))
        names = f"it has {', '.join(known[:20])}" if known else "it has none"
        raise HostError(f'no host "{name}" in {place}: {names}')
    variables: dict[str, Any] = {}
    for group, node in groups:
        variables |= _inline(node.get("vars"))
        variables |= _beside(place.parent / "group_vars", group)
    variables |= _inline((groups[-1][1].get("hosts") or {}).get(name))
    variables |= _beside(place.parent / "host_vars", name)
    known_fields = {k: v for k, v in variables.items() if k in HostFacts.__struct_fields__ and k != "name"}
    try:
        return msgspec.convert({"name": name, **known_fields}, HostFacts)
    except msgspec.ValidationError as error:
        text, _, field = str(error).partition(" - at `$")
        plain = text.replace("`", "")
        raise HostError(
            f'host "{name}" of {place}: {field.strip("`.")}: {plain[0].lower()}{plain[1:]}'
        ) from None


def host_names(place: Path | None = None) -> tuple[str, ...]:
    """Every host of the inventory, in its order. Raises HostError where it is unreadable or has none."""
    place = place or default_place()
    names = tuple(dict.fromkeys(_host_names(_mapping(place, "an inventory"))))
    if not names:
        raise HostError(f"{place} has no hosts: write them as in `all: {{hosts: {{box1: {{}}}}}}`")
    return names


def _mapping(path: Path, what: str) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise HostError(f"cannot read {path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "not text in UTF-8 or a value out of range"
        raise HostError(f"{path}{where}: not valid YAML: {problem}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise HostError(f"{path} is expected to be {what}: a mapping, as in `all: {{hosts: {{box1: {{}}}}}}`")
    return document


def _inline(variables: object) -> dict[str, Any]:
    return dict(variables) if isinstance(variables, dict) else {}


def _beside(folder: Path, name: str) -> dict[str, Any]:
    """group_vars/NAME.yml, or every file of group_vars/NAME/. A vaulted file is left alone."""
    found: dict[str, Any] = {}
    for suffix in _SUFFIXES:
        path = folder / f"{name}{suffix}"
        files = sorted(path.iterdir()) if path.is_dir() else [path] if path.is_file() else []
        for file in files:
            if file.suffix in _SUFFIXES and not _is_vault(file):
                found |= _mapping(file, "variables")
    return found


def _is_vault(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(14) == b"$ANSIBLE_VAULT"
    except OSError:
        return False


def _groups_of(
    name: str, tree: dict[str, Any], above: tuple[tuple[str, dict[str, Any]], ...]
) -> tuple[tuple[str, dict[str, Any]], ...] | None:
    """The groups from the outermost to the one that lists the host; None where nobody does."""
    found = None
    for group, node in tree.items():
        if not isinstance(node, dict):
            continue
        here = (*above, (str(group), node))
        children = node.get("children")
        deeper = _groups_of(name, children, here) if isinstance(children, dict) else None
        if deeper is not None and (found is None or len(deeper) >= len(found)):
            found = deeper
        hosts = node.get("hosts")
        if found is None and isinstance(hosts, dict) and name in hosts:
            found = here
    return found


def _host_names(tree: dict[str, Any]) -> Iterator[str]:
    for node in tree.values():
        if isinstance(node, dict):
            hosts, children = node.get("hosts"), node.get("children")
            yield from (str(host) for host in hosts) if isinstance(hosts, dict) else ()
            yield from _host_names(children) if isinstance(children, dict) else ()
