"""Measurements of a worker besides the timed blocks: data on the device, training without cuDNN, other batch sizes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from bench.measure import kernel_path
from bench.measure.events import Event, Generic, Resident, TrainingJob, Tried
from bench.measure.worker import rate, tasks
from bench.results.record.figures import BatchPoint
from common.processes import exit_reason

Emit = Callable[[Event], None]

GROWS = 1.03
"""A doubled batch size counts as faster if its samples/s are higher by more than this factor."""

MEASUREMENT_S = 0.5
"""Seconds of one measurement of the input pipeline. A single one of 1 s reported an idle machine as slow
(docs/decisions/0060-input-pipeline-check.md)."""

_SLOW = 2.0
"""If steps are so long that the measurements take this multiple of their planned time, only two pairs are
measured."""

PATIENCE = 2
"""The search ends after this many batch sizes in a row that are not faster; a single one can be noise."""


def measure(
    job: TrainingJob, model: Any, data: tasks.Data, wait: rate.Wait, on_gpu: bool, emit: Emit
) -> None:
    """Data on the device compared with the input pipeline; on a card also the same model with ``use_cudnn=False``."""
    work = job.workload
    if job.resident_seconds:
        batch = (data.inputs[: work.batch_size], data.targets[: work.batch_size])
        pairs = _alternated(
            job.resident_seconds,
            lambda: rate.resident(model, batch, job.backend, on_gpu, MEASUREMENT_S, wait),
            lambda: rate.pipeline(model, data.inputs, data.targets, work.batch_size, MEASUREMENT_S, wait),
        )
        emit(Resident(pairs=pairs))
    if job.generic_seconds and on_gpu and kernel_path.recurrent_layers(model):
        other = tasks.model(work, job.setting)
        for layer in kernel_path.flat(other.layers):
            if hasattr(layer, "use_cudnn"):
                layer.use_cudnn = False
        usual = rate.pipeline(other, data.inputs, data.targets, work.batch_size, job.generic_seconds, wait)
        emit(Generic(samples_per_second=usual))


def _alternated(
    seconds: float, on_device: Callable[[], float], usual: Callable[[], float]
) -> tuple[tuple[float, float], ...]:
    """Samples/s of both in alternation, so that other programs affect both equally.

    Every second pair is measured in reverse order, so that a drift of the machine cancels out.
    """
    pairs: list[tuple[float, float]] = []
    ends = time.perf_counter() + _SLOW * 2 * seconds
    while len(pairs) < max(2, round(seconds / MEASUREMENT_S)) and (
        len(pairs) < 2 or time.perf_counter() < ends
    ):
        if len(pairs) % 2:
            later = usual()
            pairs.append((on_device(), later))
        else:
            pairs.append((on_device(), usual()))
    return tuple(pairs)


def search(job: TrainingJob, data: tasks.Data, wait: rate.Wait, on_gpu: bool, emit: Emit) -> None:
    """Try each of ``job.batch_sizes`` until they are not faster or memory is full. Each result is one event."""
    best, flat = 0.0, 0
    for size in job.batch_sizes:
        try:
            point = _try(job, data, size, wait, on_gpu)
        except Exception as error:
            if not is_memory(error):
                raise
            emit(Tried(point=BatchPoint(batch_size=size, why="out of memory"), ended=True))
            return
        emit(Tried(point=point))
        faster = point.samples_per_second is not None and point.samples_per_second > GROWS * best
        flat = 0 if faster else flat + 1
        best = max(best, point.samples_per_second or 0.0)
        if flat >= PATIENCE:
            return


def _try(job: TrainingJob, data: tasks.Data, size: int, wait: rate.Wait, on_gpu: bool) -> BatchPoint:
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
    """Whether a framework reports that the memory of the card or the machine is full."""
    text = f"{type(error).__name__} {error}"
    return isinstance(error, MemoryError) or exit_reason.reports_out_of_memory(text)
