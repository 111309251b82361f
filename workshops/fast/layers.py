"""LSTM, GRU and SimpleRNN of Keras over ``torch.lstm``, ``torch.gru`` and ``torch.rnn_tanh`` on a processor.

Keras 3 on torch has cuDNN's kernels on a card; on a processor its loop over the steps is Python. torch has the whole
sequence as one call there (oneDNN's for the LSTM), forward and backward. The layers here are Keras' own with that one
call in place of the loop: the variables, their names and their layout, the configuration and the class name stay, so
that weights and saved files go from one to the other.

Keras' loop stays for: another backend, a card, a mask, dropout, ``unroll``, ``use_cudnn=True``, other activations than
tanh and sigmoid, a GRU with ``reset_after=False``, half precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


class LSTM(keras.layers.LSTM):  # type: ignore[misc]
    """``keras.layers.LSTM``: (batch, steps, inputs) -> (batch, units) or, with sequences, (batch, steps, units)."""

    __module__ = "keras.layers"  # so that a saved file names the stock layer

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        if not _can(self, sequences, mask, training):
            return super().inner_loop(sequences, initial_state, mask, training)
        kernel, recurrent, bias = _weights(self.cell)
        if getattr(self, "dlbox_how", "") == "loops":
            from workshops.fast import loops

            outputs, hidden, carry = loops.lstm(
                _in_order(self, sequences), initial_state, (kernel, recurrent, bias), self.return_sequences
            )
            return hidden, outputs, [hidden, carry]
        weights = _one_bias(kernel, recurrent, bias)
        outputs, hidden, carry = _run(self, _lstm, _in_order(self, sequences), initial_state, weights)
        return hidden, outputs, [hidden, carry]


class GRU(keras.layers.GRU):  # type: ignore[misc]
    """``keras.layers.GRU`` with ``reset_after=True``; shapes as of the LSTM."""

    __module__ = "keras.layers"  # so that a saved file names the stock layer

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        if not self.reset_after or not _can(self, sequences, mask, training):
            return super().inner_loop(sequences, initial_state, mask, training)
        kernel, recurrent, bias = _weights(self.cell)
        state = _states(initial_state)
        if getattr(self, "dlbox_how", "") == "loops":
            from workshops.fast import loops

            outputs, hidden = loops.gru(
                _in_order(self, sequences), state, (kernel, recurrent, bias), self.return_sequences
            )
            return hidden, outputs, [hidden]
        weights = [_gates(kernel.T), _gates(recurrent.T)]
        if bias is not None:
            weights += [_gates(bias[0]), _gates(bias[1])]
        outputs, hidden = _run(self, _gru, _in_order(self, sequences), state, weights)
        return hidden, outputs, [hidden]


class SimpleRNN(keras.layers.SimpleRNN):  # type: ignore[misc]
    """``keras.layers.SimpleRNN`` with tanh; shapes as of the LSTM."""

    __module__ = "keras.layers"  # so that a saved file names the stock layer

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        if not _can(self, sequences, mask, training):
            return super().inner_loop(sequences, initial_state, mask, training)
        kernel, recurrent, bias = _weights(self.cell)
        state = _states(initial_state)
        weights = _one_bias(kernel, recurrent, bias)
        outputs, hidden = _run(self, _rnn, _in_order(self, sequences), state, weights)
        return hidden, outputs, [hidden]


FAST = {keras.layers.LSTM: LSTM, keras.layers.GRU: GRU, keras.layers.SimpleRNN: SimpleRNN}


def _run(layer: Any, run: Any, sequences: Any, states: Any, weights: Any) -> Any:
    if getattr(layer, "dlbox_how", "") not in ("split", "loops"):
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
    """As ``_lstm``, without a carry, over torch's function of that name."""

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
    if keras.backend.backend() != "torch" or getattr(layer, "use_cudnn", None) is True:
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
        and sequences.device.type == "cpu"
    )


def _weights(cell: Any) -> tuple[Any, Any, Any]:
    """As torch tensors that keep their gradient; the bias is None where there is none."""
    tensor = keras.ops.convert_to_tensor
    kinds = {"dtype": cell.compute_dtype}
    bias = None if cell.bias is None else tensor(cell.bias, **kinds)
    return tensor(cell.kernel, **kinds), tensor(cell.recurrent_kernel, **kinds), bias


def _one_bias(kernel: Any, recurrent: Any, bias: Any) -> list[Any]:
    """In torch's layout: units first, and a second bias, which is nothing, where there is one."""
    weights = [kernel.T.contiguous(), recurrent.T.contiguous()]
    return weights if bias is None else [*weights, bias, bias.new_zeros(bias.shape)]


def _states(initial: Any) -> list[Any]:
    return list(initial) if isinstance(initial, list | tuple) else [initial]


def _in_order(layer: Any, sequences: Any) -> Any:
    inputs = sequences.to(_weights(layer.cell)[0].dtype)
    return inputs.flip(1) if layer.go_backwards else inputs


def _gates(rows: Any) -> Any:
    """Keras: update, reset, candidate. torch: reset, update, candidate. Along the first axis."""
    import torch

    update, reset, candidate = rows.chunk(3)
    return torch.cat([reset, update, candidate])
