"""Exercises of the lesson by-hand. Mend each function, then run: dlbox workshop check by-hand"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def rnn_step(x: float, h: float, w_input: float, w_state: float) -> float:
    """1. One recurrent neuron. With x = 3, h = 0.4 and the weights 0.4 (input) and 0.2 (state) the slide
    gets tanh(1.28). This one does not: which number meets which weight?
    """
    return float(np.tanh(w_state * x + w_input * h))


def lstm_step(c: float, f: float, i: float, g: float, o: float) -> tuple[float, float]:
    """2. New (output, cell state) of an LSTM cell from its gates. A well-known course shipped a cell that
    handed its state out as its output. So does this one.
    """
    c = f * c + i * g
    return o * c, c


def gru_mix(h: float, candidate: float, z: float) -> float:
    """3. The new state of a GRU *as Keras computes it*, from the old state, the candidate and the update
    gate z. This is the slide's formula; loading Keras weights into it swaps memory and novelty.
    """
    return (1 - z) * h + z * candidate


def gru_weights(inputs: int, units: int, *, reset_after: bool) -> int:
    """4. How many weights has a GRU layer? The count below is the textbook's; Keras' default
    (``reset_after=True``, what cuDNN computes) has a second bias. 3 inputs and 5 units: 135 and 150.
    """
    return 3 * (inputs * units + units * units + units)


def conv1d(x: Array, kernel: Array) -> Array:
    """5. A Conv1D with one filter and no bias: x (words, channels), kernel (width, channels) -> one number
    per window. The slide keeps the channels apart; Conv1D does not.
    """
    width = len(kernel)
    return np.array([np.sum(x[i : i + width] * kernel, axis=0) for i in range(len(x) - width + 1)])
