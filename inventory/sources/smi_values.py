"""Values of nvidia-smi as Readings: numbers with units, switches, and its words for a value that it cannot give."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from inventory.machine.reading import Reading

T = TypeVar("T")
Tree: TypeAlias = dict[str, Any]
"""Names in lower case with "_" -> a text, or a Tree. Several entries of one name form a list."""

_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?")
_ABSENT = re.compile(
    r"\[?(n/?a|not supported|not available|requested functionality has been deprecated|not found|function not found|"
    r"no data|none reported)\]?",
    re.IGNORECASE,
)
_CODES = (
    (re.compile(r"gpu is lost|fallen off the bus", re.IGNORECASE), 15, "the card has fallen off the bus"),
    (re.compile(r"requires? reset", re.IGNORECASE), 16, "the card requires a reset"),
    (re.compile(r"unknown error|^\W*err!?\W*$", re.IGNORECASE), 999, "NVML reports an unknown error"),
    (re.compile(r"timeout", re.IGNORECASE), 10, "NVML did not answer in time"),
)
_DENIED = re.compile(r"insufficient permissions?|permission denied|no permission", re.IGNORECASE)


def place(tree: Tree, *paths: str) -> str | None:
    """The text at the first of ``paths`` ("pci.pci_bus_id") that exists; None if none does."""
    for path in paths:
        found: Any = tree
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, list):
            found = next((one for one in found if isinstance(one, str)), None)
        if isinstance(found, str):
            return found.strip()
    return None


def branch(tree: Tree, *paths: str) -> Tree:
    """The Tree at the first of ``paths`` that exists, else an empty one."""
    for path in paths:
        found: Any = tree
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, dict):
            return found
    return {}


def reading(text: str | None, convert: Callable[[str], T]) -> Reading[T]:
    """``text`` as a Reading; ``convert`` raises ValueError for a text that is not such a value."""
    if text is None:
        return Reading.not_in_source()
    if not text or _ABSENT.fullmatch(text):
        return Reading.not_supported("nvidia-smi gives no value")
    if _DENIED.search(text):
        return Reading.no_permission("nvidia-smi had no permission to read the value", 4)
    for pattern, code, why in _CODES:
        if pattern.search(text):
            return Reading.failed(why, code)
    try:
        return Reading.of(convert(text))
    except (ValueError, OverflowError):
        return Reading.failed(f"nvidia-smi gives {shortened(text)}")


def shortened(text: str) -> str:
    clean = "".join(c for c in text if c.isprintable())
    return f'"{clean[:24]}"'


def number(text: str) -> float:
    """The number at the start of "170.00 W", "16x", "0x1F" or "P8". Raises ValueError."""
    hexadecimal = re.match(r"0x([0-9a-f]{1,16})\b", text, re.IGNORECASE)
    if hexadecimal:
        return int(hexadecimal[1], 16)
    found = _NUMBER.match(text.lstrip("Pp "))
    if not found or len(found[0]) > 24:
        raise ValueError(text)
    return float(found[0].replace(",", "."))


def whole(text: str) -> int:
    """The integer at the start of "35 C" or "16x". Raises ValueError."""
    return int(number(text))


def mib(text: str) -> int:
    """Bytes of "8192 MiB", "256 MB" or "8 GiB". Raises ValueError."""
    unit = re.search(r"([KMGT])i?B\s*$", text, re.IGNORECASE)
    scale = {"K": 10, "M": 20, "G": 30, "T": 40}[unit[1].upper()] if unit else 20
    return int(number(text) * (1 << scale))


def switch(text: str) -> bool:
    """True or False for "Enabled", "Yes", "Active", "Disabled", "No", "Not Active". Raises ValueError."""
    word = text.strip("[] ").lower()
    if word in ("enabled", "yes", "active", "on", "true", "pending"):
        return True
    if word in ("disabled", "no", "not active", "off", "false"):
        return False
    raise ValueError(text)


def plain(text: str) -> str:
    """A text of one line, at most 200 characters. Raises ValueError if it has none."""
    clean = "".join(c if c.isprintable() else " " for c in text).strip()[:200]
    if not clean:
        raise ValueError(text)
    return clean
