"""Exercises of the lesson attention. Mend each function, then run: dlbox workshop check attention"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def looks(q: Array, k: Array) -> Array:
    """1. Where each word looks: (words, words), every *row* sums to 1. Here the columns do: each word is looked
    at with a total of 1, which is another thing.
    """
    weights = np.exp(q @ k.T / np.sqrt(k.shape[-1]))
    return np.asarray(weights / weights.sum(axis=0, keepdims=True))


def masked(scores: Array, padding: Array) -> Array:
    """2. Attention weights over the words, ``scores`` (words,), that leave out the padding (True where it
    stands). A score of 0 is not "left out": e^0 is 1.
    """
    scores = np.where(padding, 0.0, scores)
    weights = np.exp(scores - scores.max())
    return np.asarray(weights / weights.sum())


def scaled(q: Array, k: Array) -> Array:
    """3. The scores q k, scaled so that their spread does not grow with the width d of the vectors: for random
    q and k of spread 1 it should be 1 for every d. Unscaled, a wide softmax looks at one word and learns nothing.
    """
    return np.asarray(q @ k.T)


def places(length: int, width: int) -> Array:
    """4. Sine and cosine numbers of the places (length, width), as in "Attention is all you need": column 2i is
    sin(t / 10000^(2i / width)), column 2i + 1 the cosine. Here every place gets the same row.
    """
    t = np.zeros((length, 1))
    angle = t / 10000 ** (np.arange(0, width, 2) / width)
    out = np.empty((length, width))
    out[:, 0::2], out[:, 1::2] = np.sin(angle), np.cos(angle)
    return out
