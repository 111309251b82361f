"""LSTM, GRU and SimpleRNN of Keras that compute the whole sequence in one call on a processor.

Keras 3 uses cuDNN's kernels on a card. On a processor it loops over the time steps; with torch this loop is in
Python. One call for all steps, forward and backward, is ``torch.lstm``, ``torch.gru`` and ``torch.rnn_tanh``
(oneDNN's for the LSTM), or the loops that dlbox compiles for the processor (``workshops.fast.kernels``), on torch and
on TensorFlow. The layers here are those of Keras with that one call instead of the loop: the variables, their names
and layout, the configuration and the class name are the same, so that weights and saved files can be exchanged.

The loop of Keras is used for: JAX, a card, a mask, dropout, ``unroll``, ``use_cudnn=True``, other activations than
tanh and sigmoid, a GRU with ``reset_after=False``, half precision; on TensorFlow also for a SimpleRNN.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras

from workshops.fast.recurrence import Kind


class LSTM(keras.layers.LSTM):  # type: ignore[misc]
    """``keras.layers.LSTM``: (batch, steps, inputs) -> (batch, units) or, with sequences, (batch, steps, units)."""

    __module__ = "keras.layers"  # so that a saved file contains the stock layer

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        if not _can(self, sequences, mask, training):
            return super().inner_loop(sequences, initial_state, mask, training)
        if _how(self) == "loops":
            outputs, hidden, carry = _loops("lstm", self, sequences, initial_state, training)
            return hidden, outputs, [hidden, carry]
        weights = _one_bias(*_weights(self.cell))
        outputs, hidden, carry = _run(self, _lstm, _in_order(self, sequences), initial_state, weights)
        return hidden, outputs, [hidden, carry]


class GRU(keras.layers.GRU):  # type: ignore[misc]
    """``keras.layers.GRU`` with ``reset_after=True``; shapes as for the LSTM."""

    __module__ = "keras.layers"  # so that a saved file contains the stock layer

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        if not self.reset_after or not _can(self, sequences, mask, training):
            return super().inner_loop(sequences, initial_state, mask, training)
        state = _states(initial_state)
        if _how(self) == "loops":
            outputs, hidden = _loops("gru", self, sequences, state, training)
            return hidden, outputs, [hidden]
        kernel, recurrent, bias = _weights(self.cell)
        weights = [_gates(kernel.T), _gates(recurrent.T)]
        if bias is not None:
            weights += [_gates(bias[0]), _gates(bias[1])]
        outputs, hidden = _run(self, _gru, _in_order(self, sequences), state, weights)
        return hidden, outputs, [hidden]


class SimpleRNN(keras.layers.SimpleRNN):  # type: ignore[misc]
    """``keras.layers.SimpleRNN`` with tanh; shapes as for the LSTM."""

    __module__ = "keras.layers"  # so that a saved file contains the stock layer

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        if not _can(self, sequences, mask, training):
            return super().inner_loop(sequences, initial_state, mask, training)
        kernel, recurrent, bias = _weights(self.cell)
        state = _states(initial_state)
        weights = _one_bias(kernel, recurrent, bias)
        outputs, hidden = _run(self, _rnn, _in_order(self, sequences), state, weights)
        return hidden, outputs, [hidden]


FAST = {keras.layers.LSTM: LSTM, keras.layers.GRU: GRU, keras.layers.SimpleRNN: SimpleRNN}


def _how(layer: Any) -> str:
    """The kind of fast kernel for this layer: "fast", "split" or "loops" (see ``workshops.fast.quicken``). The
    compiled loops support float32 only, so "split" replaces them for float64."""
    how = getattr(layer, "dlbox_how", "")
    return "split" if how == "loops" and layer.compute_dtype != "float32" else how


def _loops(kind: Kind, layer: Any, sequences: Any, states: Any, training: bool) -> tuple[Any, ...]:
    """Returns all hidden states, or only the last one if the layer returns no sequences; then each last state."""
    kernel, recurrent, bias = _weights(layer.cell)
    if bias is None:
        gates = kernel.shape[1]
        bias = keras.ops.zeros((gates,) if kind == "lstm" else (2, gates), "float32")
    arguments = _in_order(layer, sequences), list(states), (kernel, recurrent, bias), layer.return_sequences
    if keras.backend.backend() == "torch":
        from workshops.fast import torch_loops

        return torch_loops.run(kind, *arguments)
    from workshops.fast import tensorflow_loops

    return tensorflow_loops.run(kind, *arguments, training)


def _run(layer: Any, run: Any, sequences: Any, states: Any, weights: Any) -> Any:
    if _how(layer) != "split":
        return run(sequences, states, weights)
    from workshops.fast import split

    return split.recurrence(run, sequences, states, weights)


def _lstm(sequences: Any, states: Any, weights: Any) -> tuple[Any, ...]:
    """(batch, steps, inputs), both states (batch, units) -> all hidden states, the last one, the last carry."""
    import torch

    state = [part.unsqueeze(0).contiguous() for part in states]
    training = torch.is_grad_enabled()
    biased = len(weights) == 4
    outputs, hidden, carry = torch.lstm(
        sequences.contiguous(), state, list(weights), biased, 1, 0.0, training, False, True
    )
    return outputs, hidden[0], carry[0]


def _one_state(name: str) -> Callable[[Any, Any, Any], tuple[Any, ...]]:
    """Like ``_lstm`` but without a carry: calls the function of torch with this name."""

    def run(sequences: Any, states: Any, weights: Any) -> tuple[Any, ...]:
        import torch

        state = states[0].unsqueeze(0).contiguous()
        training = torch.is_grad_enabled()
        biased = len(weights) == 4
        outputs, hidden = getattr(torch, name)(
            sequences.contiguous(), state, list(weights), biased, 1, 0.0, training, False, True
        )
        return outputs, hidden[0]

    return run


_gru, _rnn = _one_state("gru"), _one_state("rnn_tanh")


def _can(layer: Any, sequences: Any, mask: Any, training: bool) -> bool:
    backend = keras.backend.backend()
    if backend not in ("torch", "tensorflow") or getattr(layer, "use_cudnn", None) is True:
        return False
    if backend == "tensorflow":
        own = (
            layer.dlbox_how == "loops"
            and layer.compute_dtype == "float32"
            and hasattr(layer, "recurrent_activation")
        )
        if not own or on_card():
            return False
    elif sequences.device.type != "cpu":
        return False
    mask = mask[0] if isinstance(mask, list | tuple) else mask
    return bool(
        mask is None
        and not layer.recurrent_dropout
        and not (training and layer.dropout)
        and not layer.unroll
        and layer.activation is keras.activations.tanh
        and getattr(layer, "recurrent_activation", keras.activations.sigmoid) is keras.activations.sigmoid
        and layer.compute_dtype in ("float32", "float64")
    )


@functools.cache
def on_card() -> bool:
    """Whether TensorFlow computes on a card."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _weights(cell: Any) -> tuple[Any, Any, Any]:
    """The weights as torch tensors that record gradients. The bias is None for a layer without bias."""
    tensor = keras.ops.convert_to_tensor
    kinds = {"dtype": cell.compute_dtype}
    bias = None if cell.bias is None else tensor(cell.bias, **kinds)
    return tensor(cell.kernel, **kinds), tensor(cell.recurrent_kernel, **kinds), bias


def _one_bias(kernel: Any, recurrent: Any, bias: Any) -> list[Any]:
    """The weights in torch's layout: the axis of the units comes first. If there is a bias, a second bias of zeros is
    added."""
    weights = [kernel.T.contiguous(), recurrent.T.contiguous()]
    return weights if bias is None else [*weights, bias, bias.new_zeros(bias.shape)]


def _states(initial: Any) -> list[Any]:
    return list(initial) if isinstance(initial, list | tuple) else [initial]


def _in_order(layer: Any, sequences: Any) -> Any:
    inputs = keras.ops.cast(sequences, layer.compute_dtype)
    return keras.ops.flip(inputs, 1) if layer.go_backwards else inputs


def _gates(rows: Any) -> Any:
    """Reorder the gates of a GRU along the first axis: from update, reset, candidate (Keras) to reset, update,
    candidate (torch)."""
    import torch

    update, reset, candidate = rows.chunk(3)
    return torch.cat([reset, update, candidate])
