"""Tests of the exercises of the lesson by-hand."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_1_rnn_step(learner: Any) -> None:
    got = learner.rnn_step(3.0, 0.4, 0.4, 0.2)
    assert abs(got - np.tanh(1.28)) < 1e-9, f"tanh(0.4 x 3 + 0.2 x 0.4) is 0.8565, rnn_step gives {got:.4f}"
    got = learner.rnn_step(-0.5, 1.0, 2.0, 0.25)
    assert abs(got - np.tanh(-0.75)) < 1e-9, f"tanh(2 x -0.5 + 0.25 x 1) is -0.6351, rnn_step gives {got:.4f}"


def check_2_lstm_step(learner: Any) -> None:
    output, state = learner.lstm_step(1.0, 1.0, 0.0, 0.6, 0.5)
    assert state == 1.0, f"the cell state should be 1.0, not {state}"
    assert abs(output - 0.5 * np.tanh(1.0)) < 1e-9, (
        f"the output should be 0.5 x tanh(1.0) = 0.3808, not {output:.4f}"
    )
    output, state = learner.lstm_step(0.5, 0.4, 1.0, -0.6, 1.0)
    assert abs(state + 0.4) < 1e-9, f"0.4 x 0.5 + 1 x -0.6 is -0.4, your cell state is {state:.4f}"
    assert abs(output - np.tanh(-0.4)) < 1e-9, f"the output should be tanh(-0.4) = -0.3799, not {output:.4f}"
    output, _ = learner.lstm_step(40.0, 1.0, 1.0, 1.0, 1.0)
    assert abs(output) <= 1, (
        f"a cell state of 41 gave the output {output}: outputs should be between -1 and 1"
    )


def check_3_gru_mix(learner: Any) -> None:
    assert learner.gru_mix(1.0, 5.0, 1.0) == 1.0, "with z = 1 the result in Keras is the old state"
    assert learner.gru_mix(1.0, 5.0, 0.0) == 5.0, "with z = 0 the result in Keras is the candidate"


def check_4_gru_weights(learner: Any) -> None:
    got = (learner.gru_weights(3, 5, reset_after=False), learner.gru_weights(3, 5, reset_after=True))
    assert got == (135, 150), (
        f"3 inputs and 5 units have 135 and 150 weights; yours are {got[0]} and {got[1]}"
    )


def check_5_conv1d(learner: Any) -> None:
    movie = np.array(
        [[0.4, 23.4, -0.6, -2.4], [9.7, 5.4, -9.4, -1.2], [-0.7, -5.2, -2.1, -0.9], [0.4, -3.2, -9.9, -1.9]]
    )
    got = np.asarray(learner.conv1d(movie, np.tile([[0.2], [0.3], [0.2]], 4)))
    assert got.shape == (2,), f"four words and width 3 make 2 numbers, not an array of shape {got.shape}"
    assert np.allclose(got, [3.73, -4.69]), f"the sums are 3.73 and -4.69; yours are {got}"
    got = np.asarray(learner.conv1d(movie, np.tile([[0.3], [0.3], [0.1]], 4)))
    assert np.allclose(got, [6.7, -2.78]), (
        f"with the weights .3 .3 .1 the sums are 6.70 and -2.78; yours are {got}"
    )
