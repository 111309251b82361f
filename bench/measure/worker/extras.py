"""What a worker measures beside the timed blocks: resident data, the kernel forced off, other batch sizes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from bench.measure import kernel_path
from bench.measure.events import Event, Generic, Job, Resident, Tried
from bench.measure.worker import rate, tasks
from bench.results.record.figures import BatchPoint
from common import ending

Emit = Callable[[Event], None]

GROWS = 1.03
"""A doubling that gives less than this is no longer faster."""

LOOK_S = 0.5
"""Length of one measurement of the input pipeline. A single one of a second reported an idle machine as slow
(docs/decisions/0060-input-pipeline-check.md)."""

_SLOW = 2.0
"""Where steps are so long that looks take this many times their time, two pairs are enough."""

PATIENCE = 2
"""So many doublings in a row that are no longer faster end the search: one of them may only be noise."""


def beside(job: Job, model: Any, data: tasks.Data, wait: rate.Wait, on_gpu: bool, emit: Emit) -> None:
    """Resident data against the pipeline; on a card, the same model with ``use_cudnn=False``."""
    work = job.workload
    if job.resident_seconds:
        batch = (data.inputs[: work.batch_size], data.targets[: work.batch_size])
        looks = _alternated(
            job.resident_seconds,
            lambda: rate.resident(model, batch, job.backend, on_gpu, LOOK_S, wait),
            lambda: rate.pipeline(model, data.inputs, data.targets, work.batch_size, LOOK_S, wait),
        )
        emit(Resident(looks=looks))
    if job.generic_seconds and on_gpu and kernel_path.recurrent_layers(model):
        other = tasks.model(work, job.setting)
        for layer in kernel_path.flat(other.layers):
            if hasattr(layer, "use_cudnn"):
                layer.use_cudnn = False
        usual = rate.pipeline(other, data.inputs, data.targets, work.batch_size, job.generic_seconds, wait)
        emit(Generic(samples_per_second=usual))


def _alternated(
    seconds: float, there: Callable[[], float], usual: Callable[[], float]
) -> tuple[tuple[float, float], ...]:
    """Samples/s of both, again and again in turn: what else runs on the machine meets the one as often as the other.

    Every other pair is measured the other way round, for a machine that gets warm or comes to rest.
    """
    pairs: list[tuple[float, float]] = []
    ends = time.perf_counter() + _SLOW * 2 * seconds
    while len(pairs) < max(2, round(seconds / LOOK_S)) and (len(pairs) < 2 or time.perf_counter() < ends):
        if len(pairs) % 2:
            later = usual()
            pairs.append((there(), later))
        else:
            pairs.append((there(), usual()))
    return tuple(pairs)


def search(job: Job, data: tasks.Data, wait: rate.Wait, on_gpu: bool, emit: Emit) -> None:
    """Each size of ``job.batch_sizes`` until it is no longer faster or memory ends; every one is told at once."""
    best, flat = 0.0, 0
    for size in job.batch_sizes:
        try:
            point = _try(job, data, size, wait, on_gpu)
        except Exception as error:
            if not is_memory(error):
                raise
            emit(Tried(point=BatchPoint(batch_size=size, why="memory ended"), ended=True))
            return
        emit(Tried(point=point))
        faster = point.samples_per_second is not None and point.samples_per_second > GROWS * best
        flat = 0 if faster else flat + 1
        best = max(best, point.samples_per_second or 0.0)
        if flat >= PATIENCE:
            return


def _try(job: Job, data: tasks.Data, size: int, wait: rate.Wait, on_gpu: bool) -> BatchPoint:
    import keras

    keras.utils.clear_session()
    model = tasks.model(msgspec.structs.replace(job.workload, batch_size=size), job.setting)
    speed = rate.pipeline(
        model, data.inputs, data.targets, size, job.search_seconds, wait, give_up_below=job.give_up_below
    )
    peak = rate.memory(job.backend, on_gpu)
    return BatchPoint(
        batch_size=size, samples_per_second=speed, peak_memory_bytes=peak.peak_bytes if peak else None
    )


def is_memory(error: BaseException) -> bool:
    """Whether memory of the card or of the machine ended, in the words of any framework."""
    text = f"{type(error).__name__} {error}"
    return isinstance(error, MemoryError) or ending.reports_out_of_memory(text)
