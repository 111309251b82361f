# %% [markdown]
# # Inside the cells: every number computed by hand
#
# A recurrent layer computes a few multiplications, and repeats them for every word. This lesson computes each of
# them in NumPy with the numbers of the class's slides, then compares the result with the Keras layer. It also says
# which slides contain an error.

# %%
from __future__ import annotations

import keras
import numpy as np

from workshops.models.against_keras import Array, difference, in_keras, over_time, random_weights
from workshops.player.page import LessonPage

# %% tags=["active-ipynb"]
# from workshops.commands.start import open_page
# page = open_page("by-hand")

# %% [markdown]
# ## One recurrent neuron
# A simple recurrent neuron multiplies its input and its own last output by weights, adds them and applies tanh: h' =
# tanh(w_h h + w_x x + b). On the slide h = 0.4, x = 3 and the weights are 0.2 and 0.4. For the comparison `in_keras`
# sets these weights in a Keras layer and runs it.


# %%
def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def rnn_step(x: Array, h: Array, weights: list[Array]) -> Array:
    """x (batch, inputs), h (batch, units) -> new h; weights in the order of Keras: kernel, recurrent, bias."""
    kernel, recurrent, bias = weights
    return np.asarray(np.tanh(x @ kernel + h @ recurrent + bias))


def recurrent_neuron(page: LessonPage) -> None:
    page.heading("One recurrent neuron")
    total = 0.2 * 0.4 + 0.4 * 3
    page.line(f"0.2 x 0.4 + 0.4 x 3 = {total:.2f}")
    page.line(f"tanh({total:.2f}) = {np.tanh(total):.4f}")
    page.say(
        f"The slide prints 0.9, which is {np.tanh(total):.4f} rounded to one digit. The sigmoid would give "
        f"{sigmoid(np.array(total)):.2f}. The order of the weights matters: if they are swapped, the sum is "
        f"{0.4 * 0.4 + 0.2 * 3:.2f} and the output {np.tanh(0.4 * 0.4 + 0.2 * 3):.2f}. The 3 must be the "
        "input, because a state is an output of tanh and lies between -1 and 1."
    )
    weights = [np.array([[0.4]]), np.array([[0.2]]), np.array([0.0])]
    out = in_keras(keras.layers.SimpleRNN(1), weights, np.array([[[3.0]]]), [np.array([[0.4]])])[0]
    page.line(f"Keras: {out.item():.4f}")


# %% [markdown]
# ## A state of several numbers
# Now the input has two numbers and the state has two. Each number of the new state depends on both inputs and on
# both numbers of the old state. The weights form two matrices with one column for each number of the new state: h' =
# tanh(x W + h U + b).


# %%
def state_of_two(page: LessonPage) -> None:
    page.heading("A state of several numbers")
    x, h = np.array([1.0, 2.0]), np.array([0.5, -0.5])
    w, u = np.array([[0.1, 0.3], [0.2, -0.1]]), np.array([[0.4, 0.2], [-0.6, 0.8]])
    b = np.array([0.0, 0.1])
    page.line(f"  x = {x}, h = {h}, b = {b}")
    for name, row, matrix in (("x W", x, w), ("h U", h, u)):
        page.line(f"  {name} = {row} times {matrix.tolist()}:")
        for column in matrix.T:
            terms = " + ".join(f"{a:g} x {weight:g}" for a, weight in zip(row, column, strict=True))
            page.line(f"    {terms} = {row @ column:.2f}")
    total = x @ w + h @ u + b
    page.line(f"  x W + h U + b = {np.round(total, 4)}")
    page.line(f"  h' = tanh(x W + h U + b) = {np.round(np.tanh(total), 4)}")
    out = in_keras(keras.layers.SimpleRNN(2), [w, u, b], x[None, None], [h[None]])[0][0]
    page.line(f"  Keras: {np.round(out, 4)}")
    page.measure("a state of two numbers, largest difference", difference(out, np.tanh(total)))
    rng = np.random.default_rng(0)
    steps, start, weights = rng.normal(size=(2, 5, 3)), np.zeros((2, 5)), random_weights(rng, 3, 5)
    layer = in_keras(keras.layers.SimpleRNN(5), weights, steps)[0]
    page.say(
        "3 inputs and a state of 5, over 5 steps: 3 x 5 + 5 x 5 + 5 = 45 weights, the same at every step."
    )
    page.measure(
        "SimpleRNN, largest difference", difference(layer, over_time(rnn_step, steps, start, weights))
    )


# %% tags=["active-ipynb"]
# for part in (recurrent_neuron, state_of_two):
#     part(page)
