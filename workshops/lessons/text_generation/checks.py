"""Tests of the exercises of the lesson text-generation."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_1_with_temperature(learner: Any) -> None:
    p = np.array([0.5, 0.25, 0.25])
    cold, hot = learner.with_temperature(p, 0.5), learner.with_temperature(p, 2.0)
    assert np.allclose(learner.with_temperature(p, 1.0), p), "temperature 1 should change nothing"
    assert cold[0] > 0.5, (
        f"at temperature 0.5 the most likely symbol has probability {cold[0]:.2f}; it should be 0.67"
    )
    assert np.allclose(cold, [2 / 3, 1 / 6, 1 / 6]), "temperature 0.5 should square the probabilities"
    assert hot[0] < 0.5, "temperature 2 should make the probabilities more equal"


def check_2_write(learner: Any) -> None:
    got = list(learner.write(lambda window: (window[-1] + window[0]) % 10, [1, 2, 3], 5))
    assert got == [4, 6, 9, 3, 9], (
        f"with a moving window the written symbols should be 4 6 9 3 9, yours are {got}"
    )
    got = list(learner.write(lambda window: window[0] + 1, [5, 7], 4))
    assert got == [6, 8, 7, 9], (
        f"a model that adds 1 to the older of two symbols should write 6 8 7 9, yours wrote {got}"
    )


def check_3_examples(learner: Any) -> None:
    x, y = learner.examples(np.arange(10), 4)
    assert np.asarray(x).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]], (
        "the inputs of the given function were right; leave them unchanged"
    )
    assert np.asarray(y).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]], (
        "the target at each position is the *next* symbol"
    )
    x, y = learner.examples(np.array([3, 1, 4, 1, 5]), 2)
    assert np.asarray(x).tolist() == [[3, 1], [4, 1]], (
        "for the symbols 3 1 4 1 5 the inputs should be 3 1 and 4 1"
    )
    assert np.asarray(y).tolist() == [[1, 4], [1, 5]], (
        "for the symbols 3 1 4 1 5 the targets should be 1 4 and 1 5"
    )


def check_4_perplexity(learner: Any) -> None:
    got = learner.perplexity(float(np.log(95)))
    assert abs(got - 95) < 1e-6, f"the perplexity of a loss of ln 95 nats should be 95, yours is {got:.1f}"
    got = learner.perplexity(0.0)
    assert abs(got - 1) < 1e-9, f"the perplexity of a loss of 0 should be 1, yours is {got:.1f}"


def check_5_epoch_to_keep(learner: Any) -> None:
    got = learner.epoch_to_keep([0.9, 0.5, 0.3, 0.2, 0.1], [1.0, 0.6, 0.4358, 0.5, 0.705])
    assert got == 3, f"the validation loss is lowest after epoch 3, yours is epoch {got}"
    got = learner.epoch_to_keep([0.9, 0.5], [0.8, 0.7])
    assert got == 2, f"the validation loss is lowest after the last epoch, 2; yours is {got}"


def check_6_table(learner: Any) -> None:
    got = learner.table(3, 4, 2, 0.25)
    assert abs(got - 3.5 / 6) < 1e-9, f"(3 + 2 x 0.25) / (4 + 2) is 0.5833, got {got:.4f}"
    got = learner.table(0, 10, 4, 0.05)
    assert abs(got - 0.2 / 14) < 1e-9, (
        f"for a character that was not seen in this context, (0 + 4 x 0.05) / (10 + 4) is 0.0143, yours is {got:.4f}"
    )
    got = learner.table(0, 0, 0, 0.3)
    assert abs(got - 0.3) < 1e-9, (
        f"for an unseen context, expected the value of the next shorter context, 0.3, got {got:.4f}"
    )
