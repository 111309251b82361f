"""Exercises of the lesson by-hand. Correct each function, then run: dlbox workshop check by-hand"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def rnn_step(x: float, h: float, w_input: float, w_state: float) -> float:
    """1. One recurrent neuron. With x = 3, h = 0.4 and the weights 0.4 (input) and 0.2 (state) the slide gets
    tanh(1.28). This function does not: which number belongs to which weight?
    """
    return float(np.tanh(w_state * x + w_input * h))


def lstm_step(c: float, f: float, i: float, g: float, o: float) -> tuple[float, float]:
    """2. The new (output, cell state) of an LSTM cell, computed from its gates. A well-known course published a
    cell that returned its state as its output, as this function does.
    """
    c = f * c + i * g
    return o * c, c


def gru_mix(h: float, candidate: float, z: float) -> float:
    """3. The new state of a GRU *as Keras computes it*, from the old state, the candidate and the update gate z.
    This is the formula of the slide; with the weights of a Keras model it exchanges the old state and the
    candidate.
    """
    return (1 - z) * h + z * candidate


def gru_weights(inputs: int, units: int, *, reset_after: bool) -> int:
    """4. The number of weights of a GRU layer. This is the formula of textbooks. The default of Keras
    (``reset_after=True``, as in cuDNN) has a second bias. With 3 inputs and 5 units the results are 135 and 150.
    """
    return 3 * (inputs * units + units * units + units)


def conv1d(x: Array, kernel: Array) -> Array:
    """5. A Conv1D with one filter and no bias: x (words, channels), kernel (width, channels) -> one number per
    window. The slide keeps the channels separate; Conv1D sums over them.
    """
    width = len(kernel)
    return np.array([np.sum(x[i : i + width] * kernel, axis=0) for i in range(len(x) - width + 1)])
