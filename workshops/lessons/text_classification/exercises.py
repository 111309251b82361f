"""Exercises of text-classification. Correct each function, then run: dlbox workshop check text-classification"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def word_numbers(bag: bool, text: list[int], vocabulary: int) -> list[int]:
    """1. The input of the next layer for a text given as word numbers. An Embedding layer needs these numbers in
    order. Three scripts of a class passed a bag of words (0s and 1s) to the Embedding. ``bag`` is True if the
    next layer is a Dense layer, which needs the bag.
    """
    return [int(word in text) for word in range(vocabulary)]


def cut(text: list[int], length: int) -> list[int]:
    """2. ``length`` numbers: a short text is padded with 0 before it; of a long text the *last* words remain,
    because reviews sum up at the end. A well-known page says that it reads the first 200 words but reads the
    last; this function does read the first.
    """
    return ([0] * (length - len(text)) + text)[:length]


def last_state(states: Array, tokens: Array) -> Array:
    """3. The state of the LSTM after the last real word: states (time, units), tokens (time,) padded with 0 *after*
    the text. Without a mask the state after the padding is used, and a GRU had an accuracy of 50.08%.
    """
    return np.asarray(states[-1])


def split(reviews: list[str], test_size: int) -> tuple[list[str], list[str]]:
    """4. (training, test): the last ``test_size`` different reviews are the test part, and no test review may be in
    the training part. The list contains copies of reviews; this function puts them into both parts.
    """
    return reviews[:-test_size], reviews[-test_size:]
