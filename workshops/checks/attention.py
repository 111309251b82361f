"""Tests of the exercises of the lesson attention."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_1_looks(learner: Any) -> None:
    rng = np.random.default_rng(0)
    got = np.asarray(learner.looks(rng.normal(size=(3, 4)), rng.normal(size=(5, 4))))
    assert got.shape == (3, 5), f"3 words that look at 5: shape (3, 5), not {got.shape}"
    assert np.allclose(got.sum(axis=1), 1), (
        f"each row should sum to 1, yours sum to {np.round(got.sum(axis=1), 2)}"
    )


def check_2_masked(learner: Any) -> None:
    got = np.asarray(learner.masked(np.array([1.0, 1.0, 9.0]), np.array([False, False, True])))
    assert got[2] == 0, f"the padding gets a weight of {got[2]:.2f}, it should get none"
    assert np.allclose(got[:2], 0.5), "the two words share the weight"


def check_3_scaled(learner: Any) -> None:
    rng = np.random.default_rng(0)
    for d in (4, 64, 1024):
        spread = float(np.std(learner.scaled(rng.normal(size=(80, d)), rng.normal(size=(80, d)))))
        assert 0.9 < spread < 1.1, f"with d = {d} the scores spread by {spread:.1f}, it should be 1"


def check_4_places(learner: Any) -> None:
    got = np.asarray(learner.places(50, 8))
    assert got.shape == (50, 8), f"the shape should be (50, 8), not {got.shape}"
    assert len(np.unique(np.round(got, 9), axis=0)) == 50, "every place needs a row of its own"
    assert np.allclose(got[1, :2], [np.sin(1), np.cos(1)]), "place 1 begins with sin 1, cos 1"
