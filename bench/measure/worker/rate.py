"""Measures samples/s in a few seconds of ``fit``, for measurements other than the timed blocks. Used in a worker
only."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from bench.results.record.figures import Memory

WARM_STEPS = 3
_LEAST_STEPS, _BLOCK_S, _LOOKS = 3, 0.25, 4


Wait = Callable[[Any], None]
"""A function that takes the model and returns when the device has finished all submitted work."""


def pipeline(
    model: Any,
    inputs: Any,
    targets: Any,
    batch_size: int,
    seconds: float,
    wait: Wait,
    *,
    give_up_below: float = 0.0,
) -> float:
    """Samples/s of ``fit`` on arrays, as a lesson calls it. Only full batches are used, because a smaller one would
    be compiled again. The measurement ends early if no block has reached ``give_up_below`` samples/s.
    """
    whole = len(inputs) // batch_size * batch_size
    return _rate(
        model,
        (inputs[:whole], targets[:whole]),
        batch_size,
        seconds,
        wait,
        give_up_below,
        batch_size=batch_size,
        epochs=10**6,
    )


def last_batch(index: int, params: Mapping[str, Any] | None) -> int:
    """Index of the last batch that one call of the training function has trained. ``index`` and ``params`` are
    those of the Keras
    callback at the end of the call.

    One call can train on several batches (``steps_per_execution``). Keras counts the last call of an epoch in full even
    if fewer batches were left.
    """
    steps = (params or {}).get("steps")
    return min(index, steps - 1) if steps else index


def batches_since(before: int, last: int) -> int:
    """Number of batches in one call, computed from the ``last_batch`` of this call and of the call before (-1 if
    there was none).

    The index restarts at every epoch.
    """
    return last + 1 if last <= before else last - before


def _rate(
    model: Any,
    data: tuple[Any, ...],
    samples: int,
    seconds: float,
    wait: Wait,
    give_up_below: float = 0.0,
    **how: Any,
) -> float:
    """Measures the median samples/s over short blocks of steps. The device is synchronised at the end of each block;
    the first steps do not count."""
    import keras

    class Rate(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.rates: list[float] = []
            self.steps = self.since = 0
            self.index = -1
            self.warm = False
            self.mark = self.begun = 0.0

        def on_train_batch_end(self, index: int, logs: dict[str, Any] | None = None) -> None:
            last = last_batch(index, self.params)
            self.steps += batches_since(self.index, last)
            self.index = last
            if not self.warm and self.steps < WARM_STEPS:
                return
            if not self.warm:
                self.warm = True
                wait(self.model)
                self.mark = self.begun = time.perf_counter()
                self.since = self.steps
                return
            if time.perf_counter() - self.mark < _BLOCK_S:
                return
            wait(self.model)
            now = time.perf_counter()
            self.rates.append((self.steps - self.since) * samples / (now - self.mark))
            too_slow = len(self.rates) >= _LOOKS and max(self.rates) < give_up_below
            if too_slow or (now - self.begun >= seconds and self.steps >= WARM_STEPS + _LEAST_STEPS):
                self.model.stop_training = True
            self.mark, self.since = time.perf_counter(), self.steps

    rate = Rate()
    model.fit(*data, verbose=0, callbacks=[rate], **how)
    return float(statistics.median(rate.rates))


def resident(
    model: Any, batch: tuple[Any, Any], backend: str, on_gpu: bool, seconds: float, wait: Wait
) -> float:
    """Samples/s of ``fit`` on one batch that is already on the device and is used for every step."""
    endless = {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}[backend](batch, on_gpu)
    return _rate(model, (endless,), len(batch[1]), seconds, wait, steps_per_epoch=10**6, epochs=1)


def _tensorflow(batch: tuple[Any, Any], on_gpu: bool) -> Any:
    import tensorflow as tf

    place = "/GPU:0" if on_gpu else "/CPU:0"
    endless = tf.data.Dataset.from_tensors(batch).repeat()
    return endless.apply(tf.data.experimental.prefetch_to_device(place)) if on_gpu else endless


def _torch(batch: tuple[Any, Any], on_gpu: bool) -> Any:
    import torch

    place = torch.device("cuda:0" if on_gpu else "cpu")
    there = tuple(torch.as_tensor(part, device=place) for part in batch)

    class Endless(torch.utils.data.IterableDataset):  # type: ignore[misc]
        def __iter__(self) -> Any:
            while True:
                yield there

    return torch.utils.data.DataLoader(Endless(), batch_size=None)


def _jax(batch: tuple[Any, Any], on_gpu: bool) -> Any:
    import jax

    there = tuple(jax.device_put(part) for part in batch)

    def endless() -> Any:
        while True:
            yield there

    return endless()


def memory(backend: str, on_gpu: bool) -> Memory | None:
    """Peak memory of this process so far. On a card the framework counts it; None if the framework has no such
    counter."""
    if not on_gpu:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return Memory(peak_bytes=peak, method="main memory, peak of the process")
    if backend == "torch":
        import torch

        return Memory(peak_bytes=torch.cuda.max_memory_allocated(), method="torch's allocator")
    if backend == "tensorflow":
        import tensorflow as tf

        info = tf.config.experimental.get_memory_info("GPU:0")
        return Memory(peak_bytes=int(info["peak"]), method="TensorFlow's allocator")
    import jax

    stats = jax.devices()[0].memory_stats() or {}
    peak_bytes = stats.get("peak_bytes_in_use")
    return Memory(peak_bytes=int(peak_bytes), method="JAX's allocator") if peak_bytes else None
