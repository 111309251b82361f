"""What `dlbox bench` reports against a bare Keras script of the same model, data and settings, alternated.

    .venv/bin/python tests/benchmarks/overhead.py [PAIRS] [WORKLOAD ...]

The bare script times one whole epoch of ``model.fit`` between its own two callbacks (first batch of the
second epoch to its last), so that neither compiling nor the tail of the call is in its figure either.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap

from bench.measure.workloads import WORKLOADS, Workload

BARE = """
import os, sys, time
import keras
from bench.measure.worker import tasks
from bench.measure.workloads import WORKLOADS
work, examples = WORKLOADS[sys.argv[1]], int(sys.argv[2])
keras.utils.set_random_seed(0)
data = tasks.data(work, 0)
inputs, targets = data.inputs[:examples], data.targets[:examples]
model = tasks._build(work)
optimizer = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}[work.optimizer]
model.compile(
    optimizer(work.learning_rate, clipnorm=work.gradient_clip_norm or None), work.loss, metrics=["accuracy"]
)
model.fit(inputs[:640], targets[:640], batch_size=32, verbose=0)
class Epoch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()
    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.begun
epoch = Epoch()
model.fit(inputs, targets, batch_size=32, verbose=0, callbacks=[epoch])
print(examples / epoch.seconds)
"""


LONGER = {"cnn-lstm": 10_240, "seq2seq": 20_000, "sign-cnn": 20_000}
"""Examples of an epoch, so that it takes some seconds."""


def bare(workload: Workload, examples: int) -> float:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BARE), workload.name, str(examples)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "1"},
    )
    return float(done.stdout.split()[-1])


def ours(workload: Workload) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-P", "dlbox.py", "bench", "--quick", "--json", "--workload", workload.name],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "XDG_DATA_HOME": folder},
        )
    result = json.loads(done.stdout)["results"][0]
    load = statistics.median(b["other_cpu_cores"] for b in result["repeats"][0]["blocks"])
    return float(result["samples_per_second"]["median"]), load


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(
        "| workload | pair | dlbox bench | plain fit | ratio | other load, cores |\n|---|---|---|---|---|---|"
    )
    for name in sys.argv[2:] or list(WORKLOADS):
        ratios = []
        for pair in range(pairs):
            examples = LONGER.get(name, 5_120)
            if pair % 2:  # whoever comes first may find the processor rested
                other = bare(WORKLOADS[name], examples)
                one, load = ours(WORKLOADS[name])
            else:
                one, load = ours(WORKLOADS[name])
                other = bare(WORKLOADS[name], examples)
            ratios.append(one / other)
            print(
                f"| {name} | {pair + 1} | {one:,.0f} | {other:,.0f} | {one / other:.3f} | {load:.2f} |",
                flush=True,
            )
        print(f"| {name} | median | | | {statistics.median(ratios):.3f} | |", flush=True)


if __name__ == "__main__":
    main()
