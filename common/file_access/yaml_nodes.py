"""Parse YAML into a tree of nodes with line numbers and limits on size, depth, aliases, keys and numbers.

The text is read as a stream of events, so that a file can neither fill the memory nor overflow the stack: parsing
stops at the first event beyond a limit. PyYAML's own constructors convert each scalar. ``yaml_lines`` and
``yaml_values`` turn the tree into values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from common.terminal.shown import shortened

LARGEST_BYTES = 4 << 20
"""Limit of the file size. Files that people write by hand are about a thousand times smaller."""
MOST_NODES = 200_000
MOST_EXPANDED = 400_000
"""Limit of nodes after every alias (*name) and merge (<<) is replaced by its target."""
DEEPEST = 64
LONGEST_KEY = 1024
"""Maximum length of a key in characters: YAML's limit for keys that are not marked with "?"."""
LONGEST_NUMBER = 64
"""Maximum length of a number or date in characters. Real ones are shorter, and this length converts fast."""

_PREFIX = "tag:yaml.org,2002:"
_MERGE = f"{_PREFIX}merge"
_KNOWN = {
    f"{_PREFIX}{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "merge", "binary")
}
_NUMBERS = {f"{_PREFIX}{name}" for name in ("int", "float", "timestamp")}
_COLLECTIONS = {f"{_PREFIX}{name}" for name in ("map", "seq", "set", "omap", "pairs")}
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(ValueError):
    """The file is not valid; the message is one sentence for the person who edits it."""


@dataclass(eq=False, slots=True)
class Node:
    """One node: ``tag`` as YAML resolves it, ``line`` from 1, ``size`` in nodes after aliases are replaced."""

    tag: str
    line: int
    size: int = 1


@dataclass(eq=False, slots=True)
class Scalar(Node):
    text: str = ""


@dataclass(eq=False, slots=True)
class Sequence(Node):
    items: list[Node] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Mapping(Node):
    pairs: list[tuple[Node, Node]] = field(default_factory=list)

    def merges(self) -> Iterator[tuple[Node, Node]]:
        """The pairs whose key is ``<<``."""
        return ((key, value) for key, value in self.pairs if key.tag == _MERGE)


def is_merge(node: Node) -> bool:
    """Whether the node is the key ``<<``."""
    return node.tag == _MERGE


def compose(text: str, name: str, *, aliases: bool) -> Node | None:
    """Parse the only document in ``text``; None if there is no document. Raises YamlError with file and line.

    ``aliases``: whether *name is allowed.
    """
    found = _UNREADABLE.search(text, 1 if text.startswith("\ufeff") else 0)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise YamlError(
            f"{name}, line {line}: not valid YAML: it contains the character U+{ord(found[0]):04X}"
        )
    composer = _Composer(name, aliases)
    with _in_a_sentence(name):
        loader = _Loader(text)
        try:
            while loader.check_event():
                composer.take(loader.get_event(), loader)
        finally:
            loader.dispose()
    return composer.root


class _Composer:
    """Builds the tree from a stream of events."""

    def __init__(self, name: str, aliases: bool) -> None:
        self.name = name
        self.aliases = aliases
        self.root: Node | None = None
        self._count = self._documents = 0
        self._open: list[tuple[Node, Node | None]] = []
        """Unfinished collections; for a mapping also the key whose value comes next."""
        self._anchors: dict[str, Node] = {}

    def take(self, event: Any, loader: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse(line, "not valid YAML: it contains a second document (after ---)")
        elif isinstance(event, yaml.AliasEvent):
            self._add(self._target(event, line), line)
        elif isinstance(event, yaml.ScalarEvent):
            tag = event.tag
            if tag is None or tag == "!":
                tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
            node = Scalar(tag, line, text=event.value)
            self._check_scalar(node)
            self._anchor(event, node)
            self._add(node, line)
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            kind = Sequence if isinstance(event, yaml.SequenceStartEvent) else Mapping
            default = f"{_PREFIX}{'seq' if kind is Sequence else 'map'}"
            opened = kind(event.tag if event.tag not in (None, "!") else default, line)
            if opened.tag not in _COLLECTIONS:
                self._check_tag(opened)
            self._anchor(event, opened)
            if len(self._open) >= DEEPEST:
                self._refuse(line, f"is nested too deeply (more than {DEEPEST} levels)")
            self._open.append((opened, None))
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            done, _ = self._open.pop()
            self._add(done, done.line)

    def _add(self, node: Node, line: int) -> None:
        """Put a complete node into its parent."""
        self._count += 1
        if self._count > MOST_NODES:
            self._refuse(line, f"the file contains more than {MOST_NODES:,} values, the limit")
        if not self._open:
            self.root = node
            return
        parent, key = self._open[-1]
        parent.size += node.size
        if parent.size > MOST_EXPANDED:
            self._refuse(line, f"its aliases (*name) expand to more than {MOST_EXPANDED:,} values, the limit")
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif key is None:
            if isinstance(node, Scalar) and len(node.text) > LONGEST_KEY:
                self._refuse(line, f"a key has {len(node.text):,} characters, the limit is {LONGEST_KEY:,}")
            self._open[-1] = parent, node
        else:
            assert isinstance(parent, Mapping)  # noqa: S101
            parent.pairs.append((key, node))
            self._open[-1] = parent, None

    def _anchor(self, event: Any, node: Node) -> None:
        if event.anchor is not None:
            self._anchors[event.anchor] = node

    def _target(self, event: Any, line: int) -> Node:
        shown = shortened(event.anchor)
        if not self.aliases:
            self._refuse(line, f"aliases (*{shown}) are not supported: write the value itself")
        target = self._anchors.get(event.anchor)
        if target is None:
            self._refuse(line, f"not valid YAML: the alias *{shown} has no anchor above it")
        if any(target is opened for opened, _ in self._open):
            self._refuse(
                line, f"the alias *{shown} is inside the value that it names, which would be endless"
            )
        return target

    def _check_scalar(self, node: Scalar) -> None:
        if node.tag not in _KNOWN:
            self._check_tag(node)
        if node.tag in _NUMBERS and len(node.text) > LONGEST_NUMBER:
            self._refuse(
                node.line,
                f"`{shortened(node.text, 40)}` is a number or date of {len(node.text):,} characters, the limit is "
                f"{LONGEST_NUMBER}: put text in quotes",
            )

    def _check_tag(self, node: Node) -> None:
        """Custom tags (!vault) are left to the caller; other tags of YAML itself are refused."""
        if not node.tag.startswith("!"):
            shown = shortened(node.tag.replace(_PREFIX, "!!"))
            self._refuse(node.line, f"not valid YAML: the tag `{shown}` is not supported: remove it")

    def _refuse(self, line: int, problem: str) -> NoReturn:
        raise YamlError(f"{self.name}, line {line}: {problem}")


_CONSTRUCTOR = yaml.constructor.SafeConstructor()
_MAKERS = {
    tag: getattr(yaml.constructor.SafeConstructor, f"construct_yaml_{tag.removeprefix(_PREFIX)}")
    for tag in _KNOWN - {_MERGE}
}


def value(node: Scalar, name: str) -> Any:
    """The value of a scalar by the rules of YAML 1.1; its text if it has a custom tag. Raises YamlError."""
    maker = _MAKERS.get(node.tag)
    if maker is None:
        return node.text
    try:
        return maker(_CONSTRUCTOR, yaml.ScalarNode(node.tag, node.text))
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        # PyYAML's errors for a tag that does not fit the text, such as !!int ""
        raise YamlError(
            f"{name}, line {node.line}: `{shortened(node.text)}` looks like a number or date but is not valid: "
            "put text in quotes"
        ) from None


@contextmanager
def _in_a_sentence(name: str) -> Iterator[None]:
    """Convert every error of the YAML library to a YamlError."""
    try:
        yield
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise YamlError(f"{name}{line}: not valid YAML: {shortened(problem, 160)}") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError(f"{name} is not valid YAML: {shortened(error, 160)}") from None
