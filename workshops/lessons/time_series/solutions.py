"""Solutions of the exercises of the lesson time-series."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def windows(series: Array, length: int) -> tuple[Array, Array]:
    """There are n - length windows: the last one ends before the last point."""
    rows = range(len(series) - length)
    return np.array([series[i : i + length] for i in rows]), np.array([series[i + length] for i in rows])


def test_part(series: Array, length: int, split: int) -> Array:
    """The first window needs ``length`` points before its label, and its label is ``split``."""
    return series[split - length :]


def scaled(series: Array, split: int) -> Array:
    """The scale is computed from the training part alone; later values may be above 1."""
    low, high = np.min(series[:split]), np.max(series[:split])
    return np.asarray((series - low) / (high - low))


def ahead(known: Array, truth: Array, length: int, forecast: Callable[[Array], float]) -> list[float]:
    """Each forecast becomes an input."""
    points = list(known)
    for _ in truth:
        points.append(forecast(np.array(points[-length:])))
    return points[len(known) :]


def persistence_error(series: Array, split: int) -> float:
    """The forecast for month t is month t - 1."""
    return float(np.mean(np.abs(series[split:] - series[split - 1 : -1])))
