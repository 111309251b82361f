"""The search for the fastest setting of one model: backend, layers, compiler, precision and batch size."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence

import msgspec

from bench.measure import runner
from bench.measure.batches import LEAST_EXAMPLES_PER_SIZE
from bench.measure.events import Evaluated, Event, Imported, TrainingJob, Tried
from bench.measure.workloads import Workload
from bench.run.tune_candidates import GAIN, TriedSetting, choose, longer_calls, precisions
from bench.run.tuned_settings import as_set
from workshops.speed.settings import Setting


class TuningResult(msgspec.Struct, frozen=True, kw_only=True):
    """The settings tried for one workload, and the best of them.

    tried: The default setting is the first, and is measured again as the last if another is faster.
    best: The default if no other setting is faster by more than ``GAIN``; None if no setting could be trained.
    why: Why not all settings were tried, or "".
    """

    workload: str
    tried: tuple[TriedSetting, ...] = ()
    best: Setting | None = None
    default_samples_per_second: float | None = None
    samples_per_second: float | None = None
    why: str = ""
    interrupted: bool = False


PROMISING = 0.7
"""A setting is not measured further if its first blocks are slower than this share of the best speed."""

WORTH = 1.1
"""A doubled batch size counts only if it is this many times as fast. A batch size changes what the model learns, so
its accuracy has to be measured again."""


Run = Callable[..., runner.WorkerProblem | None]


class _Search:
    """The settings of one workload, tried one after another."""

    def __init__(
        self, workload: Workload, deadline: float, say: Callable[[str], None], seconds: float, run: Run,
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self.workload, self.deadline, self.say, self.seconds = workload, deadline, say, seconds
        self.run, self.clock = run, clock
        self.tried: list[TriedSetting] = []
        self.workers: dict[Setting, Imported] = {}

    @property
    def fastest(self) -> float:
        return max((one.samples_per_second or 0.0 for one in self.tried if not one.why), default=0.0)

    @property
    def recurs(self) -> bool:
        """Whether the model has a recurrent layer; true as long as no worker has reported."""
        works = [one.work for one in self.workers.values() if one.work is not None]
        return not works or any(work.recurrent_steps for work in works)

    def try_setting(self, setting: Setting, words: str = "", *, worth: float = GAIN) -> TriedSetting:
        """Measure the speed of ``setting`` in samples/s. Raises _TimeIsUpError after the deadline.

        A setting that changes what the model learns counts only if it is ``worth`` times as fast as the fastest so far
        and reaches the workload's accuracy.
        """
        if self.tried and not words and self.clock() >= self.deadline:
            raise _TimeIsUpError
        self.say(setting.summary + words)
        give_up = 0.0 if words or not self.tried else PROMISING * self.fastest
        one = _measure(self.workload, setting, self.seconds, self.run, self.workers, give_up)
        if setting.changes_training and one.samples_per_second:
            if one.samples_per_second < worth * self.fastest:
                why = f"less than {worth - 1:.0%} faster, so its accuracy was not measured"
                one = msgspec.structs.replace(one, why=why)
            else:
                self.say(f"{setting.summary}: measuring its accuracy")
                one = _learning(one, self.workload, self.run)
        self.tried.append(one)
        return one

    def best(self) -> Setting | None:
        return choose(self.tried)[0]

    def larger_batches(self, setting: Setting) -> None:
        """Double the batch size as long as the speed rises by ``WORTH`` and the model still learns."""
        size, one = 2 * self.workload.batch_size, TriedSetting(setting=setting)
        while not one.why and size * LEAST_EXAMPLES_PER_SIZE <= self.workload.train_examples:
            one = self.try_setting(msgspec.structs.replace(setting, batch_size=size), worth=WORTH)
            size *= 2


class _TimeIsUpError(Exception):
    pass


def tune(
    workload: Workload,
    settings_to_try: Sequence[Setting],
    *,
    deadline: float,
    say: Callable[[str], None],
    seconds: float = 6.0,
    run: Run = runner.run,
    clock: Callable[[], float] = time.monotonic,
    on_gpu: bool = False,
    flags: Collection[str] = (),
) -> tuple[TuningResult, Imported | None]:
    """Try each setting in a fresh process until ``deadline`` (of ``clock``, in seconds), the default first.

    The fastest is then tried with several batches per call, other precisions and larger batches, and the default is
    measured again if another setting is faster. Returns the result, and what the worker of the best setting reported
    about its environment. Ctrl-C ends the search with the settings measured until then.

    say: Gets a line about each setting. seconds: Time for each. on_gpu: Whether the machine has a card. flags: Feature
    flags of the processor.
    """
    search = _Search(workload, deadline, say, seconds, run, clock)
    why, interrupted = "", False
    try:
        try:
            for setting in settings_to_try:
                if setting.layers == "stock" or search.recurs:
                    search.try_setting(setting)
            for setting in longer_calls(search.tried):
                search.try_setting(setting)
            best = search.best()
            if best is not None:
                for setting in precisions(best, on_gpu, flags):
                    search.try_setting(setting)
                search.larger_batches(search.best() or best)
        except _TimeIsUpError:
            why = "the time limit of --minutes was reached"
        best = search.best()
        if best is not None and best != search.tried[0].setting:
            search.try_setting(search.tried[0].setting, ", again")
    except KeyboardInterrupt:
        why, interrupted = "interrupted", True
    best, rate, usual = choose(search.tried)
    done = TuningResult(
        workload=workload.name, tried=tuple(search.tried), best=best, samples_per_second=rate,
        default_samples_per_second=usual, interrupted=interrupted,
        why=f"not all settings were tried: {why}" if why else "",
    )  # fmt: skip
    return done, search.workers.get(best) if best else None


def _learning(one: TriedSetting, workload: Workload, run: Run) -> TriedSetting:
    """``one`` with its accuracy. If that is below the workload's minimum, also with the reason why ``one`` does not
    count."""
    if not workload.accuracy_bar:
        return msgspec.structs.replace(
            one, why="this model has no minimum accuracy, so a loss of accuracy would not be detected"
        )
    seen: list[Evaluated] = []

    def on_event(event: Event) -> None:
        if isinstance(event, Evaluated):
            seen.append(event)

    job = TrainingJob(
        workload=as_set(workload, one.setting),
        backend=one.setting.backend,
        parent_pid=os.getpid(),
        train_seconds=1.0,
        setting=one.setting,
    )
    problem = run(job, on_event)
    if not seen:
        return msgspec.structs.replace(
            one,
            why=f"its accuracy is unknown: {problem.message if problem else 'the worker reported nothing'}",
        )
    if seen[-1].loss is None:
        return msgspec.structs.replace(one, why="training diverged (the loss is NaN)")
    accuracy = max(look.accuracy for look in seen)
    low = accuracy < workload.accuracy_bar
    why = f"accuracy {accuracy:.3f} is below the minimum of {workload.accuracy_bar}" if low else ""
    return msgspec.structs.replace(one, accuracy=accuracy, why=why)


def _measure(
    workload: Workload,
    setting: Setting,
    seconds: float,
    run: Run,
    workers: dict[Setting, Imported],
    give_up_below: float = 0.0,
) -> TriedSetting:
    rates: list[float] = []

    def on_event(event: Event) -> None:
        if isinstance(event, Imported):
            workers[setting] = event
        elif isinstance(event, Tried) and event.point.samples_per_second:
            rates.append(event.point.samples_per_second)

    job = TrainingJob(
        workload=workload,
        backend=setting.backend,
        parent_pid=os.getpid(),
        batch_sizes=(setting.batch_size or workload.batch_size,),
        search_seconds=seconds,
        give_up_below=give_up_below,
        setting=setting,
    )
    problem = run(job, on_event)
    if rates:
        return TriedSetting(setting=setting, samples_per_second=rates[0])
    return TriedSetting(setting=setting, why=problem.message if problem else "the worker reported no speed")
