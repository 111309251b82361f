"""YAML as a tree whose size, depth, aliases, keys and numbers are bounded before any value is made of it.

The text is read as a stream of events, so that a file can neither fill the memory nor exhaust the stack: the first
event beyond a limit ends it. Values are made by PyYAML's own constructors, scalar by scalar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from common.shown import shortened

LARGEST_BYTES = 4 << 20
"""What people write by hand is thousands of times smaller."""
MOST_NODES = 200_000
MOST_EXPANDED = 400_000
"""Nodes that there would be with every alias (*name) and merge (<<) written out."""
DEEPEST = 64
LONGEST_KEY = 1024
"""Characters; YAML's own limit for a key without a question mark."""
LONGEST_NUMBER = 64
"""Characters of what reads as a number or date: more than any has, few enough for every way to write one."""

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
    """The file cannot be used; the message is one sentence for the person who edits it."""


@dataclass(eq=False, slots=True)
class Node:
    """One value: ``tag`` as YAML resolves it, ``line`` from 1, ``size`` in nodes with aliases written out."""

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
        return ((key, value) for key, value in self.pairs if key.tag == _MERGE)


def is_merge(node: Node) -> bool:
    return node.tag == _MERGE


def compose(text: str, name: str, *, aliases: bool) -> Node | None:
    """The tree of the one document in ``text``; None where there is none. Raises YamlError with file and line.

    ``aliases``: whether *name may be used; where not, one is refused.
    """
    found = _UNREADABLE.search(text, 1 if text.startswith("\ufeff") else 0)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise YamlError(f"{name}, line {line}: not valid YAML: it holds the character U+{ord(found[0]):04X}")
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
    """Events, one after the other, to a tree."""

    def __init__(self, name: str, aliases: bool) -> None:
        self.name = name
        self.aliases = aliases
        self.root: Node | None = None
        self._count = self._documents = 0
        self._open: list[tuple[Node, Node | None]] = []
        """Collections that have begun; of a mapping, the key that waits for its value too."""
        self._anchors: dict[str, Node] = {}

    def take(self, event: Any, loader: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse(line, "not valid YAML: it holds a second document (after ---)")
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
                self._refuse(line, f"is nested too deeply to be read (more than {DEEPEST} levels)")
            self._open.append((opened, None))
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            done, _ = self._open.pop()
            self._add(done, done.line)

    def _add(self, node: Node, line: int) -> None:
        """Put a node that is complete where it belongs."""
        self._count += 1
        if self._count > MOST_NODES:
            self._refuse(line, f"the file holds more than {MOST_NODES:,} values, and no such file does")
        if not self._open:
            self.root = node
            return
        parent, key = self._open[-1]
        parent.size += node.size
        if parent.size > MOST_EXPANDED:
            self._refuse(
                line, f"its aliases (*name) stand for more than {MOST_EXPANDED:,} values: write less"
            )
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif key is None:
            if isinstance(node, Scalar) and len(node.text) > LONGEST_KEY:
                self._refuse(
                    line, f"a key has {len(node.text):,} characters, and {LONGEST_KEY:,} are the most"
                )
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
            self._refuse(line, f"write the value out instead of an alias (*{shown})")
        target = self._anchors.get(event.anchor)
        if target is None:
            self._refuse(line, f"not valid YAML: the alias *{shown} names nothing above it")
        if any(target is opened for opened, _ in self._open):
            self._refuse(line, f"the alias *{shown} stands inside of what it names, which would never end")
        return target

    def _check_scalar(self, node: Scalar) -> None:
        if node.tag not in _KNOWN:
            self._check_tag(node)
        if node.tag in _NUMBERS and len(node.text) > LONGEST_NUMBER:
            self._refuse(
                node.line,
                f"`{shortened(node.text, 40)}` reads as a number or date of {len(node.text):,} characters, and "
                f"{LONGEST_NUMBER} are the most: put text in quotes",
            )

    def _check_tag(self, node: Node) -> None:
        """A tag of one's own (!vault) is for the reader to judge; of YAML's own there are no others."""
        if not node.tag.startswith("!"):
            shown = shortened(node.tag.replace(_PREFIX, "!!"))
            self._refuse(node.line, f"not valid YAML: the tag `{shown}` is not known here: leave it out")

    def _refuse(self, line: int, problem: str) -> NoReturn:
        raise YamlError(f"{self.name}, line {line}: {problem}")


_CONSTRUCTOR = yaml.constructor.SafeConstructor()
_MAKERS = {
    tag: getattr(yaml.constructor.SafeConstructor, f"construct_yaml_{tag.removeprefix(_PREFIX)}")
    for tag in _KNOWN - {_MERGE}
}


def value(node: Scalar, name: str) -> Any:
    """The value of a scalar, as YAML 1.1 reads it; text for a tag of one's own. Raises YamlError."""
    maker = _MAKERS.get(node.tag)
    if maker is None:
        return node.text
    try:
        return maker(_CONSTRUCTOR, yaml.ScalarNode(node.tag, node.text))
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        # PyYAML's own ways to fail where a tag (!!int "") forces what the text is not
        raise YamlError(
            f"{name}, line {node.line}: `{shortened(node.text)}` looks like a number or date and is none; "
            "put text in quotes"
        ) from None


@contextmanager
def _in_a_sentence(name: str) -> Iterator[None]:
    """Whatever the YAML library ends with becomes a YamlError."""
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
