"""Exercises of the lesson word-vectors. Correct each function, then run: dlbox workshop check word-vectors"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def analogy(vectors: Array, a: int, a2: int, b: int) -> int:
    """1. Row of the answer to "a is to a2 as b is to ...?", as in "man is to woman as king is to ...?": add the
    difference between woman and man to king. The nearest vector is often a word of the question, and this
    function returns it. Usual scores exclude the three words of the question.
    """
    near = vectors @ (vectors[a2] - vectors[a] + vectors[b])
    return int(np.argmax(near))


def token_numbers(text: str, vocabulary: list[str], length: int) -> list[int]:
    """2. The input of an Embedding layer: the number of each word (its position in ``vocabulary``, from 1), with 0
    as padding *before* the text up to ``length``. Three scripts of a class used this bag of words instead: the
    shapes are right, but the model learns almost nothing.
    """
    bag = [int(word in text.split()) for word in vocabulary]
    return ([0] * length + bag)[-length:]


def glove_weight(count: float, cap: float = 50.0) -> float:
    """3. The weight of a pair that occurred ``count`` times: (count / cap)^0.75, at most 1. Here very frequent
    pairs such as "of the" outweigh all others.
    """
    return float((count / cap) ** 0.75)


def cosine(a: Array, b: Array) -> float:
    """4. The cosine of the angle between two vectors. Without dividing by the lengths it is a dot product, and
    frequent words with long vectors are the nearest neighbours of all words.
    """
    return float(a @ b)


def baseline(vectors: Array, a: int, a2: int, b: int) -> int:
    """5. The baseline of an analogy: the row nearest to b alone, *excluding the same words* as the analogy does.
    This function excludes only b. It may return a or a2, which are never the answer, so the baseline is too low.
    """
    near = vectors @ vectors[b]
    near[b] = -np.inf
    return int(np.argmax(near))


def ppmi(counts: Array) -> Array:
    """6. How much more often a word and a context occur together than by chance: the larger of 0 and ln(n(w,c) N /
    (n(w) n(c))), for all ``counts`` (words, contexts); N is the sum of all counts, n(w) that of a row, n(c) that
    of a column. This function returns the logarithm of the count, which is large for everything frequent. A pair
    that never occurs has the value 0, not minus infinity.
    """
    return np.log1p(counts)
