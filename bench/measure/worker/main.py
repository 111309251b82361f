"""Run one job in this process: a TrainingJob as JSON on stdin, events as JSON lines on stdout.

``bench.measure.runner`` starts this module. The output of a framework goes to stderr.
"""

from __future__ import annotations

import math
import os
import sys
import time
from typing import Any

import msgspec

from bench.measure import backend as frameworks
from bench.measure import kernel_path
from bench.measure.events import Evaluated, Event, Failed, Imported, Peak, TrainingJob
from bench.measure.worker import arithmetic, extras, parallel, rate, tasks
from bench.measure.worker.timing import timer
from bench.measure.workloads import Workload
from common.processes.child import die_with_parent


def main() -> int:
    """Run the job; 1 after an exception, which is reported as an event."""
    die_with_parent()
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=TrainingJob)
    os.environ.update(parallel.environment(job))
    die_with_parent(job.parent_pid)

    def emit(event: Event) -> None:
        out.write(msgspec.json.encode(event) + b"\n")

    try:
        _train(job, emit)
    except Exception as error:  # a framework can raise any exception
        emit(Failed(kind=_kind(error), message=_first_line(error)))
        return 1
    out.flush()
    os._exit(0)  # frameworks can hang or crash at exit; all events are written


def _train(job: TrainingJob, emit: Any) -> None:
    started = time.perf_counter()
    try:
        import keras

        device = frameworks.device(job.backend)
    except ImportError as error:
        emit(Failed(kind="no-backend", message=_first_line(error)))
        return
    imported = time.perf_counter() - started

    work = job.workload
    engine = parallel.engine(job, emit)
    keras.utils.set_random_seed(job.seed + job.rank)
    data = tasks.data(work, job.seed)
    with engine.scope():
        model = tasks.model(work, job.setting)
    emit(
        Imported(
            seconds=imported,
            versions=frameworks.versions(job.backend),
            device=device.name,
            on_gpu=device.on_gpu,
            precision=(job.setting.precision if job.setting else None) or device.precision,
            parameters=model.count_params(),
            pid=os.getpid(),
            work=arithmetic.count(model, work.batch_size, work.tokens),
        )
    )
    wait = frameworks.synchroniser(job.backend, device.on_gpu)
    if job.batch_sizes:
        extras.search(job, data, wait, device.on_gpu, emit)
        return
    alone = job.devices is None or job.devices.count == 1
    if alone:  # on several devices the model is the same as on one device, where it was already examined
        batch = data.inputs[: work.batch_size]
        version = keras.__version__
        emit(kernel_path.look(model, batch, job.backend, on_gpu=device.on_gpu, keras_version=version))
    engine.take(model)
    clock = timer(job, wait, emit, engine.agree)
    used = (
        len(data.inputs) // work.batch_size * work.batch_size
    )  # a smaller last batch would be compiled again
    inputs, targets = engine.share(data.inputs[:used], data.targets[:used])
    size = engine.batch_size(work.batch_size)
    model.fit(inputs, targets, batch_size=size, epochs=1_000_000, verbose=0, callbacks=[clock])
    replicas = engine.replicas(model)
    if replicas is not None:
        emit(replicas)
    peak = rate.memory(job.backend, device.on_gpu)
    if peak is not None:
        emit(Peak(memory=peak))
    _judge(work, model, data, clock.seen * work.batch_size, emit)
    extras.measure(job, model, data, wait, device.on_gpu, emit)


def _judge(work: Workload, model: Any, data: tasks.Data, seen: int, emit: Any) -> None:
    for judgement in range(work.judgements):
        started = time.perf_counter()
        loss, accuracy = model.evaluate(data.test_inputs, data.test_targets, batch_size=250, verbose=0)
        known = math.isfinite(float(loss))
        emit(
            Evaluated(
                accuracy=float(accuracy),
                ceiling=data.ceiling,
                loss=float(loss) if known else None,
                test_examples=work.test_examples,
                examples_seen=seen,
                seconds=time.perf_counter() - started,
            )
        )
        if not known or accuracy >= work.accuracy_bar or judgement + 1 == work.judgements:
            break
        more = work.examples_between_judgements
        # Use other examples each time, because the model learns more from new ones.
        first = judgement * more % max(1, len(data.inputs) - more)
        model.fit(
            data.inputs[first : first + more],
            data.targets[first : first + more],
            batch_size=work.batch_size,
            verbose=0,
        )
        seen += more


def _kind(error: Exception) -> Any:
    return "out-of-memory" if extras.is_memory(error) else "error"


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
