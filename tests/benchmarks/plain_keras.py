"""A plain Keras script: build, compile, fit. BACKEND by KERAS_BACKEND; "fast", "split", "loops" quicken the
layers, "xla" compiles, "steps" (alone or as in "loops-steps32") trains on 8 batches a call, or on so many."""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import keras

from bench.measure.worker import rate, tasks
from bench.measure.workloads import WORKLOADS
from tests.benchmarks.raw_common import batches
from workshops.speed.settings import Setting


def main(name: str, seconds: float, how: str) -> float:
    tokens, labels = batches(name)
    backend = keras.backend.backend()
    model = tasks.model(
        WORKLOADS[name],
        Setting(
            backend=backend,
            layers=next((way for way in ("fast", "split", "loops") if way in how), "stock"),
            jit=True if "xla" in how else None,
            steps_per_execution=int(how.partition("steps")[2] or 8) if "steps" in how else 1,
        ),
    )

    class Rate(keras.callbacks.Callback):  # type: ignore[misc]
        """Blocks of half a second, after 20 steps; a call may have trained on several batches."""

        def __init__(self) -> None:
            super().__init__()
            self.steps = self.since = 0
            self.index = -1
            self.mark = self.begun = 0.0
            self.rates: list[float] = []

        def on_train_batch_end(self, index: int, logs: Any = None) -> None:
            last = rate.last_batch(index, self.params)
            self.steps += rate.batches_since(self.index, last)
            self.index = last
            now = time.perf_counter()
            if self.steps < 20:
                return
            if not self.begun:
                self.begun, self.mark, self.since = now, now, self.steps
            elif now - self.mark >= 0.5:
                self.rates.append((self.steps - self.since) * 32 / (now - self.mark))
                self.mark, self.since = now, self.steps
                if now - self.begun > seconds:
                    self.model.stop_training = True

    timed = Rate()
    model.fit(tokens, labels, batch_size=32, epochs=10**6, verbose=0, callbacks=[timed])
    return statistics.median(timed.rates)


if __name__ == "__main__":
    print(main(sys.argv[1], float(sys.argv[2]), sys.argv[3]))
