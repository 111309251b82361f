"""Solutions of the exercises of the lesson seq2seq."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def distinct(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Two sums are equal if their sorted pairs of numbers are equal. The result has each pair in its original
    order."""
    first: dict[tuple[int, int], tuple[int, int]] = {}
    for a, b in pairs:
        first.setdefault((min(a, b), max(a, b)), (a, b))
    return list(first.values())


def sums_right(answers: Array, guesses: Array) -> float:
    """A row is right if all its symbols are; the result is the mean over the rows."""
    return float(np.mean(np.all(answers == guesses, axis=1)))


def decoder_input(answers: Array, start: int) -> Array:
    """The answer shifted by one: ``start``, then everything but the last symbol."""
    return np.concatenate([np.full((len(answers), 1), start), answers[:, :-1]], axis=1)


def question(text: str, length: int) -> str:
    """Pad first, then reverse."""
    return text.ljust(length)[::-1]
