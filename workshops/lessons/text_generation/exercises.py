"""Exercises of the lesson text-generation. Mend each, then run: dlbox workshop check text-generation"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def with_temperature(probabilities: Array, temperature: float) -> Array:
    """1. Probabilities to draw from at a temperature: 0.5 makes the likely likelier, 2 flattens. This one is
    upside down: at 0.5 it babbles, at 2 it repeats itself.
    """
    scores = np.exp(np.log(probabilities) * temperature)
    return np.asarray(scores / scores.sum())


def write(guess: Callable[[list[int]], int], start: list[int], count: int) -> list[int]:
    """2. ``count`` symbols after ``start``; ``guess`` always gets the last len(start) symbols, its own
    included. Here it gets the same window for ever, and writes one symbol over and over.
    """
    window = list(start)
    written = []
    for _ in range(count):
        written.append(guess(window))
    return written


def examples(ids: Array, length: int) -> tuple[Array, Array]:
    """3. Stretches of ``length`` symbols side by side, and for each place the symbol to guess. A model
    trained on these scores 100% within minutes, and knows nothing.
    """
    starts = np.arange(0, len(ids) - length, length)[:, None] + np.arange(length)
    return ids[starts], ids[starts]


def perplexity(nats: float) -> float:
    """4. Between how many equally likely symbols does a model with this loss waver? Keras reports the loss in
    nats (natural logarithms), not in bits. An untrained model over 95 symbols: ln 95 = 4.55 nats, 95.
    """
    return float(2**nats)


def epoch_to_keep(training: list[float], held_out: list[float]) -> int:
    """5. After which epoch (counted from 1) a model is worth keeping; losses after each. A published lesson trains
    to epoch 100 although its held-out loss was lowest after 25 (0.44, then 0.71), and keeps the last. So does this.
    """
    return len(training)


def table(pair: int, context: int, different: int, shorter: float) -> float:
    """6. Witten and Bell's share of a character: seen ``pair`` times after these characters, which were seen
    ``context`` times, with ``different`` characters after them; ``shorter`` is what one character less says:
    (pair + different x shorter) / (context + different). Without it, what was never seen has the share 0 and costs
    an infinite loss; and what comes after characters never seen before?
    """
    return pair / context
