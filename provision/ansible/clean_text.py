"""What other programs print, made fit to be shown and kept; and file names made of what others call things."""

from __future__ import annotations

import hashlib
import re

_MARKS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s\"']+:[^/@\s\"']+(?=@)")
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters but tab and line feed, marks that turn the direction of a text, halves of a character."""

LONGEST_VALUE = 80
_LONGEST_NAME = 100


def plain(text: str) -> str:
    """Without colours and control characters, and without the credentials that an address may carry."""
    return _CREDENTIALS.sub("***", _CONTROL.sub("", _MARKS.sub("", text)))


def shown(value: object) -> str:
    """A value from outside as a message quotes it: on one line, without control characters, at most 80 characters."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, lists in lists in lists
        text = f"a value of type {type(value).__name__}"
    text = " ".join(_MARKS.sub("", text[: 10 * LONGEST_VALUE]).split())
    text = "".join(character for character in text if character.isprintable())
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def file_name(name: str) -> str:
    """A file name for what others named: the name itself where it is a harmless one, else one made of it.

    Names that differ give file names that differ, and none leaves the folder, is hidden or is too long.
    """
    safe = re.sub(r"[^A-Za-z0-9._@+-]", "_", name[:_LONGEST_NAME]).lstrip(".-")
    if safe == name != "":
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{safe}-{digest}" if safe else digest
