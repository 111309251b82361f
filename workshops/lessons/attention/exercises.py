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


def additive(states: Array, w: Array, b: Array, u: Array) -> Array:
    """5. Weights over the words (words,), sum 1, of additive attention: the softmax of u . tanh(state W + b), states
    (words, units). A layer that went from hand to hand adds a little to the sum, against a division by 0. So when
    all scores are low no word gets a weight, and when one is high the power is too large to hold.
    """
    scores = np.tanh(states @ w + b) @ u
    weights = np.exp(scores)
    return np.asarray(weights / (weights.sum() + 1e-7))


def ceiling(kinds: Array, labels: Array, clean: Array, read: tuple[int, ...]) -> float:
    """6. The best accuracy on *these* reviews of a model that understands the kinds in ``read`` and guesses the
    others: right where the label was not flipped (``labels`` equals ``clean``), a half where it guesses. This is the
    round figure for 5% flips; 4,000 reviews may have 4.4% or 5.6% of them, and a model then beats "the best possible".
    """
    return float(np.mean(np.where(np.isin(kinds, read), 0.95, 0.5)))


def summary(vectors: Array) -> Array:
    """7. One vector of the text for the last layer, from those of the words (words, width): the largest number in
    each column, wherever it stands. Laid end to end, each place has weights of its own: the same sentence two words
    further on is another one, and on short texts of a fixed form the places give the answer away.
    """
    return np.asarray(vectors.ravel())
