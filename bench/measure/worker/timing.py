"""Time a training run in a callback of ``fit``: first step, warm-up, then blocks of steps."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from bench.measure.events import Block, Compiled, TrainingJob
from bench.measure.worker import rate
from bench.measure.worker.governor import Governors

if TYPE_CHECKING:
    import keras


class LoadReading(NamedTuple):
    """Use of the processor over one block; cores are means over the block."""

    other_cpu_cores: float
    own_cpu_cores: float
    waiting_share: float | None
    """Waiting / (running + waiting) of all threads of the worker; None if the kernel does not count it."""


class ProcessorLoad:
    """Measures how many CPU cores this worker, the command that started it, and all other processes use, and how long
    the worker's threads wait for a core."""

    def __init__(self, parent_pid: int) -> None:
        me = psutil.Process(os.getpid())
        self._workers = [me, *me.children(recursive=True)]  # the processes that train on the other devices
        self._own = [*self._workers, *([psutil.Process(parent_pid)] if parent_pid else [])]
        self._last = self._read()
        self._threads = self._thread_times()

    def _read(self) -> tuple[float, float]:
        times = psutil.cpu_times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0)
        busy -= getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # already part of user time
        own = 0.0
        for process in self._own:
            try:
                spent = process.cpu_times()
            except psutil.Error:
                continue
            own += spent.user + spent.system
        return busy, own

    def _thread_times(self) -> dict[str, tuple[int, int]]:
        """Nanoseconds that each thread of the worker ran, and that it waited for a core while it was ready to run."""
        found = {}
        for process in self._workers:
            for file in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
                with suppress(OSError, ValueError, IndexError):
                    ran, waited, *_ = file.read_text().split()
                    found[str(file)] = (int(ran), int(waited))
        return found

    def since_last(self, seconds: float) -> LoadReading:
        """The mean use over the last ``seconds``; each figure is at least 0."""
        busy, own = self._read()
        mine = max(0.0, own - self._last[1])
        others = max(0.0, busy - self._last[0] - mine)
        self._last = (busy, own)
        before, self._threads = self._threads, self._thread_times()
        share = waiting_share(before, self._threads)
        if seconds <= 0:
            return LoadReading(0.0, 0.0, share)
        return LoadReading(round(others / seconds, 3), round(mine / seconds, 3), share)


def waiting_share(
    before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]
) -> float | None:
    """Waiting / (running + waiting) between two readings of thread times (running, waiting); None without times.

    Threads that ended between the readings do not count.
    """
    ran = waited = 0
    for thread, (now_ran, now_waited) in after.items():
        then_ran, then_waited = before.get(thread, (0, 0))
        ran += max(0, now_ran - then_ran)
        waited += max(0, now_waited - then_waited)
    return round(waited / (ran + waited), 4) if ran + waited else None


def _loss(logs: dict[str, Any] | None) -> float | None:
    """The loss, None if it is not finite. Read after synchronisation, outside the timed part."""
    loss = (logs or {}).get("loss")
    return None if loss is None or not math.isfinite(float(loss)) else float(loss)


def single_steps(began: float, ends: Sequence[tuple[float, int]], seconds: float) -> tuple[float, ...]:
    """Seconds of each step of a block that took ``seconds``. ``ends``: end time and steps of each call.

    If the device runs asynchronously, calls return at once and the host waits only when the block is synchronised. Then
    the times have no meaning and the result is empty. This is the case if the median is below half the mean.
    """
    before = (began, *(end for end, _ in ends))
    each = [(end - last) / done for last, (end, done) in zip(before, ends, strict=False) for _ in range(done)]
    if not each or statistics.median(each) < seconds / len(each) / 2:
        return ()
    return tuple(round(one, 7) for one in each)


def timer(
    job: TrainingJob,
    synchronise: Callable[[Any], None],
    emit: Callable[[Compiled | Block], None],
    agree: Callable[[int], int] = lambda value: value,
) -> keras.callbacks.Callback:
    """A Keras callback that times the steps of ``fit`` and stops it when ``job`` is complete.

    ``agree`` returns the value of the first of several processes that train together, after all have called it.

    The call of ``fit`` itself is not timed, because on TensorFlow it can block for seconds after the last batch.
    """
    import keras

    batch, enough = job.workload.batch_size, job.workload.examples_before_judging

    class Timer(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
            self.seen = self.first = 0
            self.index = -1
            self.block_steps = 0
            self.steps_in_block = 0
            self.mark = self.begun = time.perf_counter()

        def on_train_batch_end(self, index: int, logs: dict[str, Any] | None = None) -> None:
            last = rate.last_batch(index, self.params)
            done = rate.batches_since(self.index, last)
            self.index = last
            self.seen += done
            if self.block_steps:
                self.ends.append((time.perf_counter(), done))
                self.steps_in_block += done
                if self.steps_in_block >= self.block_steps:
                    self._end_block(logs)
            elif self.seen == done:
                self.first = done
                synchronise(self.model)
                now = time.perf_counter()
                emit(Compiled(seconds=now - self.mark))
                self.mark = now
            elif self.seen > job.warmup_steps:
                self._end_warmup()

        def _end_warmup(self) -> None:
            synchronise(self.model)
            now = time.perf_counter()
            step = (now - self.mark) / (self.seen - self.first)
            self.block_steps = agree(max(1, round(job.block_seconds / step)))
            self.load = ProcessorLoad(job.parent_pid)
            self.governors = Governors()
            self.ends: list[tuple[float, int]] = []
            self.mark = self.begun = time.perf_counter()

        def _end_block(self, logs: dict[str, Any] | None) -> None:
            synchronise(self.model)
            now = time.perf_counter()
            seconds, trained = now - self.mark, now - self.begun
            seen = self.seen * batch
            ends = agree(trained >= job.train_seconds and seen >= enough)
            load = self.load.since_last(seconds)
            emit(
                Block(
                    steps=self.steps_in_block,
                    examples=self.steps_in_block * batch,
                    seconds=seconds,
                    other_cpu_cores=load.other_cpu_cores,
                    trained_seconds=trained,
                    examples_seen=seen,
                    done_share=min(1.0, trained / job.train_seconds, seen / max(enough, 1)),
                    loss=_loss(logs),
                    governor=self.governors.read(),
                    single_steps=single_steps(self.mark, self.ends, seconds),
                    usable_cores=len(os.sched_getaffinity(0)),
                    own_cpu_cores=load.own_cpu_cores,
                    waiting_share=load.waiting_share,
                )
            )
            self.steps_in_block = 0
            self.ends = []
            if ends:
                self.model.stop_training = True
            self.mark = time.perf_counter()

    return Timer()
