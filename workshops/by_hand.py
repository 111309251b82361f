# %% [markdown]
# # Inside the cells: every number worked by hand
#
# A recurrent layer is a handful of multiplications, done again for every word. Here each one is done in
# NumPy, with the numbers of the class's slides, and then held against the Keras layer. Where a slide does
# not add up, the page says so.

# %%
from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from workshops import catalog
from workshops.by_hand_text import convolution, pooling, words_and_windows
from workshops.compare import (
    Array,
    before_sigmoid,
    difference,
    in_keras,
    nudge_left,
    over_time,
    random_weights,
)
from workshops.data import slides
from workshops.page import Outcome, Page, Settings

# %% tags=["active-ipynb"]
# from workshops.page import open_page
# page = open_page("by-hand")

# %% [markdown]
# ## One recurrent neuron
# A simple recurrent neuron weighs its input and its own last output, adds, and squashes with tanh:
# h' = tanh(w_h h + w_x x + b). On the slide h = 0.4, x = 3 and the weights are 0.2 and 0.4. To compare,
# `in_keras` puts given weights into a real layer and runs it.


# %%
def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def rnn_step(x: Array, h: Array, weights: list[Array]) -> Array:
    """x (batch, inputs), h (batch, units) -> new h; weights as Keras keeps them: kernel, recurrent, bias."""
    kernel, recurrent, bias = weights
    return np.asarray(np.tanh(x @ kernel + h @ recurrent + bias))


def recurrent_neuron(page: Page) -> None:
    page.heading("One recurrent neuron")
    total = 0.2 * 0.4 + 0.4 * 3
    page.line(f"0.2 x 0.4 + 0.4 x 3 = {total:.2f}")
    page.line(f"tanh({total:.2f}) = {np.tanh(total):.4f}")
    page.say(
        f"The slide prints 0.9: that is {np.tanh(total):.4f} to one digit. It is not the sigmoid, "
        f"which gives {sigmoid(np.array(total)):.2f}. And mind which weight goes where: swapped, the sum is "
        f"{0.4 * 0.4 + 0.2 * 3:.2f} and the output {np.tanh(0.4 * 0.4 + 0.2 * 3):.2f}. The 3 must be the "
        "input: a state that came out of tanh never leaves -1..1."
    )
    weights = [np.array([[0.4]]), np.array([[0.2]]), np.array([0.0])]
    out = in_keras(keras.layers.SimpleRNN(1), weights, np.array([[[3.0]]]), [np.array([[0.4]])])[0]
    page.line(f"Keras says {out.item():.4f}")
    rng = np.random.default_rng(0)
    x, h, weights = rng.normal(size=(2, 5, 3)), np.zeros((2, 5)), random_weights(rng, 3, 5)
    layer = in_keras(keras.layers.SimpleRNN(5), weights, x)[0]
    page.say("A state of 5 numbers is the same with matrices: 3 inputs x 5 + 5 states x 5 + 5 = 45 weights.")
    page.measure("SimpleRNN, largest difference", difference(layer, over_time(rnn_step, x, h, weights)))


# %% [markdown]
# ## The LSTM cell
# Three gates between 0 and 1 (forget f, input i, output o) and a candidate g between -1 and 1. The cell
# state keeps c' = f c + i g; the output is *not* the state: h' = o tanh(c').


# %%
def lstm_step(x: Array, state: tuple[Array, Array], weights: list[Array]) -> tuple[Array, Array]:
    """state (h, c), each (batch, units) -> new (h, c). Keras keeps the gates in the order i, f, g, o."""
    kernel, recurrent, bias = weights
    h, c = state
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def lstm_cell(page: Page) -> None:
    page.heading("The LSTM cell: putting it all together")
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
def hard_sigmoid(page: Page) -> None:
    page.heading("Hard sigmoid")
    x = np.array([-4.0, -1.0, 0.0, 1.0, 2.0, 4.0])
    keras_3 = np.clip(x + 3, 0, 6) / 6
    keras_2 = np.clip(0.2 * x + 0.5, 0, 1)
    rows = [tuple(float(v) for v in row) for row in zip(x, sigmoid(x), keras_3, keras_2, strict=True)]
    page.table(("x", "sigmoid", "Keras 3: relu6(x + 3) / 6", "Keras 2: 0.2 x + 0.5"), rows)
    now = keras.activations.hard_sigmoid(keras.ops.convert_to_tensor(x.astype(np.float32)))
    page.measure("hard sigmoid, largest difference", difference(keras.ops.convert_to_numpy(now), keras_3))


# %% [markdown]
# ## The GRU cell
# Two gates and no separate cell state. Two things differ between the slide and Keras. The slide mixes
# h' = (1 - z) h + z h~, Keras h' = z h + (1 - z) h~: its z is the other one's complement. And the slide
# applies the reset gate *before* the matrix product; Keras by default after it (`reset_after=True`, which
# is what cuDNN does), with a second bias.


# %%
def gru_step(x: Array, h: Array, weights: list[Array]) -> Array:
    """Keras' default. Gates in the order z, r, h~; bias (2, 3 x units): for the input, for the state."""
    kernel, recurrent, bias = weights
    xz, xr, xh = np.split(x @ kernel + bias[0], 3, axis=-1)
    hz, hr, hh = np.split(h @ recurrent + bias[1], 3, axis=-1)
    z, r = sigmoid(xz + hz), sigmoid(xr + hr)
    return np.asarray(z * h + (1 - z) * np.tanh(xh + r * hh))


def slide_gru_step(x: Array, h: Array, weights: list[Array]) -> Array:
    """The slide's: h' = (1 - z) h + z h~, reset before the product, one bias (3 x units)."""
    (wz, wr, wh), (uz, ur, uh), (bz, br, bh) = (np.split(w, 3, axis=-1) for w in weights)
    z, r = sigmoid(x @ wz + h @ uz + bz), sigmoid(x @ wr + h @ ur + br)
    return np.asarray((1 - z) * h + z * np.tanh(x @ wh + (r * h) @ uh + bh))


def gru_cell(page: Page) -> None:
    page.heading("The GRU cell")
    rng = np.random.default_rng(2)
    x, zero, weights = rng.normal(size=(2, 5, 3)), np.zeros((2, 5)), random_weights(rng, 3, 5, 3)
    two_biases = [*weights[:2], np.stack([weights[2], rng.normal(size=15)])]
    layer = in_keras(keras.layers.GRU(5), two_biases, x)[0]
    page.measure("GRU, largest difference", difference(layer, over_time(gru_step, x, zero, two_biases)))
    # sigmoid(-a) = 1 - sigmoid(a): the complement of z is its weights with the sign turned.
    turned = [np.concatenate([-w[..., :5], w[..., 5:]], axis=-1) for w in weights]
    layer = in_keras(keras.layers.GRU(5, reset_after=False), turned, x)[0]
    slide = over_time(slide_gru_step, x, zero, weights)
    page.measure("GRU as on the slide, largest difference", difference(layer, slide))
    page.say("4 vectors in an LSTM, 3 in a GRU. With 3 inputs and 5 units, each needs 15 + 25 + 5 weights:")
    layers = {
        "LSTM: 4 (15 + 25 + 5)": keras.layers.LSTM(5),
        "GRU of the books: 3 (15 + 25 + 5)": keras.layers.GRU(5, reset_after=False),
        "GRU of Keras, two biases: 3 (15 + 25 + 10)": keras.layers.GRU(5),
    }
    for text, layer in layers.items():
        layer.build((1, 1, 3))
        page.line(f"  {text} = {page.measure(text.split(':')[0] + ', weights', layer.count_params()):.0f}")


# %% [markdown]
# ## Why simple RNNs forget
# Nudge the state a little, and see how much of the nudge is left k steps later: that is the gradient
# through time. (The nudge is an imaginary number of size 1e-30, so the answer is exact to rounding.)


# %%
def forgetting(page: Page, steps: int = 50) -> None:
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
# for part in (recurrent_neuron, lstm_cell, hard_sigmoid, gru_cell, forgetting):
#     part(page)


# %% tags=["active-py"]
def run(settings: Settings, page: Page | None = None) -> Outcome:
    """The whole lesson, or with ``settings.cell`` the part about one layer."""
    page = page or Page(catalog.find("by-hand"), settings)
    parts: dict[str, tuple[Callable[[Page], None], ...]] = {
        "simple-rnn": (recurrent_neuron, forgetting),
        "lstm": (lstm_cell, hard_sigmoid, forgetting),
        "gru": (gru_cell,),
        "conv": (convolution, pooling, words_and_windows),
    }
    cells = page.choose(settings.cell, list(parts), "cell")
    page.announce()
    for part in dict.fromkeys(part for cell in cells for part in parts[cell]):
        part(page)
    return page.close()
