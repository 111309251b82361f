"""Data and clock of the raw loops."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from workshops.data import sentiment_grammar


def batches(name: str) -> tuple[Any, Any]:
    """Tokens int32 (2048, length) and labels float32 (2048,): the data of the workload ``name``."""
    made = sentiment_grammar.make(2048, length=1000 if name == "cnn" else 300, seed=0)
    return made.tokens.astype(np.int32), made.labels.astype(np.float32)


def clock(
    step: Callable[[int], Any], examples: int, seconds: float, wait: Callable[[Any], Any] = lambda x: x
) -> float:
    """Median samples/s over blocks of half a second, after 20 steps; ``step`` takes the first example's place."""
    place, rates = 0, []
    last: Any = None

    def go(steps: int) -> None:
        nonlocal place, last
        for _ in range(steps):
            last = step(place)
            place = (place + 32) % examples
        wait(last)

    go(10)
    begun = time.perf_counter()
    go(10)
    size = max(1, round(5 / (time.perf_counter() - begun)))
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        mark = time.perf_counter()
        go(size)
        rates.append(size * 32 / (time.perf_counter() - mark))
    return statistics.median(rates)
