"""Exercises of the lesson attention. Correct each function, then run: dlbox workshop check attention"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def looks(q: Array, k: Array) -> Array:
    """1. Attention weights (words, words): every *row* sums to 1. Here every column does, which means something
    else: every word is attended to with a total weight of 1.
    """
    weights = np.exp(q @ k.T / np.sqrt(k.shape[-1]))
    return np.asarray(weights / weights.sum(axis=0, keepdims=True))


def masked(scores: Array, padding: Array) -> Array:
    """2. Attention weights over the words, ``scores`` (words,), without the padding (True in ``padding``). A score
    of 0 does not leave a word out, because e^0 is 1.
    """
    scores = np.where(padding, 0.0, scores)
    weights = np.exp(scores - scores.max())
    return np.asarray(weights / weights.sum())


def scaled(q: Array, k: Array) -> Array:
    """3. The scores q k, scaled so that their standard deviation does not grow with the width d of the vectors: for
    random q and k with standard deviation 1 it should be 1 for every d. Without the scale and with large d,
    softmax gives nearly all the weight to one word, and the gradient is almost zero.
    """
    return np.asarray(q @ k.T)


def places(length: int, width: int) -> Array:
    """4. Position encoding (length, width) with sine and cosine, as in "Attention is all you need": column 2i is
    sin(t / 10000^(2i / width)), column 2i + 1 is the cosine. Here every position has the same row.
    """
    t = np.zeros((length, 1))
    angle = t / 10000 ** (np.arange(0, width, 2) / width)
    out = np.empty((length, width))
    out[:, 0::2], out[:, 1::2] = np.sin(angle), np.cos(angle)
    return out


def additive(states: Array, w: Array, b: Array, u: Array) -> Array:
    """5. Attention weights over the words (words,), with sum 1, of additive attention: the softmax of u .
    tanh(state W + b), states (words, units). Some published code adds a small number to the sum to avoid a
    division by 0. Then the weights are nearly 0 if all scores are low; and if one score is high, exp overflows.
    """
    scores = np.tanh(states @ w + b) @ u
    weights = np.exp(scores)
    return np.asarray(weights / (weights.sum() + 1e-7))


def ceiling(kinds: Array, labels: Array, clean: Array, read: tuple[int, ...]) -> float:
    """6. The best accuracy on *these* reviews of a model that solves the kinds in ``read`` and guesses the others:
    right where the label was not flipped (``labels`` equals ``clean``), one half where it guesses. This function
    assumes that 5% of the labels are flipped. In a sample of 4,000 reviews it may be 4.4% or 5.6%, and a model
    can then exceed "the best possible accuracy".
    """
    return float(np.mean(np.where(np.isin(kinds, read), 0.95, 0.5)))


def summary(vectors: Array) -> Array:
    """7. One vector of the text for the last layer, computed from the vectors of the words (words, width): the
    largest number of each column, whatever its position. If the vectors are concatenated, each position has its
    own weights: the same sentence two words later is a different input, and in short texts of a fixed form the
    positions reveal the answer.
    """
    return np.asarray(vectors.ravel())
