from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workshops.data import series, slides


def test_airline_is_the_published_series() -> None:
    y = series.airline()
    assert (len(y), y.min(), y.max(), y.sum()) == (144, 104, 622, 40_363)
    assert y[:3].tolist() == [112, 118, 132]
    assert y[-1] == 432


@given(
    values=hnp.arrays(np.float64, st.integers(2, 60), elements=st.floats(-1e6, 1e6)),
    length=st.integers(1, 59),
)
def test_windows_cover_the_series(values: np.ndarray, length: int) -> None:
    if length >= len(values):
        with pytest.raises(ValueError, match="a window of"):
            series.windows(values, length)
        return
    rows, labels = series.windows(values, length)
    assert rows.shape == (len(values) - length, length)
    for i, (row, label) in enumerate(zip(rows, labels, strict=True)):
        assert np.array_equal(row, values[i : i + length])
        assert label == values[i + length]
    assert labels[-1] == values[-1]


def test_the_table_of_the_slide() -> None:
    rows, labels = series.windows(slides.SERIES, 10)
    assert labels.tolist() == [62, 74, 78]
    assert rows[2].tolist() == [4, 7, 11, 18, 29, 31, 42, 55, 62, 74]


@pytest.mark.parametrize(
    ("length", "mae", "rmse"),
    [(4, 38.32, 45.13), (12, 15.72, 20.68), (13, 10.75, 14.65), (20, 10.82, 13.87)],
)
def test_autoregression_on_the_airline(length: int, mae: float, rmse: float) -> None:
    x, t = series.windows(series.airline(), length)
    said = series.linear_forecast(x[100 - length :], series.linear(x[: 100 - length], t[: 100 - length]))
    assert series.mae(said, t[100 - length :]) == pytest.approx(mae, abs=0.005)
    assert series.rmse(said, t[100 - length :]) == pytest.approx(rmse, abs=0.005)


def test_two_points_continue_a_sine() -> None:
    x, t = series.windows(series.sine(), 2)
    assert series.rmse(series.linear_forecast(x, series.linear(x[:50], t[:50])), t) < 1e-10


@settings(deadline=None)
@given(seed=st.integers(0, 50))
def test_no_forecast_is_better_than_the_noise_except_by_chance(seed: int) -> None:
    noisy = series.noisy_ar(4000, seed=seed)
    x, t = series.windows(noisy.values, 12)
    assert series.rmse(series.noisy_ar_best(x), t) == pytest.approx(noisy.floor_rmse, rel=0.05)
    line = series.linear_forecast(x[2000:], series.linear(x[:2000], t[:2000]))
    assert series.rmse(line, t[2000:]) > 0.98 * series.rmse(series.noisy_ar_best(x[2000:]), t[2000:])


def test_the_noisy_series_is_stationary() -> None:
    values = series.noisy_ar(20_000).values
    assert np.std(values[:5000]) == pytest.approx(np.std(values[-5000:]), rel=0.2)
    assert np.array_equal(values, series.noisy_ar(20_000).values)
