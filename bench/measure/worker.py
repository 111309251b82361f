"""Run one piece of work in this fresh process: a Job as JSON on stdin, events as JSON lines on stdout.

Started by ``bench.measure.runner``; nothing else imports it. Whatever a framework prints goes to stderr.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import Any

import msgspec

from bench.measure import backend as frameworks
from bench.measure import kernel_path
from bench.measure.events import Evaluated, Event, Failed, Imported, Job
from bench.measure.timing import timer
from bench.measure.workloads import Workload

_PR_SET_PDEATHSIG = 1
_TEST_SEED_OFFSET = 1_000_003
"""Test reviews come from another stream than the training reviews of any small seed."""


def main() -> int:
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    _die_with_parent(job.parent_pid)

    def emit(event: Event) -> None:
        out.write(msgspec.json.encode(event) + b"\n")

    try:
        _train(job, emit)
    except Exception as error:  # the one place where every failure of a framework becomes one event
        emit(Failed(kind=_kind(error), message=_first_line(error)))
        return 1
    out.flush()
    os._exit(0)  # frameworks can hang or crash while they tidy up; all is said


def _train(job: Job, emit: Any) -> None:
    started = time.perf_counter()
    try:
        import keras

        device = frameworks.device(job.backend)
    except ImportError as error:
        emit(Failed(kind="no-backend", message=_first_line(error)))
        return
    imported = time.perf_counter() - started

    from workshops import models
    from workshops.data import sentiment_grammar

    work = job.workload
    keras.utils.set_random_seed(job.seed)
    train = sentiment_grammar.make(work.train_examples, length=work.tokens, seed=job.seed)
    test = sentiment_grammar.make(work.test_examples, length=work.tokens, seed=job.seed + _TEST_SEED_OFFSET)
    model = models.build(work.model, vocabulary=work.vocabulary, length=work.tokens)
    model.compile(optimizer=_optimizer(work), loss=work.loss, metrics=["accuracy"])
    emit(
        Imported(
            seconds=imported,
            versions=frameworks.versions(job.backend),
            device=device.name,
            on_gpu=device.on_gpu,
            precision=device.precision,
            parameters=model.count_params(),
            pid=os.getpid(),
        )
    )
    batch = train.tokens[: work.batch_size]
    emit(kernel_path.look(model, batch, job.backend, on_gpu=device.on_gpu, keras_version=keras.__version__))
    clock = timer(job, frameworks.synchroniser(job.backend, device.on_gpu), emit)
    model.fit(
        train.tokens, train.labels, batch_size=work.batch_size, epochs=1_000_000, verbose=0, callbacks=[clock]
    )
    seen = clock.seen * work.batch_size
    for judgement in range(work.judgements):
        started = time.perf_counter()
        loss, accuracy = model.evaluate(test.tokens, test.labels, batch_size=250, verbose=0)
        emit(
            Evaluated(
                accuracy=float(accuracy),
                ceiling=test.realised_ceiling(),
                loss=float(loss),
                test_examples=work.test_examples,
                examples_seen=seen,
                seconds=time.perf_counter() - started,
            )
        )
        if accuracy >= work.accuracy_bar or judgement + 1 == work.judgements:
            break
        more = work.examples_between_judgements
        model.fit(train.tokens[:more], train.labels[:more], batch_size=work.batch_size, verbose=0)
        seen += more


def _optimizer(work: Workload) -> Any:
    import keras

    config = {"learning_rate": work.learning_rate, "clipnorm": work.gradient_clip_norm}
    return keras.optimizers.get({"class_name": work.optimizer, "config": config})


def _die_with_parent(parent_pid: int) -> None:
    """A killed command must not leave a training run behind; Linux does that for us."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent_pid and os.getppid() != parent_pid:
        os._exit(1)


def _kind(error: Exception) -> Any:
    text = f"{type(error).__name__} {error}".lower()
    memory = isinstance(error, MemoryError) or any(
        mark in text for mark in ("resourceexhausted", "resource_exhausted", "out of memory", "oom")
    )
    return "out-of-memory" if memory else "error"


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
