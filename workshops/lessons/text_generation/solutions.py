"""Solutions of the exercises of the lesson text-generation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def with_temperature(probabilities: Array, temperature: float) -> Array:
    """p^(1/T): the logarithm is divided."""
    scores = np.exp(np.log(probabilities) / temperature)
    return np.asarray(scores / scores.sum())


def write(guess: Callable[[list[int]], int], start: list[int], count: int) -> list[int]:
    """The oldest symbol leaves, the new one enters."""
    window = list(start)
    written = []
    for _ in range(count):
        written.append(guess(window))
        window = [*window[1:], written[-1]]
    return written


def examples(ids: Array, length: int) -> tuple[Array, Array]:
    """The target is the same stretch one symbol later."""
    starts = np.arange(0, len(ids) - length, length)[:, None] + np.arange(length)
    return ids[starts], ids[starts + 1]


def perplexity(nats: float) -> float:
    """e to the loss."""
    return float(np.exp(nats))


def epoch_to_keep(training: list[float], held_out: list[float]) -> int:
    """The training loss falls for ever; the held-out one says when to stop."""
    return int(np.argmin(held_out)) + 1


def table(pair: int, context: int, different: int, shorter: float) -> float:
    """The more characters may follow, the more the shorter context counts; alone where nothing was seen."""
    return (pair + different * shorter) / (context + different) if context else shorter
