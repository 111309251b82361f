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
    """The end is kept."""
    return ([0] * (length - len(text)) + text)[-length:]


def last_state(states: Array, tokens: Array) -> Array:
    """Where the last token that is not padding stands."""
    return np.asarray(states[np.flatnonzero(tokens)[-1]])


def split(reviews: list[str], held_out: int) -> tuple[list[str], list[str]]:
    """One copy of each first, then the cut."""
    different = list(dict.fromkeys(reviews))
    return different[:-held_out], different[-held_out:]
