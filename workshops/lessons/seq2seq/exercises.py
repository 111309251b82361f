"""Exercises of the lesson seq2seq. Mend each function, then run: dlbox workshop check seq2seq"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def distinct(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """1. The first of each sum, in the order given. A published adder keeps 2+3 beside 3+2: one lands in
    training, the other among the held-out questions.
    """
    return list(dict.fromkeys(pairs))


def sums_right(answers: Array, guesses: Array) -> float:
    """2. Share of *sums* that are right; both arrays (sums, symbols). This counts symbols, and flatters."""
    return float(np.mean(answers == guesses))


def decoder_input(answers: Array, start: int) -> Array:
    """3. What the decoder may read while it is trained: at each place the symbol before it, ``start`` first.
    Given this, the decoder learns to copy, scores 100% in training and writes nonsense alone.
    """
    return answers


def question(text: str, length: int) -> str:
    """4. The question filled with blanks to ``length``, then turned round as a whole: "1+20" of length 7
    becomes "   02+1". Here the blanks come between the question and its answer.
    """
    return text[::-1].ljust(length)
