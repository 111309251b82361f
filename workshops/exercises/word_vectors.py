"""Exercises of the lesson word-vectors. Mend each function, then run: dlbox workshop check word-vectors"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def analogy(vectors: Array, a: int, a2: int, b: int) -> int:
    """1. Row of the answer to "a is to a2 as b is to ...?", the question's words left out. man is to woman as
    king is to ... : walk from man to woman, and as far again from king. This one walks the wrong way.
    """
    near = vectors @ (vectors[a] - vectors[a2] + vectors[b])
    near[[a, a2, b]] = -np.inf
    return int(np.argmax(near))


def token_numbers(text: str, vocabulary: list[str], length: int) -> list[int]:
    """2. What an Embedding layer wants: the number of each word (its place in ``vocabulary``, from 1), 0 as
    padding *before* the text up to ``length``. Three scripts of a class gave it this bag of words instead;
    the shapes fit, and the model learned from hardly anything.
    """
    bag = [int(word in text.split()) for word in vocabulary]
    return ([0] * length + bag)[-length:]


def glove_weight(count: float, cap: float = 50.0) -> float:
    """3. How much a pair that occurred ``count`` times weighs: (count / cap)^0.75, but never more than 1. Here
    "of the" outweighs everything else.
    """
    return float((count / cap) ** 0.75)


def cosine(a: Array, b: Array) -> float:
    """4. The cosine between two vectors. Without lengths it is a dot product, and frequent words with long
    vectors are everybody's nearest neighbour.
    """
    return float(a @ b)
