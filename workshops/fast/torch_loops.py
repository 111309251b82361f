"""The recurrence of NumPy arrays (``workshops.fast.recurrence``) as a function of torch with a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from workshops.fast.recurrence import Kind, Passed


def run(
    kind: Kind, sequences: Any, states: Sequence[Any], weights: Sequence[Any], keep_all: bool
) -> tuple[Any, ...]:
    """Arguments: inputs (B, T, I), first states (B, H), then kernel, recurrent kernel and bias as in Keras.

    Returns all hidden states (B, T, H), or only the last one (B, 1, H) if ``keep_all`` is false, and each last state
    (B, H).
    """
    outputs: tuple[Any, ...] = _Loops.apply(kind, keep_all, sequences, *states, *weights)
    return outputs


class _Loops(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, kind: Kind, keep_all: bool, sequences: Any, *others: Any) -> tuple[Any, ...]:
        arrays = [one.detach().numpy() for one in (sequences, *others)]
        passed = Passed(kind, arrays[0], arrays[1:-3], arrays[-3:])
        hidden = torch.from_numpy(passed.hidden)
        outputs = torch.from_numpy(passed.outputs()) if keep_all else hidden[:, None].clone()
        carry = () if passed.carry is None else (torch.from_numpy(passed.carry),)
        ctx.passed, ctx.keep_all, ctx.shape = None, keep_all, passed.hidden.shape
        if any(ctx.needs_input_grad):
            ctx.passed = passed
        else:
            passed.forget()
        ctx.set_materialize_grads(False)
        return outputs, hidden, *carry

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, of_outputs: Any, *of_states: Any) -> tuple[Any, ...]:
        last = [torch.zeros(ctx.shape) if one is None else one for one in of_states]
        above = None
        if of_outputs is not None and ctx.keep_all:
            above = of_outputs.numpy()
        elif of_outputs is not None:
            last[0] = last[0] + of_outputs[:, 0]
        gradients = ctx.passed.back(above, [one.numpy() for one in last])
        return None, None, *(torch.from_numpy(one) for one in gradients)
