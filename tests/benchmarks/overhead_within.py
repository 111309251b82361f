"""What the benchmark's timing costs, where processes scatter more than that: both in one process, in turns.

    .venv/bin/python tests/benchmarks/overhead_within.py [TURNS] [WORKLOAD ...]

One model, trained on in turns of some seconds: once with the callback that ``dlbox bench`` times with, once bare,
as ``overhead.py`` times a bare script. Who goes first changes from pair to pair. What ``overhead.py`` sees and
this does not is what a process of its own brings.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import textwrap

SECONDS = 3.0
"""Of each turn."""

TURNS = """
import sys, time
import keras, msgspec
from bench.measure.worker import arithmetic, tasks
    from bench.measure import backend, kernel_path
from bench.measure.events import Block, TrainingJob
from bench.measure.worker.timing import timer
from bench.measure.workloads import WORKLOADS
work, pairs, seconds = WORKLOADS[sys.argv[1]], int(sys.argv[2]), float(sys.argv[3])
keras.utils.set_random_seed(0)
data = tasks.data(work, 0)
whole = len(data.inputs) // work.batch_size * work.batch_size
inputs, targets = data.inputs[:whole], data.targets[:whole]
model = tasks.model(work, None)
arithmetic.count(model, work.batch_size, work.tokens)
kernel_path.look(
    model, inputs[: work.batch_size], "tensorflow", on_gpu=False, keras_version=keras.__version__
)
wait = backend.synchroniser("tensorflow", False)
untold = msgspec.structs.replace(work, examples_before_judging=0)
job = TrainingJob(workload=untold, backend="tensorflow", seed=0, train_seconds=seconds, parent_pid=0)
class Epoch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()
    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.begun
def ours():
    blocks = []
    clock = timer(job, wait, lambda event: blocks.append(event) if isinstance(event, Block) else None)
    model.fit(inputs, targets, batch_size=work.batch_size, epochs=1_000_000, verbose=0, callbacks=[clock])
    return sum(b.examples for b in blocks) / sum(b.seconds for b in blocks)
def bare(examples):
    epoch = Epoch()
    model.fit(inputs[:examples], targets[:examples], batch_size=work.batch_size, verbose=0, callbacks=[epoch])
    return examples / epoch.seconds
rate = ours()
examples = min(whole, max(1, round(rate * seconds / work.batch_size)) * work.batch_size)
bare(examples)
for pair in range(pairs):
    if pair % 2:
        other, one = bare(examples), ours()
    else:
        one, other = ours(), bare(examples)
    print(one, other, flush=True)
"""


def least_rank(count: int) -> int:
    """Of ``count`` sorted values, between which one from either end the median lies in 95 cases of 100 (sign test)."""
    rank, tail = 0, 0.5**count
    while rank + 1 < count / 2 and tail + math.comb(count, rank + 1) * 0.5**count <= 0.025:
        rank += 1
        tail += math.comb(count, rank) * 0.5**count
    return rank


def main() -> None:
    from bench.measure.workloads import WORKLOADS

    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    print(
        "| workload | turns per side | timed by dlbox | plain fit | median ratio of the pairs | 95% interval |"
    )
    print("|---|---|---|---|---|---|")
    for name in sys.argv[2:] or list(WORKLOADS):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(TURNS), name, str(turns), str(SECONDS)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env={**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "1"},
        )
        pairs = [tuple(map(float, line.split())) for line in done.stdout.splitlines()]
        one, other = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratios = sorted(a / b for a, b in pairs)
        rank = least_rank(len(ratios))
        print(
            f"| {name} | {turns} | {one:,.0f} | {other:,.0f} | {statistics.median(ratios):.3f} | "
            f"{ratios[rank]:.3f} to {ratios[-1 - rank]:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
