"""Exercises of the lesson text-generation. Correct each function, then run: dlbox workshop check text-generation"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def with_temperature(probabilities: Array, temperature: float) -> Array:
    """1. Probabilities to draw from at a temperature: 0.5 makes likely symbols more likely, 2 makes the
    probabilities more equal. This function does the opposite.
    """
    scores = np.exp(np.log(probabilities) * temperature)
    return np.asarray(scores / scores.sum())


def write(guess: Callable[[list[int]], int], start: list[int], count: int) -> list[int]:
    """2. ``count`` symbols after ``start``; ``guess`` always gets the last len(start) symbols, including those that
    it wrote. Here it always gets the same window and writes the same symbol.
    """
    window = list(start)
    written = []
    for _ in range(count):
        written.append(guess(window))
    return written


def examples(ids: Array, length: int) -> tuple[Array, Array]:
    """3. Consecutive sections of ``length`` symbols, and for each position the symbol to predict. A model trained
    on the result of this function reaches 100% in minutes and has learned nothing.
    """
    starts = np.arange(0, len(ids) - length, length)[:, None] + np.arange(length)
    return ids[starts], ids[starts]


def perplexity(nats: float) -> float:
    """4. Perplexity: the number of equally likely symbols that corresponds to a loss. Keras reports the loss in
    nats (natural logarithm), not in bits. An untrained model with 95 symbols: ln 95 = 4.55 nats, perplexity 95.
    """
    return float(2**nats)


def epoch_to_keep(training: list[float], validation: list[float]) -> int:
    """5. The epoch (counted from 1) whose model should be saved, from the losses after each epoch. A published
    lesson trains 100 epochs although its validation loss was lowest after 25 (0.44, later 0.71), and saves the
    last model, as this function does.
    """
    return len(training)


def table(pair: int, context: int, different: int, shorter: float) -> float:
    """6. Probability of a character after Witten and Bell. It was seen ``pair`` times in this context; the context
    was seen ``context`` times, with ``different`` characters after it; ``shorter`` is the probability with one
    character less of context: (pair + different x shorter) / (context + different). This function gives an
    unseen character the probability 0, hence an infinite loss. Which result is right for a context that was
    never seen?
    """
    return pair / context
