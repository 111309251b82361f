"""Exercises of the lesson time-series. Mend each function, then run: dlbox workshop check time-series"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def windows(series: Array, length: int) -> tuple[Array, Array]:
    """1. All windows of ``length`` points, and the point after each. The class's loop loses one."""
    rows = range(len(series) - length - 1)
    return np.array([series[i : i + length] for i in rows]), np.array([series[i + length] for i in rows])


def test_part(series: Array, length: int, split: int) -> Array:
    """2. The stretch of the series whose windows have exactly the labels split, split + 1 ... to the end.
    The inputs may reach back into the training part, the labels may not. A published script cuts here:
    """
    return series[split - length - 2 :]


def scaled(series: Array, split: int) -> Array:
    """3. The series scaled so that the *training* part (before ``split``) runs from 0 to 1. This one knows
    the future's highest value.
    """
    low, high = np.min(series), np.max(series)
    return np.asarray((series - low) / (high - low))


def ahead(known: Array, truth: Array, length: int, forecast: Callable[[Array], float]) -> list[float]:
    """4. Forecasts for as many points as ``truth`` has, from ``known`` points alone: each forecast is the
    newest input of the next. The plot of this version looks wonderful: it peeks.
    """
    points = list(known)
    said = []
    for real in truth:
        said.append(forecast(np.array(points[-length:])))
        points.append(real)
    return said


def persistence_error(series: Array, split: int) -> float:
    """5. Mean absolute error, on the points from ``split`` on, of "as the point before". On the airline
    months with split 100 it is 41.7. This baseline is too good to be true.
    """
    truth = series[split:]
    forecast = series[split:]
    return float(np.mean(np.abs(truth - forecast)))
