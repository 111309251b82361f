"""Clean the output of other programs and values from outside before they are shown or logged."""

from __future__ import annotations

import re

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s\"']+:[^/@\s\"']+(?=@)")
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters except tab and line feed, marks that change the text direction, lone surrogates."""

LONGEST_VALUE = 80


def plain(text: str) -> str:
    """``text`` without colours and control characters, and without the credentials in any URL."""
    return _CREDENTIALS.sub("***", _CONTROL.sub("", _COLOURS.sub("", text)))


def shown(value: object) -> str:
    """A value from outside for use in a message: one line of at most 80 printable characters."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, deeply nested lists
        text = f"a value of type {type(value).__name__}"
    text = " ".join(_COLOURS.sub("", text[: 10 * LONGEST_VALUE]).split())
    text = "".join(character for character in text if character.isprintable())
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
