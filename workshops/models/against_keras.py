"""Compare a NumPy formula with a Keras layer: give both the same weights and input, and return the largest
difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def in_keras(layer: Any, weights: list[Array], x: Array, state: list[Array] | None = None) -> list[Array]:
    """All outputs of ``layer`` for ``x`` (batch, time, channels) with these weights, in float32."""
    import keras

    def tensor(values: Array) -> Any:
        return keras.ops.convert_to_tensor(values.astype(np.float32))

    layer.build(x.shape)
    layer.set_weights([w.astype(np.float32) for w in weights])
    given = layer(tensor(x)) if state is None else layer(tensor(x), initial_state=[tensor(s) for s in state])
    outputs = given if isinstance(given, (list, tuple)) else [given]
    return [np.asarray(keras.ops.convert_to_numpy(out)) for out in outputs]


def random_weights(rng: np.random.Generator, inputs: int, units: int, gates: int = 1) -> list[Array]:
    """Random weights: kernel (inputs, gates x units), recurrent kernel (units, gates x units), bias (gates x units)."""
    shapes = [(inputs, gates * units), (units, gates * units), (gates * units,)]
    return [rng.normal(size=shape, scale=0.5) for shape in shapes]


def over_time(step: Callable[..., Any], x: Array, state: Any, weights: list[Array]) -> Any:
    """Apply ``step`` to every time step of ``x`` (batch, time, channels) and return the last state."""
    for t in range(x.shape[1]):
        state = step(x[:, t], state, weights)
    return state


def difference(a: Array, b: Array) -> float:
    """Largest absolute difference of two arrays. Raises ValueError if their shapes differ."""
    if np.shape(a) != np.shape(b):
        raise ValueError(f"shapes differ: {np.shape(a)} and {np.shape(b)}")
    return float(np.max(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64))))


def before_sigmoid(gate: float) -> float:
    """Inverse of the sigmoid. 0 and 1 become -30 and 30, because the sigmoid of these is 0 and 1 in float32."""
    if gate in (0.0, 1.0):
        return 60 * gate - 30
    return float(np.log(gate / (1 - gate)))


def nudge_left(step: Callable[..., Any], weights: list[Array], steps: int, *, lstm: bool = False) -> Array:
    """Share of a small change of the state that remains after 0, 1 ... ``steps`` steps. In an LSTM, the state is the
    cell state.

    The change is an imaginary number of size 1e-30 (complex-step differentiation): nearly equal numbers are never
    subtracted, so the result is the directional derivative, exact except for rounding.
    """
    inputs, units = weights[0].shape[0], weights[1].shape[0]
    rng = np.random.default_rng(4)
    tiny, nudge = 1e-30, rng.normal(size=(1, units))
    nudged = 1j * tiny * nudge / np.linalg.norm(nudge)
    state: Any = (np.zeros((1, units), complex), nudged) if lstm else nudged
    sizes = [1.0]
    for x in rng.normal(size=(steps, 1, inputs)):
        state = step(x, state, weights)
        sizes.append(float(np.linalg.norm((state[1] if lstm else state).imag) / tiny))
    return np.array(sizes)
