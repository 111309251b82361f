"""The schedule of a run: one process of each workload in turn, at each batch size and on each set of devices."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence

import msgspec

from bench.finding import Finding, noise
from bench.finding import verdict as overall
from bench.judge import plausibility
from bench.judge import training as verdict
from bench.judge.result import ResultJudge
from bench.measure import batches, training
from bench.measure.events import Block, Compiled, Devices, Evaluated, Imported, Resident
from bench.measure.runner import WorkerProblem
from bench.measure.workloads import Workload
from bench.results.record.document import Result
from bench.results.record.figures import BatchKind, BatchPoint, BatchSearch
from bench.run.live_view import LiveView
from bench.run.recorder import RunRecorder, with_result
from common.terminal.progress import ProgressDisplay

MOST_AGAIN, MOST_AGAIN_SECONDS = 2, 60.0
"""A disturbed measurement is repeated at most so often, and all of a run for at most so many seconds together."""


class ScheduledWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """One workload and its training plan. ``findings``: findings about the plan."""

    workload: Workload
    plan: training.Plan
    findings: tuple[Finding, ...] = ()


class TrainingSchedule:
    """All training of a run. ``findings``: of the machine, then of each workload.

    batch: "workshop", "best", "both", or a batch size. devices: Devices to train on together, after training on one
    of them. found: Findings of the checks of the machine. clock: Seconds, as ``time.monotonic``.
    """

    def __init__(
        self,
        *,
        batch: str | int,
        judge: ResultJudge,
        recorder: RunRecorder,
        watcher: ProgressDisplay,
        devices: Devices | None = None,
        found: Sequence[Finding] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.batch, self.judge, self.devices = batch, judge, devices
        self.recorder, self.watcher, self.clock = recorder, watcher, clock
        self.live_view = LiveView()
        self.governor: str | None = None
        """The processor's frequency governor when it was last read."""
        self._found: list[list[Finding]] = [list(found)]

    @property
    def findings(self) -> list[Finding]:
        return [finding for part in self._found for finding in part]

    def run(self, entries: Sequence[ScheduledWorkload]) -> None:
        """Train, judge and store all workloads, one process of each in turn.

        The processes of a workload are spread over the whole run, so their variation includes changes of the
        machine; and an interrupted run has trained every workload once before it trains one again.
        """
        self.watcher.show_details(self.live_view.lines)
        going, rounds = [], []
        for number, entry in enumerate(entries, 1):
            self._found.append(list(entry.findings))
            rounds.append(_Rounds(self, entry, f"({number} of {len(entries)})", self._found[-1]))
            going.append(rounds[-1].all())
        while going:
            going = [one for one in going if next(one, False)]
        self._measure_again(rounds)
        self.watcher.show_details(None)

    def _measure_again(self, rounds: Sequence[_Rounds]) -> None:
        """Repeat the measurements that other programs disturbed, if nothing else is wrong: at most ``MOST_AGAIN`` times
        each and ``MOST_AGAIN_SECONDS`` together. One that would take longer is repeated with fewer processes, or not at
        all."""
        end = self.clock() + MOST_AGAIN_SECONDS
        for number in range(1, MOST_AGAIN + 1):
            for one in rounds:
                for measured in one.measured:
                    if overall(self.findings, has_gpu=False) != "uncertain":
                        return
                    if noise(one.findings_of(measured)):
                        one.again(measured, f"{number} of {MOST_AGAIN}", end - self.clock())

    def save(self, result: Result | None = None) -> None:
        """Store the findings so far, and ``result``."""
        document = self.recorder.document
        self.recorder.save(
            msgspec.structs.replace(
                document, findings=tuple(self.findings), results=with_result(document.results, result)
            )
        )


class _Measured(msgspec.Struct):
    """One measurement. ``seconds``: mean time of its processes, with their start. ``judged``: its findings."""

    workload: Workload
    plan: training.Plan
    learned: Result | None
    seconds: float
    judged: tuple[Finding, ...]


Turn = Generator[bool, None, Result | None]
"""Train this workload. Yields true whenever another workload may train before this one continues."""


class _Rounds:
    """The training of one workload; adds to ``findings``."""

    def __init__(
        self, schedule: TrainingSchedule, entry: ScheduledWorkload, place: str, findings: list[Finding]
    ) -> None:
        self.schedule, self.place, self.findings = schedule, place, findings
        self.workload, self.plan = entry.workload, entry.plan
        self.measured: list[_Measured] = []
        self.whole: Result | None = None
        """The result of the processes that have ended at the current batch size."""
        if schedule.judge.on_processor:
            self.plan = msgspec.structs.replace(self.plan, devices=Devices(kind="cpu", count=1))

    def all(self) -> Iterator[bool]:
        """Train on one device, then on several with the same batch per device."""
        devices, alone = self.schedule.devices, []
        first = yield from self._at_first_size()
        if first is None or first.partial:
            return
        other_size = self._other_size(first)
        if other_size is None or self.schedule.batch == "both":
            alone.append(first)
        if other_size is not None:
            other = yield from self._at(*other_size)
            if other is not None and not other.partial:
                alone.append(other)
        if devices is not None and devices.count > 1:
            for one in alone:
                yield from self._together(one, devices)

    def _at_first_size(self) -> Turn:
        """Train at the workshop's or the tuned batch size, which shows that the model learns. If another size was
        selected, one short process is enough for that."""
        plan = self.plan
        chosen = plan.batch_kind == "chosen"  # the batch size from `dlbox tune` is trained in full
        if not chosen and self.schedule.batch not in ("both", "workshop", self.workload.batch_size):
            plan = msgspec.structs.replace(plan, repeats=1, train_seconds=min(5.0, plan.train_seconds))
        return (yield from self._round(self.workload, plan))

    def _other_size(self, first: Result) -> tuple[int, BatchKind, Result] | None:
        """The batch size to train at next, its kind, and ``first`` with the result of the search for a batch size.

        None if no batch size is left.
        """
        batch = self.schedule.batch
        if isinstance(batch, int):
            return None if batch == first.batch_size else (batch, "chosen", first)
        if batch == "workshop":
            return None
        found = self._search()
        if found is None:
            return None
        first = msgspec.structs.replace(first, batches=found)
        self.schedule.save(first)
        if found.best_batch_size == first.batch_size and (batch == "both" or first.batch_kind == "chosen"):
            return None
        return found.best_batch_size, "best", first

    def _at(self, size: int, kind: BatchKind, first: Result) -> Turn:
        """Train at another batch size, for the speed only: the accuracy was measured at the workshop's."""
        plan = self._timed_only(size, kind, min(8.0, self.plan.train_seconds))
        return (yield from self._round(msgspec.structs.replace(self.workload, batch_size=size), plan, first))

    def _together(self, one: Result, devices: Devices) -> Turn:
        """Train on several devices, each with the batch of ``one``."""
        size = one.batch_size * devices.count
        plan = self._timed_only(size, one.batch_kind, self.plan.train_seconds)
        larger = msgspec.structs.replace(self.workload, batch_size=size)
        return (yield from self._round(larger, msgspec.structs.replace(plan, devices=devices), one))

    def _timed_only(self, size: int, kind: BatchKind, seconds: float) -> training.Plan:
        return msgspec.structs.replace(
            self.plan,
            batch_kind=kind,
            warmup_steps=max(3, round(20 * self.workload.batch_size / size)),
            train_seconds=seconds,
            resident_seconds=0.0,
            generic_seconds=0.0,
            learning_elsewhere=True,
        )

    def _round(self, workload: Workload, plan: training.Plan, learned: Result | None = None) -> Turn:
        """Train all processes at one batch size; judge and store the result after each."""
        schedule, known, governor = self.schedule, len(self.findings), self.schedule.governor
        self.whole = None
        going = training.train(workload, plan, self._progress(plan), parent_pid=os.getpid())
        number, problem, more, spent = 0, None, True, 0.0
        judged: list[Finding] = []
        while more:
            schedule.watcher.begin(self._label(workload, plan, learned), _which("starting", number, plan))
            began = schedule.clock()
            try:
                result = next(going)
            except StopIteration as ended:
                (result, problem), more = ended.value, False
            spent += schedule.clock() - began
            del self.findings[known:]
            if problem is not None:
                self._failed(workload, plan, problem)
            elif result is not None and number in (0, plan.repeats - 1):
                schedule.watcher.done(_outcome(result, plan if more else None))
            if result is not None:
                result, judged = schedule.judge.judge(result, learned=learned, governor=governor)
                self.findings += judged
                self.whole = result
            schedule.save(result)
            number += 1
            if more:
                yield True
        if result is not None and problem is None:
            self.measured.append(_Measured(workload, plan, learned, spent / number, tuple(judged)))
        return result

    def findings_of(self, measured: _Measured) -> list[Finding]:
        return [finding for finding in self.findings if finding in measured.judged]

    def again(self, measured: _Measured, which: str, left: float) -> None:
        """Repeat a disturbed measurement if one of its processes fits into ``left`` seconds; the new result takes the
        place of the old one."""
        schedule, learned = self.schedule, measured.learned
        processes = min(measured.plan.repeats, int(left // max(measured.seconds, 0.001)))
        if processes < 1:
            return
        plan = msgspec.structs.replace(measured.plan, repeats=processes)
        label = self._label(measured.workload, plan, learned)
        schedule.watcher.say(
            f"{label}: other programs disturbed this measurement, so it is repeated ({which})"
        )
        schedule.watcher.begin(label, "starting again")
        going = training.train(
            measured.workload, plan, self._progress(plan, record=False), parent_pid=os.getpid()
        )
        while True:
            try:
                next(going)
            except StopIteration as ended:
                result, problem = ended.value
                break
        if problem is not None or result is None:
            if problem is not None:
                self._failed(measured.workload, plan, problem)
            schedule.save()
            return
        old = self._stored(result)
        if learned is not None:
            learned = self._stored(learned) or learned
        if old is not None:
            result = msgspec.structs.replace(result, batches=old.batches)
        schedule.watcher.done(_outcome(result, None))
        result, judged = schedule.judge.judge(result, learned=learned, governor=schedule.governor)
        place = next(n for n, finding in enumerate(self.findings) if finding in measured.judged)
        self.findings[:] = [finding for finding in self.findings if finding not in measured.judged]
        self.findings[place:place] = judged
        measured.judged = tuple(judged)
        schedule.save(result)

    def _stored(self, result: Result) -> Result | None:
        """The stored result with the label and backend of ``result``."""
        results = self.schedule.recorder.document.results
        return next((r for r in results if (r.label, r.backend) == (result.label, result.backend)), None)

    def _label(self, workload: Workload, plan: training.Plan, learned: Result | None) -> str:
        at = f", batch {workload.batch_size}" if learned else ""
        if plan.devices is not None and plan.devices.count > 1:
            at += f", {plan.devices.count} devices"
        return f"{workload.name} on {plan.backend}{at} {self.place}"

    def _failed(self, workload: Workload, plan: training.Plan, problem: WorkerProblem) -> None:
        self.schedule.watcher.done(problem.message)
        self.findings.append(
            verdict.failure(workload.name, plan.backend, problem.kind, problem.message, problem.detail)
        )

    def _search(self) -> BatchSearch | None:
        watcher = self.schedule.watcher
        watcher.begin(f"{self.workload.name} {self.place}", "searching for the fastest batch size")

        def tried(point: BatchPoint) -> None:
            speed = f"{point.samples_per_second:,.0f} samples/s" if point.samples_per_second else point.why
            watcher.update(f"batch {point.batch_size}: {speed}")

        found, problem = batches.search(self.workload, self.plan, tried, parent_pid=os.getpid())
        if problem is not None:
            self._failed(self.workload, self.plan, problem)
            self.schedule.save()
        elif found is not None:
            watcher.done(f"fastest at batch {found.best_batch_size} ({found.why})")
            self.findings += plausibility.judge_search(self.workload.name, found)
        return found

    def _progress(self, plan: training.Plan, *, record: bool = True) -> Callable[[training.Progressed], None]:
        schedule, watcher = self.schedule, self.schedule.watcher

        def on_progress(step: training.Progressed) -> None:
            schedule.live_view.on_event(step.event)

            def update(doing: str, *rest: float | str) -> None:
                watcher.update(_which(doing, step.repeat, plan), *rest)  # type: ignore[arg-type]

            match step.event:
                case Imported():
                    update("compiling")
                case Compiled():
                    update("warming up")
                case Block() as block:
                    schedule.governor = block.governor or schedule.governor
                    update("training", block.done_share, f"{block.examples / block.seconds:,.0f} samples/s")
                case Evaluated():
                    update("measuring accuracy", 1.0)
                case Resident():
                    update("timing without the input pipeline", 1.0)
            if record and step.block and step.result:
                schedule.recorder.save_block(step.repeat, step.block, self._with_last(step.result))

        return on_progress

    def _with_last(self, result: Result) -> Result:
        """The result of the ended processes, with the blocks of the running one apart from them."""
        if self.whole is None:
            return result
        return msgspec.structs.replace(self.whole, cut_short=result.repeats[-1])


def _which(doing: str, number: int, plan: training.Plan) -> str:
    return f"{doing} {number + 1} of {plan.repeats}" if plan.repeats > 1 else doing


def _outcome(result: Result, plan: training.Plan | None) -> str:
    """One line about a result. ``plan``: the plan of the workload if some of its processes have still to run, else
    None."""
    accuracy = f", accuracy {result.accuracy:.3f}" if result.accuracy is not None else ""
    text = f"{result.samples_per_second.median:,.0f} samples/s{accuracy}"
    return f"{text}, the first of {plan.repeats} processes" if plan else text
