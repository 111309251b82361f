"""Exercises of text-classification. Mend each, then run: dlbox workshop check text-classification"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def word_numbers(bag: bool, text: list[int], vocabulary: int) -> list[int]:
    """1. What goes into an Embedding layer for a text given as word numbers: those numbers, in order. Three
    scripts of a class sent a bag of words (0s and 1s) through the padding into the Embedding; ``bag`` says
    whether the *next* layer is a Dense one, which does want the bag.
    """
    return [int(word in text) for word in range(vocabulary)]


def cut(text: list[int], length: int) -> list[int]:
    """2. ``length`` numbers: padded with 0 before a short text; of a long one the *last* words, where reviews
    say what they think. A well-known page says it reads the first 200 and does not; this one does.
    """
    return ([0] * (length - len(text)) + text)[:length]


def last_state(states: Array, tokens: Array) -> Array:
    """3. The LSTM's state after the last real word: states (time, units), tokens (time,) padded with 0
    *after* the text. Without a mask one takes the state after the padding, and a GRU scores 50.08%.
    """
    return np.asarray(states[-1])


def split(reviews: list[str], held_out: int) -> tuple[list[str], list[str]]:
    """4. (training, test): the last ``held_out`` different reviews are the test, and no test review may be in
    the training part. Copies of one review stand in this list; here they land on both sides.
    """
    return reviews[:-held_out], reviews[-held_out:]
