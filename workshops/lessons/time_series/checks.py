"""Tests of the exercises of the lesson time-series."""

from __future__ import annotations

from typing import Any

import numpy as np

from workshops.data.series import airline
from workshops.data.slides import SERIES


def check_1_windows(learner: Any) -> None:
    rows, labels = learner.windows(np.array(SERIES), 10)
    assert len(rows) == 3, f"13 points and length 10 make 3 windows, yours are {len(rows)}"
    assert list(labels) == [62, 74, 78], f"the labels are 62, 74 and 78; yours are {list(labels)}"
    assert list(rows[2]) == list(SERIES[2:12]), "the third window should begin at the third point"
    rows, labels = learner.windows(np.array([5.0, 6.0, 8.0, 9.0]), 3)
    assert np.asarray(rows).tolist() == [[5, 6, 8]], "4 points and length 3 make one window"
    assert list(labels) == [9], f"its label is 9, yours is {list(labels)}"


def check_2_test_part(learner: Any) -> None:
    part = np.asarray(learner.test_part(np.arange(144), 4, 100))
    assert len(part) >= 5, f"the part has only {len(part)} points"
    assert part[4] == 100, f"the first label should be month 100; yours is month {part[4]}"
    assert part[-1] == 143, f"the last label should be month 143; yours is month {part[-1]}"
    part = np.asarray(learner.test_part(np.arange(30), 2, 10))
    assert part.tolist() == list(range(8, 30)), (
        f"with length 2 and split 10 the part should have the months 8 to 29, yours has {part.tolist()}"
    )


def check_3_scaled(learner: Any) -> None:
    y = airline()
    out = np.asarray(learner.scaled(y, 100))
    assert abs(out[:100].min()) < 1e-9, "the training part should start at 0"
    assert abs(out[:100].max() - 1) < 1e-9, f"the training part should reach 1, yours {out[:100].max():.3f}"
    assert out[100:].max() > 1, "later months are larger than all training months: they should be above 1"
    out = np.asarray(learner.scaled(np.array([10.0, 30.0, 20.0, 40.0]), 3))
    assert np.allclose(out, [0, 1, 0.5, 1.5]), (
        f"if 10 30 20 is the training part, 10 30 20 40 should become 0 1 0.5 1.5, yours is {out.tolist()}"
    )


def check_4_ahead(learner: Any) -> None:
    forecasts = learner.ahead(
        np.array([1.0, 2.0, 3.0]), np.array([40.0, 50.0, 60.0]), 2, lambda w: float(w[-1] + 1)
    )
    assert list(forecasts) == [4.0, 5.0, 6.0], (
        f"a model that adds 1, started with 1 2 3, should forecast 4 5 6, not {list(forecasts)}: "
        "does your function use the true values?"
    )
    forecasts = learner.ahead(np.array([1.0, 1.0]), np.array([0.0] * 4), 2, lambda w: float(w.sum()))
    assert list(forecasts) == [2.0, 3.0, 5.0, 8.0], (
        f"a model that adds the last two values, started with 1 1, should forecast 2 3 5 8, not {list(forecasts)}"
    )


def check_5_persistence(learner: Any) -> None:
    got = learner.persistence_error(airline(), 100)
    assert abs(got - 41.727) < 0.01, f"the error is 41.7 thousand passengers, yours is {got:.1f}"
    got = learner.persistence_error(np.array([1.0, 2.0, 4.0, 3.0]), 2)
    assert abs(got - 1.5) < 1e-9, (
        f"for 1 2 4 3 from the third point on, the errors are 2 and 1, so their mean should be 1.5, yours is {got:.1f}"
    )
