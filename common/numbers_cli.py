"""Whole numbers as people write them on the command line."""

from __future__ import annotations

_LONGEST = 19
"""Digits of the largest number that SQLite holds, which is more than there is of anything here."""


def whole(text: str) -> int | None:
    """The number that ASCII digits make; None for any other text, and for more digits than a number here can have.

    Python itself raises ValueError from 4,301 digits on.
    """
    digits = text.lstrip("0") or text[-1:]
    return int(digits) if text.isascii() and text.isdigit() and len(digits) <= _LONGEST else None
