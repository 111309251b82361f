"""Computes the work of training a model: FLOP, bytes and dependent steps per sample. Nothing is measured.

FLOP: a multiply-add counts as two. Forward pass by layer for one sample (T steps, n inputs, u units or filters,
k cells of a kernel, P output positions):

    Dense      2 n u P          LSTM       8 u (n + u) T        Conv1D/2D  2 k n u P
    SimpleRNN  2 u (n + u) T    GRU        6 u (n + u) T        Dot        2 (both shapes' product)

Everything else (activations, embeddings, pooling, dropout, the optimizer) is omitted: its additions are proportional
to the number of activations or weights, under 2% for these models. Training is three times the forward pass: the
backward pass has one product for the gradient of the inputs and one for that of the weights. A one-hot input counts
as a full product. Example: lstm needs 3 x 8 x 100 x 150 x 300 = 108 MFLOP.

Bytes: the minimum in float32. Each layer's outputs are written in the forward pass and read in the backward pass,
and their gradients are written and read: four passes. Weights are read in both passes, their gradients are written and
read, and Adam reads and writes two moments and the weight: nine passes over the parameters per batch. Recurrent
weights that are read from a cache at each step do not count.

Dependent steps: the steps of the recurrent layers in one forward pass, summed over all layers and directions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from bench.results.record.figures import Work

TRAINING = 3
"""One forward product and two products in the backward pass."""

_ACTIVATION_PASSES, _PARAMETER_PASSES = 4, 9
_GATES = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}


def count(model: Any, batch_size: int, length: int = 0) -> Work:
    """Work of a built Keras model with one input and one output; ``length`` replaces sizes that are None."""
    outputs = sum(_cells(layer.output.shape, length) for layer in model.layers if not _is_input(layer))
    moved = 4 * (_ACTIVATION_PASSES * outputs + _PARAMETER_PASSES * model.count_params() / batch_size)
    return Work(
        flop_per_sample=float(TRAINING * sum(forward(layer, length) for layer in model.layers)),
        bytes_per_sample=float(moved),
        recurrent_steps=sum(steps(layer, length) for layer in model.layers),
        recurrent_flop_per_sample=float(
            TRAINING * sum(forward(layer, length) for layer in model.layers if steps(layer, length))
        ),
    )


def forward(layer: Any, length: int = 0) -> int:
    """FLOP of one layer and one sample in the forward pass; 0 for a layer that is omitted."""
    kind = type(layer).__name__
    if kind == "Dot":
        return 2 * max(_cells(tensor.shape, length) for tensor in layer.input)
    if kind == "Bidirectional":
        return sum(_recurrent(part, layer.input.shape, length) for part in _directions(layer))
    if kind in _GATES:
        return _recurrent(layer, layer.input.shape, length)
    if kind in ("Dense", "Conv1D", "Conv2D"):
        cells = math.prod(layer.kernel_size) if kind != "Dense" else 1
        return 2 * cells * int(layer.input.shape[-1]) * _cells(layer.output.shape, length)
    return 0


def steps(layer: Any, length: int = 0) -> int:
    """Recurrent steps of one layer; both directions of a bidirectional layer count."""
    kind = type(layer).__name__
    if kind == "Bidirectional":
        return len(_directions(layer)) * (layer.input.shape[1] or length)
    return (layer.input.shape[1] or length) if kind in _GATES else 0


def _directions(layer: Any) -> tuple[Any, Any]:
    return layer.forward_layer, layer.backward_layer


def _recurrent(layer: Any, shape: Iterable[Any], length: int) -> int:
    _, time, width = shape
    gates = _GATES[type(layer).__name__]
    return int(2 * gates * layer.units * (width + layer.units) * (time or length))


def _cells(shape: Iterable[Any], length: int) -> int:
    return math.prod(size or length for size in list(shape)[1:])


def _is_input(layer: Any) -> bool:
    return type(layer).__name__ == "InputLayer"
