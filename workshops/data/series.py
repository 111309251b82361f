"""Number series for forecasting: real airline passengers, a sine, and a noisy series whose smallest error is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_AIRLINE = """
112 118 132 129 121 135 148 148 136 119 104 118
115 126 141 135 125 149 170 170 158 133 114 140
145 150 178 163 172 178 199 199 184 162 146 166
171 180 193 181 183 218 230 242 209 191 172 194
196 196 236 235 229 243 264 272 237 211 180 201
204 188 235 227 234 264 302 293 259 229 203 229
242 233 267 269 270 315 364 347 312 274 237 278
284 277 317 313 318 374 413 405 355 306 271 306
315 301 356 348 355 422 465 467 404 347 305 336
340 318 362 348 363 435 491 505 404 359 310 337
360 342 406 396 420 472 548 559 463 407 362 405
417 391 419 461 472 535 622 606 508 461 390 432
"""


def airline() -> Values:
    """Airline passengers per month in thousands, 1949 to 1960, (144,): Box and Jenkins' "series G"."""
    return np.array([float(v) for v in _AIRLINE.split()])


def sine(points: int = 1000, *, radians: float = 60.0) -> Values:
    """The sine of ``radians``: (points,)."""
    return np.sin(np.linspace(0.0, radians, points))


@dataclass(frozen=True)
class Noisy:
    """``values`` (points,), and the smallest possible root mean square error of a forecast."""

    values: Values
    floor_rmse: float


def noisy_ar(points: int = 2000, *, seed: int = 0, noise: float = 1.0) -> Noisy:
    """x(t) = 1.6 x(t-1) - 0.9 x(t-2) + noise: an oscillation with a period of about 11 steps.

    The noise is independent at every step, so the best forecast is the sum of the first two terms, and its error is
    the noise: ``floor_rmse`` equals ``noise``. (The roots have modulus 0.949, so the series is stationary; the first
    200 points are discarded.)
    """
    rng = np.random.default_rng(seed)
    x = np.zeros(points + 202)
    shocks = rng.normal(scale=noise, size=len(x))
    for t in range(2, len(x)):
        x[t] = 1.6 * x[t - 1] - 0.9 * x[t - 2] + shocks[t]
    return Noisy(x[202:], noise)


def noisy_ar_best(windowed: Values) -> Values:
    """The best possible forecast of ``noisy_ar`` for each window (rows, length): the formula without noise."""
    best: Values = 1.6 * windowed[:, -1] - 0.9 * windowed[:, -2]
    return best


def linear(windowed: Values, targets: Values) -> Values:
    """Fit an autoregression, AR(length), by least squares: (length + 1,) weights, of which the last is the constant."""
    with_one = np.column_stack([windowed, np.ones(len(windowed))])
    return np.asarray(np.linalg.lstsq(with_one, targets, rcond=None)[0], np.float64)


def linear_forecast(windowed: Values, weights: Values) -> Values:
    """The forecasts of an autoregression with these weights, one per window: (rows,)."""
    forecast: Values = windowed @ weights[:-1] + weights[-1]
    return forecast


def mae(forecast: Values, truth: Values) -> float:
    """Mean absolute error, in the series' own unit."""
    return float(np.mean(np.abs(forecast - truth)))


def rmse(forecast: Values, truth: Values) -> float:
    """Root mean square error, in the series' own unit."""
    return float(np.sqrt(np.mean((forecast - truth) ** 2)))


def windows(series: Sequence[float] | Values, length: int) -> tuple[Values, Values]:
    """All windows of ``length`` points (rows, length), and the point that follows each window (rows,).

    There are len(series) - length windows, including the last one. Raises ValueError if the series is too short for
    one window.
    """
    values = np.asarray(series, np.float64)
    rows = len(values) - length
    if length < 1 or rows < 1:
        raise ValueError(f"a window of {length} and the next point need more than {len(values)} points")
    return np.stack([values[i : i + length] for i in range(rows)]), values[length:].copy()
