"""Exercises of the lesson word-vectors. Mend each function, then run: dlbox workshop check word-vectors"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def analogy(vectors: Array, a: int, a2: int, b: int) -> int:
    """1. Row of the answer to "a is to a2 as b is to ...?". man is to woman as king is to ... : walk from man to
    woman, and as far again from king. What lies nearest there is often a word of the question, and this one answers
    with it: everybody's scores leave the question's three words out.
    """
    near = vectors @ (vectors[a2] - vectors[a] + vectors[b])
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


def baseline(vectors: Array, a: int, a2: int, b: int) -> int:
    """5. What an analogy has to beat: the row nearest to b alone, *with the same words left out* as in the analogy.
    Here only b is: a and a2 may be the answer, which they never are, so the bar is too low.
    """
    near = vectors @ vectors[b]
    near[b] = -np.inf
    return int(np.argmax(near))


def ppmi(counts: Array) -> Array:
    """6. How much oftener word and context meet than by chance: the larger of 0 and ln(n(w,c) N / (n(w) n(c))), all
    of ``counts`` (words, contexts); N is their sum, n(w) that of a row, n(c) that of a column. This is the logarithm
    of the count: whatever is frequent is large. A pair that never met is 0 too, not minus infinity.
    """
    return np.log1p(counts)
