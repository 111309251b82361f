"""Read a YAML file that people edit: a complaint is one sentence with file, line and what is expected."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import yaml

T = TypeVar("T")
Key = str | int
Where = tuple[Key, ...]
"""Path into the document: ("cards", 3, "cores")."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
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
"""YAML 1.1 has more: 0300 is 192 there, and 3:00 is 180."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_DEEPEST = 32
_LARGEST_BYTES = 4 << 20
"""What people write by hand is thousands of times smaller; a device file never ends."""


class YamlError(ValueError):
    """The file cannot be used; the message is one sentence for the person who edits it."""


class Document(NamedTuple):
    """What a file says, and on which line it says it."""

    name: str
    data: Any
    lines: dict[Where, int]

    def line(self, where: Where) -> int:
        """Line (from 1) of the entry, or of the nearest one around it."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)

    def value(self, where: Where) -> Any:
        found = self.data
        for key in where:
            found = found[key]
        return found

    def error(self, where: Where, problem: str) -> YamlError:
        return YamlError(f"{self.name}, line {self.line(where)}: {problem}")


def read(path: Path, name: str | None = None) -> Document:
    """Parse the file; refuse what the YAML library would silently mend, such as a key given twice."""
    name = name or path.name
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise YamlError(f"{name[:200]} cannot be read: {error.strerror or error}") from None
    except ValueError:  # a NUL in the name
        raise YamlError("no file can have that name") from None
    if len(content) > _LARGEST_BYTES:
        raise YamlError(f"{name} is larger than {_LARGEST_BYTES >> 20} MiB: no such file is")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise YamlError(f"{name} is not text in UTF-8 (byte {error.start})") from None
    return parse(text, name)


def parse(text: str, name: str) -> Document:
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            document = Document(name, None, {(): 1})
            if node is None:
                return document
            data = _build(node, (), document, loader, set())
            return document._replace(data=data)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise YamlError(_broken(error, name)) from None
    except RecursionError:
        raise YamlError(f"{name} is nested too deeply to be read") from None


def convert(document: Document, type_: type[T], where: Where = ()) -> T:
    """The part of the document at ``where`` as ``type_``, or a complaint with its line."""
    try:
        return msgspec.convert(document.value(where), type_, strict=True)
    except msgspec.ValidationError as error:
        raise _explain(document, str(error), where, type_) from None


def _build(node: Any, where: Where, document: Document, loader: Any, seen: set[int]) -> Any:
    line = node.start_mark.line + 1
    document.lines.setdefault(where, line)
    # Aliases are not needed here, and following them lets a short file grow without bound.
    if id(node) in seen:
        raise YamlError(f"{document.name}, line {line}: write the value out instead of an alias (*name)")
    seen.add(id(node))
    if len(where) > _DEEPEST:
        raise YamlError(f"{document.name}, line {line}: is nested too deeply to be read")
    if isinstance(node, yaml.SequenceNode):
        return [_build(child, (*where, i), document, loader, seen) for i, child in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(node, where, document, loader, seen)
    return _scalar(node, document.name, loader)


def _build_mapping(
    node: Any, where: Where, document: Document, loader: Any, seen: set[int]
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        is_scalar = isinstance(key_node, yaml.ScalarNode)
        key = _scalar(key_node, document.name, loader) if is_scalar else None
        if not isinstance(key, str):
            shown = f"`{key_node.value}`" if is_scalar else "this key"
            raise YamlError(f"{document.name}, line {line}: {shown} is expected to be a name in text")
        if key in result:
            first = f"`{key}` is given twice, first on line {document.lines[(*where, key)]}"
            raise YamlError(f"{document.name}, line {line}: {first}; keep one of them")
        document.lines[(*where, key)] = line
        result[key] = _build(value_node, (*where, key), document, loader, seen)
    return result


def _scalar(node: Any, name: str, loader: Any) -> Any:
    line = node.start_mark.line + 1
    if node.tag == "tag:yaml.org,2002:merge":
        return None
    try:
        value = loader.construct_object(node)
    except (ValueError, OverflowError):
        raise YamlError(
            f"{name}, line {line}: `{node.value}` looks like a number or date and is none; put text in quotes"
        ) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise YamlError(f"{name}, line {line}: expected a number, got `{node.value}`")
    if type(value) in (int, float) and not _NUMBER.fullmatch(node.value):
        raise YamlError(
            f"{name}, line {line}: `{node.value}` would be read as {value:g}: write the number as 300 or 299.99"
        )
    if isinstance(value, str) and (found := _CONTROL.search(value)):
        raise YamlError(f"{name}, line {line}: text without control characters is expected, got {found[0]!r}")
    return value


def _broken(error: yaml.YAMLError, name: str) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
    problem = " ".join(str(problem).split())
    if mark is None:
        return f"{name} is not valid YAML: {problem}"
    return f"{name}, line {mark.line + 1}: not valid YAML: {problem}"


def _explain(document: Document, message: str, base: Where, type_: Any) -> YamlError:
    text, _, path = message.partition(" - at `")
    where = base + _parts(path.rstrip("`"))
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", text)
    if unknown:
        return document.error((*where, unknown[1]), f"`{unknown[1]}` is not a field known here")
    missing = re.fullmatch(r"Object missing required field `(.*)`", text)
    if missing:
        return document.error(where, f"{_entry(document, where)} lacks `{missing[1]}`")
    subject = f"`{where[-1]}`" if where and isinstance(where[-1], str) else _entry(document, where)
    got = _shown(document, where)
    expected = re.fullmatch(r"Expected `(.*?)`(?:, got `(.*?)`|(.*))", text)
    if expected:
        types = [w.strip() for w in expected[1].split("|")]
        wanted = " or ".join(_WORDS.get(t, t) for t in types if t != "null")
        bound = re.sub(r"\.0$", "", expected[3] or "")
        quoted = " in quotes; take them away" if _is_quoted_number(document, where) else ""
        return document.error(where, f"{subject} is expected to be {wanted}{bound}, got {got}{quoted}")
    if "RFC3339" in text:
        return document.error(where, f"{subject} is expected to be {_WORDS['date']}, got {got}")
    if text.startswith(("Invalid enum value", "Invalid value")):
        allowed = _allowed(msgspec.inspect.type_info(type_), where[len(base) :])
        return document.error(where, f"{subject} is expected to be {allowed}, got {got}")
    return document.error(where, f"{subject}: {text[:1].lower()}{text[1:]}")


def _allowed(info: Any, where: Where) -> str:
    """The values that a choice offers, found by walking the type along the path."""
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
    """ "$.cards[3].cores" -> ("cards", 3, "cores"); stops where msgspec does not name the key."""
    parts: list[Key] = []
    for name, index in re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", path):
        if index == "...":
            break
        parts.append(int(index) if index else name)
    return tuple(parts)


def _entry(document: Document, where: Where) -> str:
    """How to call the entry in a sentence: by its own name if it has one."""
    try:
        value = document.value(where)
    except (KeyError, IndexError, TypeError):
        value = None
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        return f"`{value['name']}`"
    if not where:
        return "the file"
    return f"`{where[-1]}`" if isinstance(where[-1], str) else f"entry {where[-1] + 1} of `{where[-2]}`"


def _is_quoted_number(document: Document, where: Where) -> bool:
    try:
        value = document.value(where)
    except (KeyError, IndexError, TypeError):
        return False
    return isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value) is not None


def _shown(document: Document, where: Where) -> str:
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
    text = str(value)
    return f"`{text[:40]}…`" if len(text) > 40 else f"`{text}`"
