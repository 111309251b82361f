"""A suggestion for a misspelt name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """ " (did you mean lstm?)" for the most similar of ``names``, or "" if none is similar to ``word``."""
    close = difflib.get_close_matches(word.lower(), list(names), 1, 0.5)
    return f" (did you mean {close[0]}?)" if close else ""
