"""Exercises of the lesson seq2seq. Correct each function, then run: dlbox workshop check seq2seq"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def distinct(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """1. The first of each sum, in the order given. A published program keeps 2+3 and 3+2: one of them can be in
    the training part and the other in the validation part.
    """
    return list(dict.fromkeys(pairs))


def sums_right(answers: Array, guesses: Array) -> float:
    """2. Share of *sums* that are right; both arrays are (sums, symbols). This function counts symbols, so its
    result is too high.
    """
    return float(np.mean(answers == guesses))


def decoder_input(answers: Array, start: int) -> Array:
    """3. The input of the decoder during training: at each position the symbol before it, at the first position
    ``start``. With the input below, the decoder learns to copy: its training accuracy is 100%, and it cannot
    write an answer alone.
    """
    return answers


def question(text: str, length: int) -> str:
    """4. The question padded with blanks to ``length``, then reversed as a whole: "1+20" with length 7 becomes "
    02+1". Here the blanks come between the question and its answer.
    """
    return text[::-1].ljust(length)
