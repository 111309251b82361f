"""Parse whole numbers on the command line."""

from __future__ import annotations

_LONGEST = 19
"""Digits of the largest integer of SQLite; no count in this project is larger."""


def whole(text: str) -> int | None:
    """The number that ``text`` gives in ASCII digits; None for any other text and for more than 19 digits.

    Python's ``int`` raises ValueError for more than 4,300 digits.
    """
    digits = text.lstrip("0") or text[-1:]
    return int(digits) if text.isascii() and text.isdigit() and len(digits) <= _LONGEST else None
