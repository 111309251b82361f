"""Read an Ansible inventory in YAML: its hosts, their groups and variables, and where each variable is defined.

Reads the file and the group_vars and host_vars beside it, with Ansible's precedence (the tests compare the result with
`ansible-inventory`). Templates and vaulted values are not evaluated: a plan does not need them.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from provision.hosts.host_names import NameRefusedError, check_name, check_text, line_of, without_port

_SUFFIXES = ("", ".yml", ".yaml", ".json")
_LARGEST_BYTES = 4 << 20
_RANGE = re.compile(r"\[([0-9]+|[A-Za-z])?:([0-9]+|[A-Za-z])(?::([1-9][0-9]*))?\]")
_MOST_HOSTS = 10_000


class HostError(LookupError):
    """The host does not exist, or its inventory cannot be used; the message is one sentence."""


class InventoryValue(NamedTuple):
    """One variable: its value, and the file and line that define it."""

    value: Any
    path: Path
    line: int


Variables = dict[str, InventoryValue]


class _Lined(dict[Any, Any]):
    """A mapping that knows the line of each key."""

    lines: dict[Any, int]


class _Loader(yaml.SafeLoader):
    """Reads Ansible's own tags (!vault, !unsafe) as None: a plan does not need these values."""


def _ignored(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> None:
    return None


def _lined(loader: yaml.SafeLoader, node: yaml.MappingNode) -> Iterator[_Lined]:
    data = _Lined()
    data.lines = {}
    yield data
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
            if key.value in data.lines:
                first = data.lines[key.value]
                problem = f'"{key.value}" is given twice, first on line {first}'
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            data.lines[key.value] = key.start_mark.line + 1
    data.update(loader.construct_mapping(node))


_Loader.add_multi_constructor("!", _ignored)
_Loader.add_constructor("tag:yaml.org,2002:map", _lined)


class _Group:
    """A group, merged from all places in the file that mention it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.variables: Variables = {}
        self.parents: set[str] = set()
        self.hosts: dict[str, None] = {}


class Inventory:
    """The hosts of one inventory file. Raises HostError where the file is not an inventory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._groups: dict[str, _Group] = {"all": _Group("all")}
        self._inline: dict[str, Variables] = {}
        self._seen: set[tuple[str, int]] = set()
        document = _mapping(path, "an inventory")
        for name, node in document.items():
            self._add_group(self._named(name, "group", document), node, None)

    @property
    def hosts(self) -> tuple[str, ...]:
        """In the order of the file."""
        return tuple(self._inline)

    def select(self, pattern: str) -> tuple[str, ...]:
        """The hosts of "desk-01", "desk-*", a group or "all". Raises HostError where there is none."""
        if pattern in ("all", "*"):
            found = self.hosts
        elif pattern in self._groups and pattern not in self._inline:
            within = self._with_children(pattern)
            found = tuple(h for h in self.hosts if any(h in self._groups[name].hosts for name in within))
        else:
            found = tuple(host for host in self.hosts if host == pattern or fnmatchcase(host, pattern))
        if not found:
            raise self.unknown(pattern)
        return found

    def unknown(self, name: str) -> HostError:
        """The error for a host that does not exist; it lists existing ones."""
        names = ", ".join(sorted(self.hosts)[:20])
        has = f"it has {names}" if names else "it has none"
        return HostError(f'no host "{name}" in {self.path}: {has}')

    def variables(self, host: str) -> Variables:
        """The variables of a host, by increasing precedence: groups from the outermost in, then the host's own."""
        groups = sorted(self._groups_of(host), key=self._rank)
        files = self.path.parent / "group_vars"
        found: Variables = {}
        for group in groups:
            found |= group.variables
        for group in groups:
            found |= _beside(files, group.name)
        found |= self._inline[host]
        return found | _beside(self.path.parent / "host_vars", host)

    def _add_group(self, name: str, node: Any, parent: str | None) -> None:
        group = self._groups.setdefault(name, _Group(name))
        if parent is not None and parent != name:
            group.parents.add(parent)
        if node is None or (name, id(node)) in self._seen:
            return
        self._seen.add((name, id(node)))
        where = f'group "{name}" of {self.path}'
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
            text = self._named(pattern, "host", hosts)
            for host in expand(without_port(text)):
                self._checked(host, text, hosts)
                group.hosts[host] = None
                self._inline[host] = self._inline.get(host, {}) | _values(variables, self.path)
                if len(self._inline) > _MOST_HOSTS:
                    raise HostError(f"{self.path} names more than {_MOST_HOSTS} hosts")
        children = node.get("children") or {}
        for child, content in children.items():
            self._add_group(self._named(child, "group", children), content, name)

    def _named(self, key: object, what: str, mapping: dict[Any, Any]) -> str:
        """The key as text. Raises HostError with file and line where YAML read it as another type."""
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
        return HostError(f"{self.path}{where}: {error}")

    def _groups_of(self, host: str) -> set[_Group]:
        found = {self._groups["all"]}
        wanted = [group for group in self._groups.values() if host in group.hosts]
        while wanted:
            group = wanted.pop()
            if group not in found or group.name == "all":
                found.add(group)
                wanted += [self._groups[name] for name in group.parents if self._groups[name] not in found]
        return found

    def _with_children(self, name: str) -> set[str]:
        found: set[str] = set()
        wanted = {name}
        while wanted:
            found |= wanted
            wanted = {g.name for g in self._groups.values() if g.parents & wanted} - found
        return found

    def _rank(self, group: _Group) -> tuple[int, int, str]:
        """Sorting key for precedence: depth of the group, then its priority, then its name."""
        priority = group.variables.get("ansible_group_priority")
        number = priority.value if priority and isinstance(priority.value, int) else 1
        return self._depth(group, frozenset()), number, group.name

    def _depth(self, group: _Group, above: frozenset[str]) -> int:
        if group.name == "all":
            return 0
        if group.name in above:
            raise HostError(f'group "{group.name}" of {self.path} is a child of itself')
        inside = above | {group.name}
        return 1 + max((self._depth(self._groups[name], inside) for name in group.parents), default=0)


def expand(pattern: str) -> list[str]:
    """ "desk-[01:03]" -> desk-01, desk-02, desk-03: the ranges of Ansible, with leading zeros. Raises HostError."""
    match = _RANGE.search(pattern)
    if match is None:
        return [pattern]
    low, high, step = match[1] or "0", match[2], int(match[3] or 1)
    if low.isdigit() and high.isdigit():
        width = len(low) if low.startswith("0") and len(low) > 1 else 0
        members = [
            str(n).zfill(width) for n in range(int(low), min(int(high), int(low) + _MOST_HOSTS) + 1, step)
        ]
    else:
        letters = string.ascii_letters
        members = list(letters[letters.find(low) : letters.find(high) + 1 : step]) if low.isalpha() else []
    if not members:
        raise HostError(f"{pattern}: the range {match[0]} is empty")
    head, tail = pattern[: match.start()], pattern[match.end() :]
    return [f"{head}{member}{rest}" for rest in expand(tail) for member in members]


def _mapping(path: Path, what: str) -> dict[Any, Any]:
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise HostError(
            f"cannot read {str(path)[:200]}: {getattr(error, 'strerror', None) or error}"
        ) from None
    if len(content) > _LARGEST_BYTES:
        raise HostError(f"{path} is not an inventory: it is larger than {_LARGEST_BYTES >> 20} MiB")
    try:
        document = yaml.load(content.decode("utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "not UTF-8 text, or a value out of range"
        raise HostError(f"{path}{where}: not valid YAML: {' '.join(str(problem).split())}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise HostError(f"{path} is expected to be {what}: a mapping, as in `all: {{hosts: {{box1: {{}}}}}}`")
    return document


def _values(variables: object, path: Path) -> Variables:
    if not isinstance(variables, dict):
        return {}
    lines = getattr(variables, "lines", {})
    return {str(name): InventoryValue(value, path, lines.get(name, 1)) for name, value in variables.items()}


def _beside(folder: Path, name: str) -> Variables:
    """Variables of group_vars/NAME.yml, or of every file below group_vars/NAME/. Vaulted files are skipped."""
    for suffix in _SUFFIXES:
        path = folder / f"{name}{suffix}"
        try:
            single = [] if _is_vault(path) else [path]
            files = _files(path) if path.is_dir() else single if path.is_file() else None
        except OSError:
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
        elif path.suffix in _SUFFIXES and not _is_vault(path):
            found.append(path)
    return found


def _is_vault(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(14) == b"$ANSIBLE_VAULT"
    except OSError:
        return False
