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
from workshops import models
from workshops.data import sentiment_grammar
name, examples, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
keras.utils.set_random_seed(0)
data = sentiment_grammar.make(20_000, length=length, seed=0)
tokens, labels = data.tokens[:examples], data.labels[:examples]
model = models.build(name, length=length)
model.compile(keras.optimizers.Adam(1e-3, clipnorm=1.0), "binary_crossentropy", metrics=["accuracy"])
model.fit(tokens[:640], labels[:640], batch_size=32, verbose=0)
class Epoch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()
    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.begun
epoch = Epoch()
model.fit(tokens, labels, batch_size=32, verbose=0, callbacks=[epoch])
print(examples / epoch.seconds)
"""


def bare(workload: Workload, examples: int) -> float:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BARE), workload.model, str(examples), str(workload.tokens)],
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
        "| workload | pair | dlbox bench | bare fit | ratio | other load, cores |\n|---|---|---|---|---|---|"
    )
    for name in sys.argv[2:] or list(WORKLOADS):
        ratios = []
        for pair in range(pairs):
            one, load = ours(WORKLOADS[name])
            other = bare(WORKLOADS[name], 5_120 if name != "cnn-lstm" else 10_240)
            ratios.append(one / other)
            print(
                f"| {name} | {pair + 1} | {one:,.0f} | {other:,.0f} | {one / other:.3f} | {load:.2f} |",
                flush=True,
            )
        print(f"| {name} | median | | | {statistics.median(ratios):.3f} | |", flush=True)


if __name__ == "__main__":
    main()
