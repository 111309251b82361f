"""Samples/s of a few seconds of ``fit``, for what is measured beside the timed blocks. Used in a worker only."""

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
"""Returns when the device has done all that it was given for a model."""


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
    """``fit`` on arrays, as a lesson calls it; whole batches only, so that nothing is compiled again.

    Ends early where no block so far was as fast as ``give_up_below`` samples/s.
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
    """Of a call, by the callback's ``index`` at its end and the callback's ``params``.

    One call may train on several batches (``steps_per_execution``). Keras counts the last of an epoch in full, however
    few batches were left for it.
    """
    steps = (params or {}).get("steps")
    return min(index, steps - 1) if steps else index


def batches_since(before: int, last: int) -> int:
    """Batches that a call trained on, by its ``last_batch`` and that of the call before (-1: there was none).

    The index starts again at every epoch.
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
    """Median over short blocks, the device waited for at each end; the first steps are left out."""
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
            hopeless = len(self.rates) >= _LOOKS and max(self.rates) < give_up_below
            if hopeless or (now - self.begun >= seconds and self.steps >= WARM_STEPS + _LEAST_STEPS):
                self.model.stop_training = True
            self.mark, self.since = time.perf_counter(), self.steps

    rate = Rate()
    model.fit(*data, verbose=0, callbacks=[rate], **how)
    return float(statistics.median(rate.rates))


def resident(
    model: Any, batch: tuple[Any, Any], backend: str, on_gpu: bool, seconds: float, wait: Wait
) -> float:
    """``fit`` on one batch that is on the device already, again and again."""
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
    """Peak of this process until now; on a card by the framework's own count, None where it keeps none."""
    if not on_gpu:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return Memory(peak_bytes=peak, method="main memory, the process at its largest")
    if backend == "torch":
        import torch

        return Memory(peak_bytes=torch.cuda.max_memory_allocated(), method="torch's allocator")
    if backend == "tensorflow":
        import tensorflow as tf

        told = tf.config.experimental.get_memory_info("GPU:0")
        return Memory(peak_bytes=int(told["peak"]), method="TensorFlow's allocator")
    import jax

    stats = jax.devices()[0].memory_stats() or {}
    told = stats.get("peak_bytes_in_use")
    return Memory(peak_bytes=int(told), method="JAX's allocator") if told else None
