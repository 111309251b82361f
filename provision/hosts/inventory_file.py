"""Read an Ansible inventory in YAML: its hosts, their groups and variables, and where each variable is defined.

Reads the file and the group_vars and host_vars beside it, with Ansible's precedence (the tests compare the result with
`ansible-inventory`). Templates and vaulted values are not evaluated: a plan does not need them.
"""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from common.command_line.suggestions import did_you_mean
from common.file_access import inputs, yaml_nodes, yaml_values
from common.terminal.shown import place as shown_path
from common.terminal.shown import shortened
from provision.hosts.host_names import NameRefusedError, check_name, check_text, line_of, without_port

_SUFFIXES = ("", ".yml", ".yaml", ".json")
_RANGE = re.compile(r"\[([0-9]+|[A-Za-z])?:([0-9]+|[A-Za-z])(?::([1-9][0-9]*))?\]")
_MOST_HOSTS = 10_000
_MOST_MENTIONS = 100_000
"""Limit of the total length of all groups' host lists; a host counts once per group."""
_MOST_SHOWN = 20


class HostError(LookupError):
    """The host does not exist, or its inventory cannot be used; the message is one sentence."""


class InventoryValue(NamedTuple):
    """One variable: its value, and the file and line that define it."""

    value: Any
    path: Path
    line: int


Variables = dict[str, InventoryValue]


class _Group:
    """A group, merged from all places in the file that mention it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.variables: Variables = {}
        self.parents: set[str] = set()
        self.hosts: dict[str, None] = {}


class Inventory:
    """The hosts of one inventory file. Raises HostError if the file is not an inventory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._groups: dict[str, _Group] = {"all": _Group("all")}
        self._inline: dict[str, Variables] = {}
        self._seen: set[tuple[str, int]] = set()
        self._mentions = 0
        self._files: dict[tuple[str, str], Variables] = {}
        self._listed: dict[str, frozenset[str]] = {}
        document = _mapping(path, "an inventory")
        for name, node in document.items():
            self._add_group(self._named(name, "group", document), node, None)
        self._groups_by_host: dict[str, list[_Group]] = {}
        for group in self._groups.values():
            for host in group.hosts:
                self._groups_by_host.setdefault(host, []).append(group)
        self._depths = self._group_depths()

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of the hosts, in the order of the file."""
        return tuple(self._inline)

    def __contains__(self, host: object) -> bool:
        return host in self._inline

    def select(self, pattern: str) -> tuple[str, ...]:
        """The hosts that match "desk-01", "desk-*", a group or "all". Raises HostError if none matches."""
        if pattern in ("all", "*"):
            found = self.hosts
        elif pattern in self._inline:
            found = (pattern,)
        elif pattern in self._groups:
            within = {host for name in self._with_children(pattern) for host in self._groups[name].hosts}
            found = tuple(host for host in self.hosts if host in within)
        else:
            found = tuple(host for host in self.hosts if fnmatchcase(host, pattern))
        if not found:
            raise self.unknown(pattern)
        return found

    def unknown(self, name: str) -> HostError:
        """The error for a host that does not exist; its message lists existing hosts."""
        names = ", ".join(shortened(host) for host in sorted(self.hosts)[:_MOST_SHOWN])
        has = f"it has {names}" if names else "it has none"
        near = did_you_mean(name, map(shortened, (*self.hosts, *self._groups)))
        return HostError(f'no host "{shortened(name)}"{near} in {shown_path(self.path)}: {has}')

    def variables(self, host: str) -> Variables:
        """The variables of a host. Inner groups override outer groups; the host's own variables override groups."""
        groups = sorted(self._groups_of(host), key=self._rank)
        found: Variables = {}
        for group in groups:
            found |= group.variables
        for group in groups:
            found |= self._beside("group_vars", group.name)
        found |= self._inline[host]
        return found | self._beside("host_vars", host)

    def _beside(self, folder: str, name: str) -> Variables:
        """Variables from group_vars or host_vars. They are cached, because the hosts of a group share them."""
        key = folder, name
        if key not in self._files:
            if folder not in self._listed:
                self._listed[folder] = _names_in(self.path.parent / folder)
            there = any(f"{name}{suffix}" in self._listed[folder] for suffix in _SUFFIXES)
            self._files[key] = _beside(self.path.parent / folder, name) if there else {}
        return self._files[key]

    def _add_group(self, name: str, node: Any, parent: str | None) -> None:
        group = self._groups.setdefault(name, _Group(name))
        if parent is not None and parent != name:
            group.parents.add(parent)
        if node is None or (name, id(node)) in self._seen:
            return
        self._seen.add((name, id(node)))
        where = f'group "{shortened(name)}" of {shown_path(self.path)}'
        if not isinstance(node, dict):
            raise HostError(f"{where} is expected to be a mapping with hosts, children or vars")
        for key in ("hosts", "children", "vars"):
            if not isinstance(node.get(key) or {}, dict):
                example = {"hosts": "hosts: {desk-01: }", "children": "children: {room: }"}.get(
                    key, "vars: {a: 1}"
                )
                raise HostError(f"{where}: {key} is expected to be a mapping, as in `{example}`")
        group.variables |= _values(node.get("vars"), self.path)
        hosts = node.get("hosts") or {}
        for pattern, variables in hosts.items():
            self._add_hosts(group, self._named(pattern, "host", hosts), _values(variables, self.path), hosts)
        children = node.get("children") or {}
        for child, content in children.items():
            self._add_group(self._named(child, "group", children), content, name)

    def _named(self, key: object, what: str, mapping: dict[Any, Any]) -> str:
        """The key as text. Raises HostError with file and line if YAML read it as another type."""
        try:
            return check_text(key, what, mapping)
        except NameRefusedError as error:
            raise self._refused(key, mapping, error) from None

    def _checked(self, host: str, pattern: str, mapping: dict[Any, Any]) -> None:
        try:
            check_name(host)
        except NameRefusedError as error:
            raise self._refused(pattern, mapping, error) from None

    def _refused(self, key: object, mapping: dict[Any, Any], error: NameRefusedError) -> HostError:
        line = line_of(key, mapping)
        where = f", line {line}" if line is not None else ""
        return HostError(f"{shown_path(self.path)}{where}: {error}")

    def _add_hosts(self, group: _Group, text: str, variables: Variables, mapping: dict[Any, Any]) -> None:
        pattern = without_port(text)
        self._mentions += count(pattern)
        if self._mentions > _MOST_MENTIONS:
            raise HostError(f"the groups of {shown_path(self.path)} name more than {_MOST_MENTIONS:,} hosts")
        for host in expand(pattern):
            self._checked(host, text, mapping)
            group.hosts[host] = None
            self._inline[host] = self._inline.get(host, {}) | variables
        if len(self._inline) > _MOST_HOSTS:
            raise HostError(f"{shown_path(self.path)} names more than {_MOST_HOSTS} hosts")

    def _groups_of(self, host: str) -> set[_Group]:
        found = {self._groups["all"]}
        wanted = list(self._groups_by_host.get(host, ()))
        while wanted:
            group = wanted.pop()
            if group not in found or group.name == "all":
                found.add(group)
                wanted += [self._groups[name] for name in group.parents if self._groups[name] not in found]
        return found

    def _with_children(self, name: str) -> set[str]:
        children: dict[str, list[str]] = {}
        for group in self._groups.values():
            for parent in group.parents:
                children.setdefault(parent, []).append(group.name)
        found = {name}
        wanted = [name]
        while wanted:
            new = [child for child in children.get(wanted.pop(), ()) if child not in found]
            found.update(new)
            wanted += new
        return found

    def _rank(self, group: _Group) -> tuple[int, int, str]:
        """Sorting key for precedence: depth of the group, then its priority, then its name."""
        priority = group.variables.get("ansible_group_priority")
        number = priority.value if priority and isinstance(priority.value, int) else 1
        return self._depths[group.name], number, group.name

    def _group_depths(self) -> dict[str, int]:
        """Group -> length of its longest path from an outermost group. Raises HostError for a cycle."""
        waiting = {g.name: len(g.parents) for g in self._groups.values() if g.name != "all"}
        children: dict[str, list[str]] = {}
        for group in self._groups.values():
            for parent in group.parents if group.name != "all" else ():
                children.setdefault(parent, []).append(group.name)
        depths = {"all": 0} | {name: 1 for name, parents in waiting.items() if not parents}
        ready = list(depths)
        while ready:
            name = ready.pop()
            for child in children.get(name, ()):
                depths[child] = max(depths.get(child, 1), depths[name] + 1)
                waiting[child] -= 1
                if not waiting[child]:
                    ready.append(child)
        inside = self._in_cycle(name for name, parents in waiting.items() if parents)
        if inside is not None:
            raise HostError(f'group "{shortened(inside)}" of {shown_path(self.path)} is a child of itself')
        return depths

    def _in_cycle(self, left: Iterable[str]) -> str | None:
        """Find a group that is its own ancestor among ``left``, the groups without a depth; None if there is none."""
        names = dict.fromkeys(left)
        name, seen = next(iter(names), None), set[str]()
        while name is not None and name not in seen:
            seen.add(name)
            name = next(parent for parent in sorted(self._groups[name].parents) if parent in names)
        return name


def _ranges(pattern: str) -> list[str | list[str]]:
    """The parts of the pattern in order: text, or the members of a range. Raises HostError."""
    found: list[str | list[str]] = []
    end = 0
    for match in _RANGE.finditer(pattern):
        found += [pattern[end : match.start()], _members(pattern, match)]
        end = match.end()
    return [*found, pattern[end:]]


def _members(pattern: str, match: re.Match[str]) -> list[str]:
    low, high, step = match[1] or "0", match[2], match[3] or "1"
    members: list[str] = []
    if low.isdigit() and high.isdigit():
        first, last = int(low), int(high)
        numbers = range(first, last + 1, int(step))
        if last - first >= _MOST_HOSTS * int(step):
            raise HostError(
                f"{shortened(pattern)}: the range {shortened(match[0])} has more than {_MOST_HOSTS} hosts"
            )
        width = len(low) if low.startswith("0") and len(low) > 1 else 0
        members = [str(number).zfill(width) for number in numbers]
    elif low.isalpha():
        letters = string.ascii_letters
        members = list(letters[letters.find(low) : letters.find(high) + 1 : int(step)])
    if not members:
        raise HostError(f"{shortened(pattern)}: the range {shortened(match[0])} is empty")
    return members


def count(pattern: str) -> int:
    """The number of hosts that a pattern names, without building the list. Raises HostError if there are too many."""
    total = 1
    for part in _ranges(pattern):
        total *= 1 if isinstance(part, str) else len(part)
        if total > _MOST_HOSTS:
            raise HostError(f"{shortened(pattern)} names more than {_MOST_HOSTS} hosts")
    return total


def expand(pattern: str) -> list[str]:
    """Expand ranges as Ansible does: "desk-[01:03]" -> desk-01, desk-02, desk-03. Raises HostError."""
    count(pattern)
    parts = [[part] if isinstance(part, str) else part for part in _ranges(pattern)]
    return ["".join(parts) for parts in itertools.product(*parts)]


def _mapping(path: Path, what: str) -> dict[Any, Any]:
    name = shown_path(path)
    try:
        document = yaml_values.parse(inputs.read_text(path, yaml_nodes.LARGEST_BYTES, name), name)
    except inputs.InputError as error:
        raise HostError(f"cannot read {name}: {error.reason}" if error.reason else str(error)) from None
    except yaml_nodes.YamlError as error:
        raise HostError(str(error)) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise HostError(f"{name} is expected to be {what}: a mapping, as in `all: {{hosts: {{box1: {{}}}}}}`")
    return document


def _values(variables: object, path: Path) -> Variables:
    if not isinstance(variables, yaml_values.Lined):
        return {}
    return {
        str(name): InventoryValue(value, path, variables.lines[name]) for name, value in variables.items()
    }


def _names_in(folder: Path) -> frozenset[str]:
    try:
        return frozenset(path.name for path in folder.iterdir())
    except OSError:
        return frozenset()


def _beside(folder: Path, name: str) -> Variables:
    """Read variables from group_vars/NAME.yml, or from every file below group_vars/NAME/. Vaulted files are skipped."""
    for suffix in _SUFFIXES:
        path = folder / f"{name}{suffix}"
        try:
            files = _files(path) if path.is_dir() else _unless_vault(path) if path.exists() else None
        except (OSError, ValueError):  # a NUL character in the name
            files = None
        if files is not None:
            found: Variables = {}
            for file in files:
                found |= _values(_mapping(file, "variables"), file)
            return found
    return {}


def _files(folder: Path) -> list[Path]:
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.endswith("~"):
            continue
        if path.is_dir():
            found += _files(path)
        elif path.suffix in _SUFFIXES:
            found += _unless_vault(path)
    return found


def _unless_vault(path: Path) -> list[Path]:
    return [] if _is_vault(path) else [path]


def _is_vault(path: Path) -> bool:
    try:
        with inputs.open_regular(path) as stream:
            return stream.read(14) == b"$ANSIBLE_VAULT"
    except (OSError, inputs.InputError):  # reported when the file is read
        return False
