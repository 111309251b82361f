"""Parse whole numbers on the command line."""

from __future__ import annotations

_LONGEST = 19
"""Number of digits of SQLite's largest integer; no count in this project has more."""


def whole(text: str) -> int | None:
    """The integer that ``text`` contains; None unless ``text`` is 1 to 19 ASCII digits.

    Python's ``int`` raises ValueError for more than 4,300 digits.
    """
    digits = text.lstrip("0") or text[-1:]
    return int(digits) if text.isascii() and text.isdigit() and len(digits) <= _LONGEST else None
