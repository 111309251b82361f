"""Generate text with a trained model, symbol by symbol: the usual loop, and faster ways.

Such a model reads symbol numbers (batch, time), converts them to one-hot vectors, and has one recurrent layer and a
softmax at every position (:func:`workshops.lessons.text_generation.page.build`).

``predict_loop``
    ``model.predict`` on the last ``window`` symbols for every new symbol, as in most tutorials.
``write(..., carry=False)``
    The same function: the same seed gives the same text. Neighbouring windows share all symbols but one. Therefore
    there are ``window`` states, one for each position at which a window can begin, and every symbol advances all of
    them by one step: one matrix product per symbol instead of ``window`` consecutive steps.
``write(..., carry=True)``
    *Another* function: one state that is never reset, as if the window were as long as the text. One step per
    symbol.

The loop runs compiled on TensorFlow (XLA) and JAX, and in NumPy on torch, whose loop over steps is slower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.integer[Any]]
CHUNK = 64
"""Number of symbols per compiled call with a sliding window. With one carried state it is 16 times as many."""


def uniform(count: int, seed: int) -> NDArray[np.float32]:
    """One random number in [0, 1) per symbol. The same numbers give the same text."""
    return np.random.default_rng(seed).random(count, dtype=np.float32)


def pick(probabilities: NDArray[Any], temperature: float, u: float) -> int:
    """Draw a symbol: the one at ``u`` in the cumulative sum of the normalised p^(1/temperature). A low temperature
    favours likely symbols."""
    scores = np.log(np.maximum(probabilities.astype(np.float64), 1e-30)) / temperature
    weights = np.exp(scores - scores.max())
    cumulated = np.cumsum(weights)
    return int(np.sum(cumulated <= u * cumulated[-1]))


def predict_loop(model: Any, start: Ids, count: int, *, temperature: float, seed: int) -> Iterator[int]:
    """Generate symbols with one ``model.predict`` per symbol, on a window as long as ``start``."""
    window = np.asarray(start, np.int32)[None]
    for u in uniform(count, seed):
        chosen = pick(model.predict(window, verbose=0)[0, -1], temperature, float(u))
        yield chosen
        window = np.concatenate([window[:, 1:], np.array([[chosen]], np.int32)], axis=1)


def write(
    model: Any, start: Ids, count: int, *, temperature: float, seed: int, carry: bool = False
) -> Iterator[Ids]:
    """Generate ``count`` symbols after ``start``, in chunks. The docstring of the module explains ``carry``."""
    size = CHUNK * 16 if carry else CHUNK
    draws = uniform(count, seed)
    padded = np.zeros(-(-count // size) * size, np.float32)
    padded[:count] = draws
    cell = RecurrentCell(model)
    rows = 1 if carry else len(start)
    read, go_on = _fastest()(cell, rows, size)
    state = read(np.asarray(start, np.int32))
    done = 0
    while done < count:
        made, state = go_on(state, padded[done : done + size], np.float32(temperature))
        yield np.asarray(made, np.int64)[: count - done]
        done += size


class RecurrentCell:
    """The weights of the recurrent layer and of the softmax layer, and one step of the cell."""

    def __init__(self, model: Any) -> None:
        import keras

        layer = next(each for each in model.layers if isinstance(each, keras.layers.RNN))
        self.kind = type(layer).__name__
        if self.kind not in ("SimpleRNN", "LSTM", "GRU"):
            raise ValueError(f"no fast sampler for a layer of kind {self.kind}")
        self.weights = [np.asarray(w, np.float32) for w in layer.get_weights()]
        self.head = [np.asarray(w, np.float32) for w in model.layers[-1].get_weights()]
        self.units = self.weights[1].shape[0]
        self.parts = 2 if self.kind == "LSTM" else 1
        self.reset_after = bool(getattr(layer, "reset_after", False))

    def step(self, weights: list[Any], symbol: Any, state: tuple[Any, ...], ops: Any) -> tuple[Any, ...]:
        """Advance all rows of the state (rows, units) by one symbol. The newest output is ``state[0]``."""
        kernel, recurrent, bias = weights
        h, read = state[0], ops.read(kernel, symbol)
        if self.kind == "SimpleRNN":
            return (ops.tanh(read + bias + ops.matmul(h, recurrent)),)
        if self.kind == "LSTM":
            i, f, g, o = ops.split(read + bias + ops.matmul(h, recurrent), 4, axis=-1)
            c = _sigmoid(ops, f) * state[1] + _sigmoid(ops, i) * ops.tanh(g)
            return _sigmoid(ops, o) * ops.tanh(c), c
        if not self.reset_after:
            u = self.units
            x = read + bias
            z, r = ops.split(
                _sigmoid(ops, x[..., : 2 * u] + ops.matmul(h, recurrent[:, : 2 * u])), 2, axis=-1
            )
            return (z * h + (1 - z) * ops.tanh(x[..., 2 * u :] + ops.matmul(r * h, recurrent[:, 2 * u :])),)
        xz, xr, xh = ops.split(read + bias[0], 3, axis=-1)
        hz, hr, hh = ops.split(ops.matmul(h, recurrent) + bias[1], 3, axis=-1)
        z, r = _sigmoid(ops, xz + hz), _sigmoid(ops, xr + hr)
        return (z * h + (1 - z) * ops.tanh(xh + r * hh),)


def _sigmoid(ops: Any, x: Any) -> Any:
    return 0.5 * ops.tanh(0.5 * x) + 0.5


Read = Callable[[Ids], Any]
GoOn = Callable[[Any, NDArray[np.float32], np.float32], tuple[Any, Any]]


def _row(kernel: Any, symbol: Any) -> Any:
    """The product of a one-hot symbol and the kernel. It is a row of the kernel, so no product is computed."""
    return kernel[symbol]


def _numpy_run(cell: RecurrentCell, rows: int, size: int) -> tuple[Read, GoOn]:
    """Returns two functions: the first reads the given start of the text, the second generates ``size`` symbols.
    Both take and return a state (time, cell state). Row t mod rows belongs to the window that began at time t."""
    kernel, bias = cell.head
    ops = SimpleNamespace(tanh=np.tanh, matmul=np.matmul, split=np.split, read=_row)

    def read(start: Ids) -> Any:
        state = tuple(np.zeros((rows, cell.units), np.float32) for _ in range(cell.parts))
        for t, symbol in enumerate(start):
            state = _fresh(state, t, rows)
            state = cell.step(cell.weights, symbol, state, ops)
        return len(start), state

    def go_on(at: Any, draws: NDArray[np.float32], temperature: np.float32) -> tuple[Any, Any]:
        t, state = at
        made = []
        for u in draws:
            scores = (state[0][t % rows] @ kernel + bias) / temperature
            cumulated = np.cumsum(np.exp(scores - scores.max()))
            made.append(int(np.sum(cumulated <= u * cumulated[-1])))
            state = cell.step(cell.weights, made[-1], _fresh(state, t, rows), ops)
            t += 1
        return made, (t, state)

    return read, go_on


def _fresh(state: tuple[Any, ...], t: int, rows: int) -> tuple[Any, ...]:
    """Reset the state of the window that is complete, so that a new window can use its row. With a single row
    nothing is reset: that row is the state that is carried through the whole text."""
    if rows > 1:
        for part in state:
            part[t % rows] = 0
    return state


def _jax_run(cell: RecurrentCell, rows: int, size: int) -> tuple[Read, GoOn]:
    import jax
    import jax.numpy as jnp

    weights, (kernel, bias) = [jnp.asarray(w) for w in cell.weights], cell.head

    def product(kernel: Any, symbol: Any) -> Any:
        return jax.nn.one_hot(symbol, len(kernel))[None] @ kernel

    ops = SimpleNamespace(
        tanh=jnp.tanh, matmul=jnp.matmul, split=jnp.split, read=_row if rows == 1 else product
    )
    numbers = np.arange(rows)[:, None]

    def step(t: Any, symbol: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        if rows > 1:
            state = tuple(jnp.where(numbers == t % rows, 0.0, part) for part in state)
        return cell.step(weights, symbol, state, ops)

    def read(start: Any) -> Any:
        state = tuple(jnp.zeros((rows, cell.units)) for _ in range(cell.parts))
        return len(start), jax.lax.fori_loop(0, len(start), lambda t, s: step(t, start[t], s), state)

    def go_on(at: Any, draws: Any, temperature: Any) -> Any:
        def write_one(carry: Any, draw: Any) -> Any:
            t, state = carry
            scores = (state[0][t % rows] @ kernel + bias) / temperature
            cumulated = jnp.cumsum(jnp.exp(scores - scores.max()))
            symbol = jnp.sum(cumulated <= draw * cumulated[-1])
            return (t + 1, step(t, symbol, state)), symbol

        at, made = jax.lax.scan(write_one, at, draws)
        return made, at

    return jax.jit(read), jax.jit(go_on)


def _tensorflow_run(cell: RecurrentCell, rows: int, size: int) -> tuple[Read, GoOn]:
    """Plain TensorFlow under XLA. A row is read with ``tf.gather``: indexing was 50 times slower."""
    import tensorflow as tf

    def product(kernel: Any, symbol: Any) -> Any:
        # With many rows XLA fuses this product with the other one, which is twice as fast as reading the row.
        return tf.matmul(tf.one_hot(symbol, len(cell.weights[0]))[None], kernel)

    ops = SimpleNamespace(
        tanh=tf.tanh, matmul=tf.matmul, split=tf.split, read=tf.gather if rows == 1 else product
    )
    weights, (kernel, bias) = [tf.constant(w) for w in cell.weights], [tf.constant(w) for w in cell.head]
    numbers = tf.range(rows)[:, None]

    def step(t: Any, symbol: Any, state: Any) -> tuple[Any, ...]:
        if rows > 1:
            keep = tf.cast(numbers != t % rows, tf.float32)
            state = [part * keep for part in state]
        return cell.step(weights, symbol, tuple(state), ops)

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def read(start: Any) -> Any:
        state = tuple(tf.zeros((rows, cell.units)) for _ in range(cell.parts))
        loop = (tf.constant(0), state)
        return tf.while_loop(lambda t, s: t < len(start), lambda t, s: (t + 1, step(t, start[t], s)), loop)

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def go_on(at: Any, draws: Any, temperature: Any) -> Any:
        began, state = at

        def write_one(i: Any, state: Any, made: Any) -> Any:
            row = tf.gather(state[0], (began + i) % rows)[None]
            scores = (tf.matmul(row, kernel)[0] + bias) / temperature
            cumulated = tf.cumsum(tf.exp(scores - tf.reduce_max(scores)))
            symbol = tf.reduce_sum(tf.cast(cumulated <= draws[i] * cumulated[-1], tf.int32))
            return i + 1, step(began + i, symbol, state), made.write(i, symbol)

        loop = (tf.constant(0), state, tf.TensorArray(tf.int32, size))
        _, state, made = tf.while_loop(lambda i, *rest: i < size, write_one, loop)
        return made.stack(), (began + size, state)

    return read, go_on


def _fastest() -> Callable[[RecurrentCell, int, int], tuple[Read, GoOn]]:
    import keras

    runs = {"jax": _jax_run, "tensorflow": _tensorflow_run}
    return runs.get(keras.backend.backend(), _numpy_run)
