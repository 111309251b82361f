# %% [markdown]
# # By hand, second page: the LSTM
# The LSTM has three gates and a cell state beside its output. This page shows what they are for.

# %%
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from workshops.data import slides
from workshops.lessons.by_hand.rnn import rnn_step, sigmoid
from workshops.models.against_keras import (
    Array,
    before_sigmoid,
    difference,
    in_keras,
    nudge_left,
    over_time,
    random_weights,
)
from workshops.player.page import LessonPage

# %% [markdown]
# ## The LSTM cell
# The LSTM has three gates between 0 and 1 (forget f, input i, output o) and a candidate g between -1 and 1. The cell
# state is c' = f c + i g. The output is *not* the cell state: h' = o tanh(c').


# %%
LSTM_EQUATIONS = (
    "f  = sigmoid(W_f x + U_f h + b_f)   forget: share of the old state that remains",
    "i  = sigmoid(W_i x + U_i h + b_i)   input: share of the candidate that is added",
    "o  = sigmoid(W_o x + U_o h + b_o)   output: share of the state in the output",
    "g  = tanh(W_g x + U_g h + b_g)      candidate",
    "c' = f c + i g                      state",
    "h' = o tanh(c')                     output",
)


def lstm_step(
    x: Array, state: tuple[Array, Array], weights: list[Array], gate: Callable[[Array], Array] = sigmoid
) -> tuple[Array, Array]:
    """state (h, c), each (batch, units) -> new (h, c). Order of the gates in Keras: i, f, g, o."""
    kernel, recurrent, bias = weights
    h, c = state
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=-1)
    c = gate(f) * c + gate(i) * np.tanh(g)
    return gate(o) * np.tanh(c), c


def lstm_cell(page: LessonPage) -> None:
    page.heading("The LSTM cell")
    for equation in LSTM_EQUATIONS:
        page.line(f"  {equation}")
    answers, layers = [], []
    for c, f, i, g in slides.LSTM_ROWS:
        answers.append(f * c + i * g)
        # The same in a Keras LSTM of one unit, with biases that give the gates these values.
        bias = np.array([before_sigmoid(i), before_sigmoid(f), np.arctanh(g), 0.0])
        weights = [np.zeros((1, 4)), np.zeros((1, 4)), bias]
        start = [np.zeros((1, 1)), np.array([[c]])]
        layers.append(
            in_keras(keras.layers.LSTM(1, return_state=True), weights, np.zeros((1, 1, 1)), start)[2]
        )
    rows = [(*row, answer) for row, answer in zip(slides.LSTM_ROWS, answers, strict=True)]
    page.table(("c", "f", "i", "g", "c' = f c + i g"), rows)
    for (c, f, i, g), answer in zip(slides.LSTM_ROWS, answers, strict=True):
        page.line(f"  {f:g} x {c:g} + {i:g} x {g:g} = {answer:.2f}")
    page.say(
        "In the second row the old state is 0, so forgetting a tenth changes nothing. The third row "
        "keeps the whole state "
        "and adds nothing."
    )
    page.measure("LSTM table, largest difference", difference(np.array(answers), np.ravel(layers)))
    page.say(
        f"The output differs from the state: with c' = {answers[2]:.1f} and an output gate of 0.5, "
        f"h' = 0.5 x tanh({answers[2]:.1f}) = {0.5 * np.tanh(answers[2]):.4f}."
    )
    rng = np.random.default_rng(1)
    x, zero, weights = rng.normal(size=(2, 5, 3)), np.zeros((2, 5)), random_weights(rng, 3, 5, 4)
    own, layer = (
        over_time(lstm_step, x, (zero, zero), weights)[0],
        in_keras(keras.layers.LSTM(5), weights, x)[0],
    )
    page.measure("LSTM, largest difference", difference(layer, own))


# %% [markdown]
# ## Hard sigmoid
# Early versions of Keras used straight lines instead of the sigmoid, because they are fast to compute. Keras 3 uses
# another slope than Keras 2: an old model with "hard_sigmoid" gates gives other results in Keras 3.


# %%
def keras_3(x: Array) -> Array:
    """A slope of 1/6: reaches 0 at -3 and 1 at 3."""
    return np.asarray(np.clip(x + 3, 0, 6) / 6)


def keras_2(x: Array) -> Array:
    """A slope of 1/5: reaches 0 at -2.5 and 1 at 2.5."""
    return np.asarray(np.clip(0.2 * x + 0.5, 0, 1))


def keras_2_now(x: Any) -> Any:
    """The function of Keras 2 for a layer of Keras 3, whose gates accept any function."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def hard_sigmoid(page: LessonPage) -> None:
    page.heading("Hard sigmoid")
    x = np.array([-4.0, -1.0, 0.0, 1.0, 2.0, 4.0])
    rows = [tuple(float(v) for v in row) for row in zip(x, sigmoid(x), keras_3(x), keras_2(x), strict=True)]
    page.table(("x", "sigmoid", "Keras 3: relu6(x + 3) / 6", "Keras 2: 0.2 x + 0.5"), rows)
    now = keras.activations.hard_sigmoid(keras.ops.convert_to_tensor(x.astype(np.float32)))
    page.measure("hard sigmoid, largest difference", difference(keras.ops.convert_to_numpy(now), keras_3(x)))
    page.say(
        f"At x = 1: {keras_3(np.array(1.0)):.4f} in Keras 3, {keras_2(np.array(1.0)):.1f} in Keras 2. An "
        f"LSTM with each:"
    )
    rng = np.random.default_rng(5)
    steps, zero, weights = rng.normal(size=(2, 5, 3)), np.zeros((2, 5)), random_weights(rng, 3, 5, 4)
    outputs = {}
    for name, line, gate in (("Keras 3", keras_3, "hard_sigmoid"), ("Keras 2", keras_2, keras_2_now)):
        own = over_time(partial(lstm_step, gate=line), steps, (zero, zero), weights)[0]
        layer = in_keras(keras.layers.LSTM(5, recurrent_activation=gate), weights, steps)[0]
        page.measure(f"LSTM, hard sigmoid of {name}, largest difference", difference(layer, own))
        outputs[name] = own
    gap = difference(outputs["Keras 3"], outputs["Keras 2"])
    page.line(
        f"  largest difference of their outputs: {page.measure('hard sigmoid: Keras 3 against Keras 2', gap):.3f}"
    )


# %% [markdown]
# ## Why simple RNNs forget
# Change the state a little and measure how much of the change remains k steps later: this is the gradient through
# time. (The change is an imaginary number of size 1e-30, so the result is exact except for rounding.)


# %%
def forgetting(page: LessonPage, steps: int = 50) -> None:
    page.heading("Why simple RNNs forget")
    rng = np.random.default_rng(3)
    orthogonal = np.linalg.qr(rng.normal(size=(32, 32)))[0]
    simple = [rng.normal(size=(8, 32)) / 6, orthogonal, np.zeros(32)]
    four = [rng.normal(size=(8, 128)) / 6, np.concatenate([orthogonal / 4] * 4, axis=1)]
    lines = {"SimpleRNN": nudge_left(rnn_step, simple, steps)}
    for bias in (1, 4):
        weights = [*four, np.repeat([0.0, bias, 0.0, 0.0], 32)]
        lines[f"LSTM, forget bias {bias}"] = nudge_left(lstm_step, weights, steps, lstm=True)
    with page.figure("forgetting", "Share of a small change of the state that remains") as axes:
        for name, sizes in lines.items():
            axes.semilogy(sizes, label=name)
            page.measure(f"{name}: left after {steps} steps", float(sizes[-1]))
        axes.set_xlabel("steps later")
        axes.legend()
    page.say(
        "Each step of a simple RNN multiplies the change by w (1 - h^2), which is nearly always less than 1. An LSTM "
        "multiplies it by the forget gate. With the initial bias of Keras (1) that gate is 0.73, so the LSTM forgets "
        "too. Only a gate that training has opened further (bias 4: 0.98) keeps a word over many steps."
    )


# %% tags=["active-ipynb"]
# for part in (lstm_cell, hard_sigmoid, forgetting):
#     part(page)
