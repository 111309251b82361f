"""Solutions of the exercises of the lesson text-generation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def with_temperature(probabilities: Array, temperature: float) -> Array:
    """p^(1/T): the logarithm is divided by the temperature."""
    scores = np.exp(np.log(probabilities) / temperature)
    return np.asarray(scores / scores.sum())


def write(guess: Callable[[list[int]], int], start: list[int], count: int) -> list[int]:
    """The oldest symbol is removed, the new one is appended."""
    window = list(start)
    written = []
    for _ in range(count):
        written.append(guess(window))
        window = [*window[1:], written[-1]]
    return written


def examples(ids: Array, length: int) -> tuple[Array, Array]:
    """The target is the same section one symbol later."""
    starts = np.arange(0, len(ids) - length, length)[:, None] + np.arange(length)
    return ids[starts], ids[starts + 1]


def perplexity(nats: float) -> float:
    """e to the power of the loss."""
    return float(np.exp(nats))


def epoch_to_keep(training: list[float], validation: list[float]) -> int:
    """The training loss always falls; the validation loss shows when to stop."""
    return int(np.argmin(validation)) + 1


def table(pair: int, context: int, different: int, shorter: float) -> float:
    """The more different characters follow a context, the larger is the weight of the shorter context; an unseen
    context leaves only the shorter one.
    """
    return (pair + different * shorter) / (context + different) if context else shorter
