"""Solutions of the exercises of the lesson text-classification."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def word_numbers(bag: bool, text: list[int], vocabulary: int) -> list[int]:
    """The bag for a Dense layer, the numbers for an Embedding."""
    return [int(word in text) for word in range(vocabulary)] if bag else list(text)


def cut(text: list[int], length: int) -> list[int]:
    """The end of the text remains."""
    return ([0] * (length - len(text)) + text)[-length:]


def last_state(states: Array, tokens: Array) -> Array:
    """The position of the last token that is not padding."""
    return np.asarray(states[np.flatnonzero(tokens)[-1]])


def split(reviews: list[str], test_size: int) -> tuple[list[str], list[str]]:
    """Remove the copies first, then split."""
    different = list(dict.fromkeys(reviews))
    return different[:-test_size], different[-test_size:]
