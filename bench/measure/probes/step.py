"""Time the parts of a recurrent model separately: one step of the loop, one training step, two small products.

Used in the probe process. ``bench.judge.prediction`` computes the speed of a workload from these times.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.measure import backend as frameworks
from bench.measure.worker import rate

STEPS = 256
"""Number of steps of the timed loop; the workshop's models have 75 to 600."""

RECURRENT = (32, 150, 400)
"""Rows, inner size and columns of a product in a step of the workshop's LSTM: batch 32, 150 inputs, 400 gates."""

CONVOLUTION = (32 * 998, 150, 50)
"""Rows, inner size and columns of the product in the convolution of the workshop's cnn: 32 reviews of 998 positions,
kernel 3 x 50 inputs, 50 filters."""


def measure(backend: str, on_gpu: bool, seconds: float) -> Iterator[tuple[str, float]]:
    """Name and value of each part: seconds per step ("recurrent-step", "train-step") or TFLOP/s ("product-...").

    Each measurement takes about ``seconds`` and the compilation before it.
    """
    import keras

    wait = frameworks.synchroniser(backend, on_gpu)
    fit = _train_step(_plain(keras), np.zeros((64, 1), np.float32), seconds, wait)
    yield "train-step", fit
    looped = _train_step(_loop(keras), np.zeros((64, STEPS, 1), np.float32), seconds, wait)
    yield "recurrent-step", max(0.0, looped - fit) / STEPS
    yield "product-recurrent", _product(keras, RECURRENT, seconds)
    yield "product-convolution", _product(keras, CONVOLUTION, seconds)


def _plain(keras: Any) -> Any:
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])


def _loop(keras: Any) -> Any:
    return keras.Sequential([keras.Input((STEPS, 1)), keras.layers.LSTM(1), keras.layers.Dense(1)])


def _train_step(model: Any, inputs: Any, seconds: float, wait: rate.Wait) -> float:
    """Seconds of a training step with one sample per batch and the workshop's optimizer."""
    import keras

    model.compile(optimizer=keras.optimizers.Adam(1e-3, clipnorm=1.0), loss="mse")
    return 1 / rate.pipeline(model, inputs, np.zeros((len(inputs), 1), np.float32), 1, seconds, wait)


def _product(keras: Any, shape: tuple[int, int, int], seconds: float, chain: int = 32) -> float:
    """TFLOP/s of consecutive products in one compiled program, so that the launch time does not count.

    Each product depends on the one before it, as in a recurrent loop: an element of the last result is added to its
    left matrix.
    """
    rows, inner, columns = shape
    a = keras.ops.convert_to_tensor(np.random.default_rng(0).random((rows, inner), np.float32))
    b = keras.ops.convert_to_tensor(np.random.default_rng(1).random((inner, columns), np.float32))

    def chained(a: Any, b: Any) -> Any:
        c = keras.ops.matmul(a, b)
        for _ in range(chain - 1):
            c = keras.ops.matmul(a + 1e-9 * c[:1, :1], b)
        return c[:1, :1]

    program = _compiled(chained)
    keras.ops.convert_to_numpy(program(a, b))
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        mark = time.perf_counter()
        keras.ops.convert_to_numpy(program(a, b))
        times.append(time.perf_counter() - mark)
    return 2 * rows * inner * columns * chain / sorted(times)[len(times) // 2] / 1e12


def _compiled(function: Any) -> Any:
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function
