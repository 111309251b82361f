"""Read dlbox's own YAML files, which people edit, strictly: no aliases, no merges, text keys, plain numbers.

An error is one sentence with the file, the line and the expected value. ``yaml_values`` reads files that follow the
rules of another program, such as Ansible inventories; ``yaml_nodes`` parses for both.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from common.file_access import inputs, yaml_nodes
from common.file_access.yaml_nodes import Mapping, Node, Scalar, Sequence, YamlError
from common.terminal.shown import UNSAFE, place, shortened

__all__ = ["Where", "YamlDocument", "YamlError", "convert", "parse", "quoted", "read"]

T = TypeVar("T")
Key = str | int
Where = tuple[Key, ...]
"""Path to an entry of the document: ("cards", 3, "cores")."""

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "object": "a mapping",
    "array": "a list",
    "null": "nothing",
    "date": "a date such as 2026-11-22",
}
_NUMBER = re.compile(r"[-+]?(0|[1-9]\d*)?(\.\d*)?([eE][-+]?\d+)?|0x[0-9A-Fa-f]+")
"""The accepted notations of numbers. Others mislead: in YAML 1.1, 0300 means 192 and 3:00 means 180."""


class YamlDocument(NamedTuple):
    """The content of a file, and the line of each entry."""

    name: str
    data: Any
    lines: dict[Where, int]

    def line(self, where: Where) -> int:
        """Line number (from 1) of the entry, or of the innermost known entry around it."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)

    def value(self, where: Where) -> Any:
        """The value of the entry. Raises KeyError, IndexError or TypeError if the entry does not exist."""
        found = self.data
        for key in where:
            found = found[key]
        return found

    def error(self, where: Where, problem: str) -> YamlError:
        """An error with the file and the line of the entry; ``problem`` completes the sentence."""
        return YamlError(f"{self.name}, line {self.line(where)}: {problem}")


def read(path: Path, name: str | None = None) -> YamlDocument:
    """Parse a file. Raises YamlError, also for what the YAML library accepts silently, such as a duplicate key."""
    name = name or place(path.name)
    try:
        return parse(inputs.read_text(path, yaml_nodes.LARGEST_BYTES, name), name)
    except inputs.InputError as error:
        raise YamlError(str(error)) from None


def parse(text: str, name: str) -> YamlDocument:
    """Parse text as ``read`` does; ``name`` is the file name in messages."""
    document = YamlDocument(name, None, {(): 1})
    node = yaml_nodes.compose(text, name, aliases=False)
    return document if node is None else document._replace(data=_build(node, (), document))


def quoted(text: object) -> str:
    """A value, shortened and in backquotes, for a message."""
    return f"`{shortened(text)}`"


def convert(document: YamlDocument, type_: type[T], where: Where = ()) -> T:
    """Convert the entry at ``where`` to ``type_``. Raises YamlError with the line of the wrong value."""
    try:
        return msgspec.convert(document.value(where), type_, strict=True)
    except msgspec.ValidationError as error:
        raise _explain(document, str(error), where, type_) from None


def _build(node: Node, where: Where, document: YamlDocument) -> Any:
    document.lines.setdefault(where, node.line)
    if isinstance(node, Sequence):
        return [_build(child, (*where, i), document) for i, child in enumerate(node.items)]
    if isinstance(node, Mapping):
        return _build_mapping(node, where, document)
    assert isinstance(node, Scalar)  # noqa: S101
    return _scalar(node, document.name)


def _build_mapping(node: Mapping, where: Where, document: YamlDocument) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.pairs:
        line = key_node.line
        key = _scalar(key_node, document.name) if isinstance(key_node, Scalar) else None
        if not isinstance(key, str):
            shown = quoted(key_node.text) if isinstance(key_node, Scalar) else "this key"
            raise YamlError(f"{document.name}, line {line}: {shown} is expected to be a text key")
        if key in result:
            first = f"{quoted(key)} is given twice, first on line {document.lines[(*where, key)]}"
            raise YamlError(f"{document.name}, line {line}: {first}: keep one of them")
        document.lines[(*where, key)] = line
        result[key] = _build(value_node, (*where, key), document)
    return result


def _scalar(node: Scalar, name: str) -> Any:
    if yaml_nodes.is_merge(node):
        return None
    if node.tag.startswith("!"):
        problem = f"not valid YAML: the tag {quoted(node.tag)} is not supported: remove it"
        raise YamlError(f"{name}, line {node.line}: {problem}")
    value = yaml_nodes.value(node, name)
    if isinstance(value, float) and not math.isfinite(value):
        raise YamlError(f"{name}, line {node.line}: expected a number, got {quoted(node.text)}")
    if type(value) in (int, float) and not _NUMBER.fullmatch(node.text):
        raise YamlError(
            f"{name}, line {node.line}: YAML reads {quoted(node.text)} as {value:g}: "
            "write the number as 300 or 299.99"
        )
    if isinstance(value, str) and (found := UNSAFE.search(value)):
        raise YamlError(
            f"{name}, line {node.line}: expected text without control characters, got {found[0]!r}"
        )
    return value


def _explain(document: YamlDocument, message: str, base: Where, type_: Any) -> YamlError:
    text, _, path = message.partition(" - at `")
    where = base + _parts(path.rstrip("`"))
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", text)
    if unknown:
        return document.error((*where, unknown[1]), f"{quoted(unknown[1])} is not a field known here")
    missing = re.fullmatch(r"Object missing required field `(.*)`", text)
    if missing:
        return document.error(where, f"{_entry(document, where)} lacks `{missing[1]}`")
    subject = quoted(where[-1]) if where and isinstance(where[-1], str) else _entry(document, where)
    got = _shown(document, where)
    expected = re.fullmatch(r"Expected `(.*?)`(?:, got `(.*?)`|(.*))", text)
    if expected:
        types = [w.strip() for w in expected[1].split("|")]
        wanted = " or ".join(_WORDS.get(t, t) for t in types if t != "null")
        bound = re.sub(r"\.0$", "", expected[3] or "")
        marked = " in quotes: remove the quotes" if _is_quoted_number(document, where) else ""
        return document.error(where, f"{subject} is expected to be {wanted}{bound}, got {got}{marked}")
    if "RFC3339" in text:
        return document.error(where, f"{subject} is expected to be {_WORDS['date']}, got {got}")
    if text.startswith(("Invalid enum value", "Invalid value")):
        allowed = _allowed(msgspec.inspect.type_info(type_), where[len(base) :])
        return document.error(where, f"{subject} is expected to be {allowed}, got {got}")
    return document.error(where, f"{subject}: {text[:1].lower()}{text[1:]}")


def _allowed(info: Any, where: Where) -> str:
    """The allowed values of the entry, found by following the path through the type."""
    options = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    tags = [getattr(o, "tag", "") for o in options if (getattr(o, "tag_field", None),) == where]
    if tags:
        return _choice(tags)
    for option in options:
        if isinstance(option, msgspec.inspect.LiteralType) and not where:
            return _choice(option.values)
        if not where:
            continue
        if isinstance(option, msgspec.inspect.StructType):
            inner = [f.type for f in option.fields if f.encode_name == where[0]]
        else:
            inner = [getattr(option, a) for a in ("item_type", "value_type") if hasattr(option, a)]
        if inner:
            return _allowed(inner[0], where[1:])
    return "another value"


def _choice(values: Iterable[object]) -> str:
    *most, last = (f"`{v}`" for v in values)
    return f"{', '.join(most)} or {last}" if most else last


def _parts(path: str) -> Where:
    """ "$.cards[3].cores" -> ("cards", 3, "cores"). The tuple stops at the first key that msgspec does not name."""
    parts: list[Key] = []
    for name, index in re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", path):
        if index == "...":
            break
        parts.append(int(index) if index else name)
    return tuple(parts)


def _entry(document: YamlDocument, where: Where) -> str:
    """How a message names the entry: by its field ``name``, else by its key or its number in a list."""
    try:
        value = document.value(where)
    except (KeyError, IndexError, TypeError):
        value = None
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        return quoted(value["name"])
    if not where:
        return "the file"
    return (
        quoted(where[-1]) if isinstance(where[-1], str) else f"entry {where[-1] + 1} of {quoted(where[-2])}"
    )


def _is_quoted_number(document: YamlDocument, where: Where) -> bool:
    try:
        value = document.value(where)
    except (KeyError, IndexError, TypeError):
        return False
    return isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value) is not None


def _shown(document: YamlDocument, where: Where) -> str:
    try:
        value = document.value(where)
    except (KeyError, IndexError, TypeError):
        return "something else"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime.date):
        return f"`{value.isoformat()}`"
    return f"`{shortened(value, 41)}`"
