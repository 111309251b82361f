"""The recurrence of NumPy arrays (``workshops.fast.recurrence``) as a function of TensorFlow with a gradient.

The values for the backward pass are stored outside the graph, under a number that the graph passes on. If they are no
longer stored (no training step, or many forward passes since then), they are computed again.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from workshops.fast.recurrence import Kind, Passed

MAX_STORED = 16
"""Maximum number of recurrences whose intermediate results are stored during a training step."""

_passed: dict[int, Passed] = {}
_numbers = itertools.count(1)
_lock = threading.Lock()


def run(
    kind: Kind, sequences: Any, states: Sequence[Any], weights: Sequence[Any], keep_all: bool, training: bool
) -> tuple[Any, ...]:
    """Arguments: inputs (B, T, I), first states (B, H), then kernel, recurrent kernel and bias as in Keras.

    Returns all hidden states (B, T, H), or only the last one (B, 1, H) if ``keep_all`` is false, and each last state
    (B, H).
    """
    units = weights[1].shape[0]
    count = len(states)

    def forward(*arrays: Any) -> tuple[Any, ...]:
        passed = Passed(kind, arrays[0], arrays[1:-3], arrays[-3:])
        outputs = passed.outputs() if keep_all else passed.hidden[:, None]
        carry = () if passed.carry is None else (passed.carry,)
        return outputs, passed.hidden, *carry, np.int64(_keep(passed) if training else _let_go(passed))

    def backward(number: Any, above: Any, *rest: Any) -> tuple[Any, ...]:
        last, arrays = list(rest[:count]), rest[count:]
        with _lock:
            passed = _passed.pop(int(number), None)
        passed = passed or Passed(kind, arrays[0], arrays[1:-3], arrays[-3:])
        if not keep_all:
            last[0] = last[0] + above[:, 0]
        return passed.back(above if keep_all else None, last)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def through(*tensors: Any) -> tuple[Any, Any]:
        kinds = [tf.float32] * (1 + count) + [tf.int64]
        *found, number = tf.numpy_function(forward, tensors, kinds)
        found[0].set_shape([sequences.shape[0], sequences.shape[1] if keep_all else 1, units])
        for one in found[1:]:
            one.set_shape([sequences.shape[0], units])

        def gradient(*of_found: Any) -> list[Any]:
            gradients = tf.numpy_function(
                backward, [number, *of_found, *tensors], [tf.float32] * len(tensors)
            )
            for one, tensor in zip(gradients, tensors, strict=True):
                one.set_shape(tensor.shape)
            return list(gradients)

        return tuple(found), gradient

    # The variables are read here: TensorFlow requires a gradient for a variable that is read inside the function.
    outputs: tuple[Any, ...] = through(*map(tf.convert_to_tensor, (sequences, *states, *weights)))
    return outputs


def _keep(passed: Passed) -> int:
    with _lock:
        number = next(_numbers)
        _passed[number] = passed
        while len(_passed) > MAX_STORED:
            _passed.pop(next(iter(_passed))).forget()
    return number


def _let_go(passed: Passed) -> int:
    passed.forget()
    return 0
