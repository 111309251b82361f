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
    got = list(learner.write(lambda window: window[0] + 1, [5, 7], 4))
    assert got == [6, 8, 7, 9], f"one more than the oldest of two: 6 8 7 9; yours writes {got}"


def check_3_examples(learner: Any) -> None:
    x, y = learner.examples(np.arange(10), 4)
    assert np.asarray(x).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]], "the inputs were right: leave them"
    assert np.asarray(y).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]], (
        "at each place the *next* symbol is to guess"
    )
    x, y = learner.examples(np.array([3, 1, 4, 1, 5]), 2)
    assert np.asarray(x).tolist() == [[3, 1], [4, 1]], "of 3 1 4 1 5: the inputs 3 1 and 4 1"
    assert np.asarray(y).tolist() == [[1, 4], [1, 5]], "of 3 1 4 1 5: the targets 1 4 and 1 5"


def check_4_perplexity(learner: Any) -> None:
    got = learner.perplexity(float(np.log(95)))
    assert abs(got - 95) < 1e-6, f"ln 95 nats are 95 equally likely symbols, yours says {got:.1f}"
    got = learner.perplexity(0.0)
    assert abs(got - 1) < 1e-9, f"a model that is always sure wavers between 1 symbol, yours says {got:.1f}"


def check_5_epoch_to_keep(learner: Any) -> None:
    got = learner.epoch_to_keep([0.9, 0.5, 0.3, 0.2, 0.1], [1.0, 0.6, 0.4358, 0.5, 0.705])
    assert got == 3, f"the held-out loss is lowest after epoch 3, you keep epoch {got}"
    got = learner.epoch_to_keep([0.9, 0.5], [0.8, 0.7])
    assert got == 2, f"where it still falls at the end the last epoch counts, 2, you keep {got}"


def check_6_table(learner: Any) -> None:
    got = learner.table(3, 4, 2, 0.25)
    assert abs(got - 3.5 / 6) < 1e-9, f"(3 + 2 x 0.25) / (4 + 2) is 0.5833, you give {got:.4f}"
    got = learner.table(0, 10, 4, 0.05)
    assert abs(got - 0.2 / 14) < 1e-9, (
        f"never seen here: (0 + 4 x 0.05) / (10 + 4) is 0.0143, you give {got:.4f}"
    )
    got = learner.table(0, 0, 0, 0.3)
    assert abs(got - 0.3) < 1e-9, (
        f"characters never seen before leave the lower order, 0.3, you give {got:.4f}"
    )
