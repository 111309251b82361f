"""Solutions of the exercises of the lesson by-hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def rnn_step(x: float, h: float, w_input: float, w_state: float) -> float:
    """The input is multiplied by the weight of the input. (A state of 3 is impossible: it is an output of tanh.)"""
    return float(np.tanh(w_input * x + w_state * h))


def lstm_step(c: float, f: float, i: float, g: float, o: float) -> tuple[float, float]:
    """The output is o tanh(c), between -1 and 1 for every cell state."""
    c = f * c + i * g
    return float(o * np.tanh(c)), c


def gru_mix(h: float, candidate: float, z: float) -> float:
    """In Keras z is the share of the old state."""
    return z * h + (1 - z) * candidate


def gru_weights(inputs: int, units: int, *, reset_after: bool) -> int:
    """With the reset gate after the product, each of the three vectors has two biases."""
    biases = 2 if reset_after else 1
    return 3 * (inputs * units + units * units + biases * units)


def conv1d(x: Array, kernel: Array) -> Array:
    """The sum runs over the width *and* the channels."""
    width = len(kernel)
    return np.array([np.sum(x[i : i + width] * kernel) for i in range(len(x) - width + 1)])
