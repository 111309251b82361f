"""Solutions of the exercises of the lesson word-vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def analogy(vectors: Array, a: int, a2: int, b: int) -> int:
    """The difference of a2 and a, added to b; the nearest word that is not in the question."""
    near = vectors @ (vectors[a2] - vectors[a] + vectors[b])
    near[[a, a2, b]] = -np.inf
    return int(np.argmax(near))


def token_numbers(text: str, vocabulary: list[str], length: int) -> list[int]:
    """One number for each word, in the order of the text."""
    numbers = [vocabulary.index(word) + 1 for word in text.split() if word in vocabulary]
    return ([0] * length + numbers)[-length:]


def glove_weight(count: float, cap: float = 50.0) -> float:
    """At most 1."""
    return float(min(1.0, (count / cap) ** 0.75))


def cosine(a: Array, b: Array) -> float:
    """Divided by both lengths."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def baseline(vectors: Array, a: int, a2: int, b: int) -> int:
    """Baseline and analogy choose among the same words."""
    near = vectors @ vectors[b]
    near[[a, a2, b]] = -np.inf
    return int(np.argmax(near))


def ppmi(counts: Array) -> Array:
    """Divide by the count expected by chance; a result below 0 becomes 0."""
    chance = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / counts.sum()
    met = counts > 0
    return np.asarray(np.maximum(0, np.log(np.where(met, counts, 1) / np.where(met, chance, 1))))
