"""LSTM and GRU in loops of their own (``workshops.fast.recurrence``), the rows of a batch shared among the threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from workshops.fast import recurrence
from workshops.fast.split import LEAST_ROWS, everywhere


def lstm(sequences: Any, states: Sequence[Any], weights: Sequence[Any], keep_all: bool) -> tuple[Any, ...]:
    """Inputs (B, T, I), both states (B, H); kernel, recurrent kernel and bias of Keras, the bias None for none.

    All hidden states (B, T, H), or only the last (B, 1, H) where not ``keep_all``; the last one; the last carry.
    """
    kernel, recurrent, bias = weights
    bias = kernel.new_zeros(kernel.shape[1]) if bias is None else bias
    outputs: tuple[Any, ...] = _Loops.apply("lstm", keep_all, sequences, *states, kernel, recurrent, bias)
    return outputs


def gru(sequences: Any, states: Sequence[Any], weights: Sequence[Any], keep_all: bool) -> tuple[Any, ...]:
    """As ``lstm``, without a carry; the bias is (2, 3H)."""
    kernel, recurrent, bias = weights
    bias = kernel.new_zeros(2, kernel.shape[1]) if bias is None else bias
    outputs: tuple[Any, ...] = _Loops.apply("gru", keep_all, sequences, states[0], kernel, recurrent, bias)
    return outputs


class _Loops(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, kind: str, keep_all: bool, sequences: Any, *others: Any) -> tuple[Any, ...]:
        states, weights = others[:-3], [one.detach() for one in others[-3:]]
        parts = max(1, min(torch.get_num_threads(), len(sequences) // LEAST_ROWS))
        run = recurrence.lstm_forward if kind == "lstm" else recurrence.gru_forward

        def part(rows: Any, *own: Any) -> tuple[Any, ...]:
            with torch.inference_mode():
                inputs = rows.transpose(0, 1).contiguous()
                return (inputs, *run(inputs, *own, *weights))

        cut = zip(*(one.detach().chunk(parts) for one in (sequences, *states)), strict=True)
        done = everywhere(part, list(cut))
        hidden = torch.cat([one[1][-1] for one in done])
        outputs = (
            torch.cat([one[1][1:].transpose(0, 1) for one in done]) if keep_all else hidden[:, None].clone()
        )
        ctx.done = done if any(ctx.needs_input_grad) else None
        ctx.kind, ctx.weights = kind, weights
        ctx.set_materialize_grads(False)
        if kind == "gru":
            return outputs, hidden
        return outputs, hidden, torch.cat([one[2][-1] for one in done])

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, of_outputs: Any, *of_states: Any) -> tuple[Any, ...]:
        done, (kernel, recurrent, _) = ctx.done, ctx.weights
        if done is None:
            raise RuntimeError("the gradient was taken already: a recurrence in parts keeps it for one time")
        ctx.done = None
        rows = [one[0].shape[1] for one in done]
        steps, units = done[0][0].shape[0], recurrent.shape[0]
        first = [kernel.new_zeros(sum(rows), units) if one is None else one for one in of_states]
        of_all = kernel.new_empty(0)
        if of_outputs is not None and of_outputs.shape[1] == steps:
            of_all = of_outputs
        elif of_outputs is not None:
            first[0] = first[0] + of_outputs[:, 0]
        run = recurrence.lstm_backward if ctx.kind == "lstm" else recurrence.gru_backward
        cut = [one.split(rows) for one in first]

        def part(number: int) -> tuple[Any, ...]:
            with torch.inference_mode():
                from_above = of_all
                if of_all.dim() == 3:
                    from_above = of_all.split(rows)[number].transpose(0, 1).contiguous()
                own = [one[number] for one in cut]
                told = run(*done[number], kernel, recurrent, from_above, *own, recurrence.BLOCK)
                return (told[0].transpose(0, 1), *told[1:])

        of_parts = everywhere(part, [(number,) for number in range(len(rows))])
        by_row = 1 + len(first)
        joined = [
            torch.cat(same) if place < by_row else sum(same[1:], same[0].clone())
            for place, same in enumerate(zip(*of_parts, strict=True))
        ]
        return None, None, *joined
