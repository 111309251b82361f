# %% [markdown]
# # By hand, second page: the LSTM
# Three gates and a state of their own, and what that is good for.

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
# Three gates between 0 and 1 (forget f, input i, output o) and a candidate g between -1 and 1. The cell
# state keeps c' = f c + i g; the output is *not* the state: h' = o tanh(c').


# %%
LSTM_EQUATIONS = (
    "f  = sigmoid(W_f x + U_f h + b_f)   forget: how much of the state stays",
    "i  = sigmoid(W_i x + U_i h + b_i)   input: how much of the candidate comes in",
    "o  = sigmoid(W_o x + U_o h + b_o)   output: how much of the state is shown",
    "g  = tanh(W_g x + U_g h + b_g)      candidate",
    "c' = f c + i g                      state",
    "h' = o tanh(c')                     output",
)


def lstm_step(
    x: Array, state: tuple[Array, Array], weights: list[Array], gate: Callable[[Array], Array] = sigmoid
) -> tuple[Array, Array]:
    """state (h, c), each (batch, units) -> new (h, c). Keras keeps the gates in the order i, f, g, o."""
    kernel, recurrent, bias = weights
    h, c = state
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=-1)
    c = gate(f) * c + gate(i) * np.tanh(g)
    return gate(o) * np.tanh(c), c


def lstm_cell(page: LessonPage) -> None:
    page.heading("The LSTM cell: putting it all together")
    for equation in LSTM_EQUATIONS:
        page.line(f"  {equation}")
    answers, layers = [], []
    for c, f, i, g in slides.LSTM_ROWS:
        answers.append(f * c + i * g)
        # The same through a Keras LSTM of one unit, its biases chosen so that the gates take these values.
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
    page.say("The second row forgets a tenth of nothing; the third keeps everything and takes nothing in.")
    page.measure("LSTM table, largest difference", difference(np.array(answers), np.ravel(layers)))
    page.say(
        f"Output is not state: with c' = {answers[2]:.1f} and the output gate half open, "
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
# Early Keras used straight lines in place of the sigmoid because they are cheap. The line has changed: a
# model saved then and loaded now with "hard_sigmoid" gates computes something else.


# %%
def keras_3(x: Array) -> Array:
    """A slope of 1/6: reaches 0 at -3 and 1 at 3."""
    return np.asarray(np.clip(x + 3, 0, 6) / 6)


def keras_2(x: Array) -> Array:
    """A slope of 1/5: reaches 0 at -2.5 and 1 at 2.5."""
    return np.asarray(np.clip(0.2 * x + 0.5, 0, 1))


def keras_2_now(x: Any) -> Any:
    """Keras 2's line for a layer of Keras 3: its gates take any function."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def hard_sigmoid(page: LessonPage) -> None:
    page.heading("Hard sigmoid")
    x = np.array([-4.0, -1.0, 0.0, 1.0, 2.0, 4.0])
    rows = [tuple(float(v) for v in row) for row in zip(x, sigmoid(x), keras_3(x), keras_2(x), strict=True)]
    page.table(("x", "sigmoid", "Keras 3: relu6(x + 3) / 6", "Keras 2: 0.2 x + 0.5"), rows)
    now = keras.activations.hard_sigmoid(keras.ops.convert_to_tensor(x.astype(np.float32)))
    page.measure("hard sigmoid, largest difference", difference(keras.ops.convert_to_numpy(now), keras_3(x)))
    page.say(
        f"At 1: {keras_3(np.array(1.0)):.4f} now, {keras_2(np.array(1.0)):.1f} then. An LSTM with either:"
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
    page.line(f"  the two differ by up to {page.measure('hard sigmoid: Keras 3 against Keras 2', gap):.3f}")


# %% [markdown]
# ## Why simple RNNs forget
# Nudge the state a little, and see how much of the nudge is left k steps later: that is the gradient
# through time. (The nudge is an imaginary number of size 1e-30, so the answer is exact to rounding.)


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
    with page.figure("forgetting", "How much of a nudge is left") as axes:
        for name, sizes in lines.items():
            axes.semilogy(sizes, label=name)
            page.measure(f"{name}: left after {steps} steps", float(sizes[-1]))
        axes.set_xlabel("steps later")
        axes.legend()
    page.say(
        "Each step of a simple RNN multiplies the nudge by w (1 - h^2), nearly always less than 1. The LSTM "
        "multiplies it by the forget gate. As Keras starts it (bias 1) that gate is 0.73 and forgets too; "
        "only a gate that training has opened (bias 4: 0.98) carries a word across a page."
    )


# %% tags=["active-ipynb"]
# for part in (lstm_cell, hard_sigmoid, forgetting):
#     part(page)
