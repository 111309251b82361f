"""The recurrence of torch with the rows of a batch divided among threads (see ``workshops.fast.rows``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from workshops.fast.rows import LEAST_ROWS, everywhere

Run = Callable[[Any, Sequence[Any], Sequence[Any]], tuple[Any, ...]]
"""A function (sequences, states, weights) -> tensors. The batch is the first axis of sequences and states."""


def recurrence(run: Run, sequences: Any, states: Sequence[Any], weights: Sequence[Any]) -> tuple[Any, ...]:
    """The result of ``run``, computed with the rows of the batch (first axis) divided among torch's threads."""
    parts = min(torch.get_num_threads(), len(sequences) // LEAST_ROWS)
    if parts < 2:
        return run(sequences, states, weights)
    outputs: tuple[Any, ...] = _Split.apply(run, parts, len(states), sequences, *states, *weights)
    return outputs


class _Split(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, run: Run, parts: int, states: int, *tensors: Any) -> tuple[Any, ...]:
        wanted = ctx.needs_input_grad[3:]

        def part(*rows: Any) -> tuple[list[Any], tuple[Any, ...]]:
            own = [*rows, *tensors[1 + states :]]
            with torch.set_grad_enabled(any(wanted)):
                own = [one.detach().requires_grad_(grad) for one, grad in zip(own, wanted, strict=True)]
                return own, run(own[0], own[1 : 1 + states], own[1 + states :])

        rows = zip(*(one.chunk(parts) for one in tensors[: 1 + states]), strict=True)
        done = _everywhere(part, list(rows))
        ctx.states, ctx.done = states, done if any(wanted) else None
        ctx.set_materialize_grads(False)
        return tuple(
            torch.cat([one.detach() for one in same]) for same in zip(*(out for _, out in done), strict=True)
        )

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        done, wanted = ctx.done, ctx.needs_input_grad[3:]
        if done is None:
            raise RuntimeError(
                "the gradient was already computed: call the forward pass again before a second backward pass"
            )
        ctx.done = None
        parts = [len(out[0]) for _, out in done]
        cut = [None if one is None else one.split(parts) for one in gradients]

        def part(number: int) -> list[Any]:
            own, out = done[number]
            pairs = [(one, grad[number]) for one, grad in zip(out, cut, strict=True) if grad is not None]
            asked = [one for one, grad in zip(own, wanted, strict=True) if grad]
            computed: Iterator[Any] = iter(())
            if pairs:
                computed = iter(
                    torch.autograd.grad(
                        [one for one, _ in pairs], asked, [grad for _, grad in pairs], allow_unused=True
                    )
                )
            return [next(computed, None) if grad else None for grad in wanted]

        of_parts = _everywhere(part, [(number,) for number in range(len(parts))])
        joined = [
            None if same[0] is None else torch.cat(same) if place <= ctx.states else sum(same[1:], same[0])
            for place, same in enumerate(zip(*of_parts, strict=True))
        ]
        return None, None, None, *joined


def _everywhere(work: Callable[..., Any], given: Sequence[tuple[Any, ...]]) -> list[Any]:
    usual = torch.get_num_threads()
    try:
        return everywhere(work, given, _alone)
    finally:
        torch.set_num_threads(usual)  # part of this setting applies to the whole process


def _alone() -> None:
    torch.set_num_threads(1)
