"""A plain Keras script: build, compile, fit. BACKEND by KERAS_BACKEND; "fast" quickens the layers."""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import keras

from bench.measure import tasks
from bench.measure.workloads import WORKLOADS
from tests.benchmarks.raw_common import batches
from workshops.settings import Setting


def main(name: str, seconds: float, how: str) -> float:
    tokens, labels = batches(name)
    backend = keras.backend.backend()
    model = tasks.model(
        WORKLOADS[name],
        Setting(
            backend=backend,
            layers=how if how in ("fast", "split") else "stock",
            jit=True if how == "xla" else None,
        ),
    )

    class Rate(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.steps, self.size = 0, 10
            self.rates: list[float] = []

        def on_train_batch_end(self, index: int, logs: Any = None) -> None:
            self.steps += 1
            now = time.perf_counter()
            if self.steps == 10:
                self.mark = now
            elif self.steps == 20:
                self.size = max(1, round(5 / (now - self.mark)))
                self.begun = self.mark = now
            elif self.steps > 20 and (self.steps - 20) % self.size == 0:
                self.rates.append(self.size * 32 / (now - self.mark))
                self.mark = now
                if now - self.begun > seconds:
                    self.model.stop_training = True

    rate = Rate()
    model.fit(tokens, labels, batch_size=32, epochs=10**6, verbose=0, callbacks=[rate])
    return statistics.median(rate.rates)


if __name__ == "__main__":
    print(main(sys.argv[1], float(sys.argv[2]), sys.argv[3]))
