# %% [markdown]
# # By hand, third page: the GRU
# The GRU has two gates, and its output is its state. The slide and Keras define it differently; both are correct.

# %%
from __future__ import annotations

import keras
import numpy as np

from workshops.lessons.by_hand.rnn import sigmoid
from workshops.models.against_keras import Array, difference, in_keras, over_time, random_weights
from workshops.player.page import LessonPage

# %% [markdown]
# ## The GRU cell
# The slide and Keras differ in two points. The slide computes h' = (1 - z) h + z h~, Keras h' = z h + (1 - z) h~:
# its z is 1 minus the z of the slide. And the slide applies the reset gate *before* the matrix product; Keras
# applies it after the product by default (`reset_after=True`, as cuDNN does) and has a second bias.

# %%
SLIDE_EQUATIONS = (
    "z  = sigmoid(W_z x + U_z h + b_z)          update",
    "r  = sigmoid(W_r x + U_r h + b_r)          reset",
    "h~ = tanh(W_h x + U_h (r h) + b_h)         candidate: reset before the product",
    "h' = (1 - z) h + z h~                      z: share of the new value",
)
KERAS_EQUATIONS = (
    "z  = sigmoid(W_z x + b_z + U_z h + d_z)    update",
    "r  = sigmoid(W_r x + b_r + U_r h + d_r)    reset",
    "h~ = tanh(W_h x + b_h + r (U_h h + d_h))   candidate: reset after the product",
    "h' = z h + (1 - z) h~                      z: share of the old value",
)
Gates = tuple[Array, Array, Array]


def slide_gates(x: Array, h: Array, weights: list[Array]) -> Gates:
    """x (batch, inputs), h (batch, units) -> z, r, h~ (batch, units) each; one bias (3 x units)."""
    (wz, wr, wh), (uz, ur, uh), (bz, br, bh) = (np.split(w, 3, axis=-1) for w in weights)
    z, r = sigmoid(x @ wz + h @ uz + bz), sigmoid(x @ wr + h @ ur + br)
    return z, r, np.tanh(x @ wh + (r * h) @ uh + bh)


def slide_gru_step(x: Array, h: Array, weights: list[Array]) -> Array:
    """The slide's new h (batch, units)."""
    z, _, new = slide_gates(x, h, weights)
    return np.asarray((1 - z) * h + z * new)


def keras_gates(x: Array, h: Array, weights: list[Array]) -> Gates:
    """z, r, h~ as in Keras; bias (2, 3 x units): for the input (b), for the state (d)."""
    kernel, recurrent, bias = weights
    xz, xr, xh = np.split(x @ kernel + bias[0], 3, axis=-1)
    hz, hr, hh = np.split(h @ recurrent + bias[1], 3, axis=-1)
    z, r = sigmoid(xz + hz), sigmoid(xr + hr)
    return z, r, np.tanh(xh + r * hh)


def gru_step(x: Array, h: Array, weights: list[Array]) -> Array:
    """The new h (batch, units) of Keras, with the layer's defaults."""
    z, _, new = keras_gates(x, h, weights)
    return np.asarray(z * h + (1 - z) * new)


def complement(weights: list[Array]) -> list[Array]:
    """The same weights with 1 - z in place of z, since sigmoid(-a) = 1 - sigmoid(a)."""
    units = weights[1].shape[0]
    return [np.concatenate([-w[..., :units], w[..., units:]], axis=-1) for w in weights]


# %% [markdown]
# ## One step in numbers
# One input, two units, and the same weights for both forms: first the form of the slide, then that of Keras.


# %%
X, H = np.array([[1.0]]), np.array([[0.5, -0.5]])
KERNEL = np.array([[0.4, -0.2, 0.6, 0.1, 0.5, -0.3]])
RECURRENT = np.array([[0.2, 0.4, -0.6, 0.8, 1.0, 0.2], [0.6, -0.2, 0.4, 0.2, -0.4, 0.6]])
BIAS = np.array([0.1, 0.0, -0.1, 0.2, 0.0, 0.1])


def gru_cell(page: LessonPage) -> None:
    page.heading("The GRU cell, as on the slide")
    one, two = [KERNEL, RECURRENT, BIAS], [KERNEL, RECURRENT, np.stack([BIAS, np.zeros(6)])]
    page.line(f"  x = {X[0]}, h = {H[0]}")
    z, _, new = show(page, SLIDE_EQUATIONS, slide_gates(X, H, one))
    for old, share, other in zip(H[0], z, new, strict=True):
        page.line(
            f"     (1 - {share:.4f}) x {old:g} + {share:.4f} x {other:.4f} = {(1 - share) * old + share * other:.4f}"
        )
    layer = in_keras(keras.layers.GRU(2, reset_after=False), complement(one), X[None], [H])[0]
    page.line(f"  Keras with reset_after=False and 1 - z in place of z: {np.round(layer[0], 4)}")
    page.measure(
        "GRU as on the slide, one step, largest difference", difference(layer, slide_gru_step(X, H, one))
    )
    page.heading("The GRU cell, as in Keras")
    z, _, new = show(page, KERAS_EQUATIONS, keras_gates(X, H, two))
    for old, share, other in zip(H[0], z, new, strict=True):
        page.line(
            f"     {share:.4f} x {old:g} + (1 - {share:.4f}) x {other:.4f} = {share * old + (1 - share) * other:.4f}"
        )
    layer = in_keras(keras.layers.GRU(2), two, X[None], [H])[0]
    page.line(f"  Keras: {np.round(layer[0], 4)}")
    page.measure("GRU of Keras, one step, largest difference", difference(layer, gru_step(X, H, two)))
    before, after = slide_gates(X, H, one)[2], keras_gates(X, H, two)[2]
    page.say(
        f"z and r are equal. The candidates differ: {np.round(before[0], 4)} with the reset before the product, "
        f"{np.round(after[0], 4)} with the reset after it. z = 1 means 'use the new value' on the slide "
        f"and 'keep the "
        "old value' in Keras. Both forms are correct, but weights of one form give wrong results in the other."
    )
    rng = np.random.default_rng(2)
    x, zero, weights = rng.normal(size=(2, 5, 3)), np.zeros((2, 5)), random_weights(rng, 3, 5, 3)
    two = [*weights[:2], np.stack([weights[2], rng.normal(size=15)])]
    layer = in_keras(keras.layers.GRU(5), two, x)[0]
    page.measure("GRU, largest difference", difference(layer, over_time(gru_step, x, zero, two)))
    layer = in_keras(keras.layers.GRU(5, reset_after=False), complement(weights), x)[0]
    slide = over_time(slide_gru_step, x, zero, weights)
    page.measure("GRU as on the slide, largest difference", difference(layer, slide))


def show(page: LessonPage, equations: tuple[str, ...], gates: Gates) -> list[Array]:
    """Print the equations with the values of the gates, one for each unit; returns these values, (units,) each."""
    for equation, values in zip(equations, gates, strict=False):
        page.line(f"  {equation}")
        page.line(f"     = {np.round(values[0], 4)}")
    page.line(f"  {equations[-1]}")
    return [values[0] for values in gates]


# %% [markdown]
# ## LSTM and GRU compared
# How many weights does each of them have? Count the vectors.


# %%
def weights_of_each(page: LessonPage) -> None:
    page.heading("LSTM and GRU compared")
    page.say(
        "An LSTM computes 4 vectors, a GRU 3. With 3 inputs and 5 units each vector has 15 + 25 + 5 weights:"
    )
    layers = {
        "LSTM: 4 (15 + 25 + 5)": keras.layers.LSTM(5),
        "GRU of the books: 3 (15 + 25 + 5)": keras.layers.GRU(5, reset_after=False),
        "GRU of Keras, two biases: 3 (15 + 25 + 10)": keras.layers.GRU(5),
    }
    for text, layer in layers.items():
        layer.build((1, 1, 3))
        page.line(f"  {text} = {page.measure(text.split(':')[0] + ', weights', layer.count_params()):.0f}")


# %% tags=["active-ipynb"]
# for part in (gru_cell, weights_of_each):
#     part(page)
