"""Tests of the exercises of the lesson text-generation."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_1_with_temperature(learner: Any) -> None:
    p = np.array([0.5, 0.25, 0.25])
    cold, hot = learner.with_temperature(p, 0.5), learner.with_temperature(p, 2.0)
    assert np.allclose(learner.with_temperature(p, 1.0), p), "temperature 1 changes nothing"
    assert cold[0] > 0.5, f"at temperature 0.5 the likeliest gets {cold[0]:.2f}; it should get 0.67"
    assert np.allclose(cold, [2 / 3, 1 / 6, 1 / 6]), "temperature 0.5 squares the probabilities"
    assert hot[0] < 0.5, "temperature 2 flattens"


def check_2_write(learner: Any) -> None:
    got = list(learner.write(lambda window: (window[-1] + window[0]) % 10, [1, 2, 3], 5))
    assert got == [4, 6, 9, 3, 9], f"with a window that moves: 4 6 9 3 9; yours writes {got}"


def check_3_examples(learner: Any) -> None:
    x, y = learner.examples(np.arange(10), 4)
    assert np.asarray(x).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]], "the inputs were right: leave them"
    assert np.asarray(y).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]], (
        "at each place the *next* symbol is to guess"
    )


def check_4_perplexity(learner: Any) -> None:
    got = learner.perplexity(float(np.log(95)))
    assert abs(got - 95) < 1e-6, f"ln 95 nats are 95 equally likely symbols, yours says {got:.1f}"
