"""Processor time of one thread, forward and backward, of a recurrent layer: own loops and torch's own, alternated.

    .venv/bin/python -m tests.benchmarks.loops [ROUNDS]

16 rows, 300 steps, 50 inputs, 100 units. Processor time, not the clock's: other programs on the machine change it less.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from workshops.fast.torch_loops import run


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # workshops.fast.rows.cores asks for it
    rows = torch.randn(16, 300, 50, requires_grad=True)
    zero = torch.zeros(16, 100)

    def weight(*shape: int) -> Any:
        return (torch.randn(*shape) * 0.1).requires_grad_()

    for kind, gates in (("lstm", 4), ("gru", 3)):
        library = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](50, 100, batch_first=True)
        bias = weight(400) if kind == "lstm" else weight(2, 300)
        own = weight(50, gates * 100), weight(100, gates * 100), bias
        states = [zero] * (2 if kind == "lstm" else 1)

        def ours(kind: Any = kind, states: Any = states, own: Any = own) -> None:
            run(kind, rows, states, own, False)[1].sum().backward()

        def theirs(library: Any = library) -> None:
            library(rows)[0][:, -1].sum().backward()

        took: dict[str, list[float]] = {"own": [], "torch": []}
        for turn in range(rounds):
            for name, work in (("own", ours), ("torch", theirs)):
                spent = _spent(work)
                if turn > 2:
                    took[name].append(1e3 * spent)
        for name, got in took.items():
            print(f"| {kind} | {name} | {statistics.median(got):.1f} ms | {min(got):.1f} ms |", flush=True)


def _spent(work: Callable[[], None]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


if __name__ == "__main__":
    main()
