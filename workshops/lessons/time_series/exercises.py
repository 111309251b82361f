"""Exercises of the lesson time-series. Correct each function, then run: dlbox workshop check time-series"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def windows(series: Array, length: int) -> tuple[Array, Array]:
    """1. All windows of ``length`` points, and the point after each. The loop of the class omits one window."""
    rows = range(len(series) - length - 1)
    return np.array([series[i : i + length] for i in rows]), np.array([series[i + length] for i in rows])


def test_part(series: Array, length: int, split: int) -> Array:
    """2. The part of the series whose windows have exactly the labels split, split + 1 ... to the end. The inputs
    may overlap the training part, the labels may not. A published script starts the part here:
    """
    return series[split - length - 2 :]


def scaled(series: Array, split: int) -> Array:
    """3. The series scaled so that the *training* part (before ``split``) has the range 0 to 1. This function uses
    the largest value of the future.
    """
    low, high = np.min(series), np.max(series)
    return np.asarray((series - low) / (high - low))


def ahead(known: Array, truth: Array, length: int, forecast: Callable[[Array], float]) -> list[float]:
    """4. Forecasts for as many points as ``truth`` has, from the ``known`` points alone: each forecast is the
    newest input of the next one. The forecasts of this function look very good on a plot, because it uses the
    true values.
    """
    points = list(known)
    forecasts = []
    for real in truth:
        forecasts.append(forecast(np.array(points[-length:])))
        points.append(real)
    return forecasts


def persistence_error(series: Array, split: int) -> float:
    """5. Mean absolute error, from point ``split`` on, of the forecast "same as the point before". For the airline
    months with split 100 it is 41.7. The error of this function is 0.
    """
    truth = series[split:]
    forecast = series[split:]
    return float(np.mean(np.abs(truth - forecast)))
