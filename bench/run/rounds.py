"""The workloads of a run, a process of each in turn: at workshop size, at the fastest batch, on several devices."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence

import msgspec

from bench.finding import Finding
from bench.judge import plausibility
from bench.judge import training as verdict
from bench.judge.result import ResultJudge
from bench.measure import batches, training
from bench.measure.events import Block, Compiled, Devices, Evaluated, Imported, Resident
from bench.measure.runner import Problem
from bench.measure.workloads import Workload
from bench.results.record.document import Result
from bench.results.record.figures import BatchKind, BatchPoint, BatchSearch
from bench.run.recorder import RunRecorder, with_result
from common.progress import ProgressDisplay


class ScheduledWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """One workload and how it is trained. ``said``: what is to be said of that."""

    workload: Workload
    plan: training.Plan
    said: tuple[Finding, ...] = ()


class TrainingSchedule:
    """All rounds of a run; ``findings``: of the machine, then of each workload.

    ``batch``: "workshop", "best", "both", or a size. ``devices``: train on these together too, after the training on
    one of them.
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
    ) -> None:
        self.batch, self.judge, self.devices = batch, judge, devices
        self.recorder, self.watcher = recorder, watcher
        self.governor: str | None = None
        """The processor's as last seen."""
        self._found: list[list[Finding]] = [list(found)]

    @property
    def findings(self) -> list[Finding]:
        return [finding for part in self._found for finding in part]

    def run(self, entries: Sequence[ScheduledWorkload]) -> None:
        """Train, judge and keep all of them, one process of each in turn.

        So the processes of a workload spread over the whole run, and their scatter tells how the machine changed
        meanwhile; and a run that is interrupted has looked at every workload once before it looks at one again.
        """
        going = []
        for number, entry in enumerate(entries, 1):
            self._found.append(list(entry.said))
            going.append(_Rounds(self, entry, f"({number} of {len(entries)})", self._found[-1]).all())
        while going:
            going = [one for one in going if next(one, False)]

    def keep(self, result: Result | None = None) -> None:
        document = self.recorder.document
        self.recorder.save(
            msgspec.structs.replace(
                document, findings=tuple(self.findings), results=with_result(document.results, result)
            )
        )


Turn = Generator[bool, None, Result | None]
"""Yields true where another workload may train before this one goes on."""


class _Rounds:
    """One workload; ``findings`` grow with what is found of it."""

    def __init__(
        self, schedule: TrainingSchedule, entry: ScheduledWorkload, place: str, findings: list[Finding]
    ) -> None:
        self.schedule, self.place, self.findings = schedule, place, findings
        self.workload, self.plan = entry.workload, entry.plan
        self.whole: Result | None = None
        """Of the processes that have ended at the present size."""
        if schedule.judge.on_processor:
            self.plan = msgspec.structs.replace(self.plan, devices=Devices(kind="cpu", count=1))

    def all(self) -> Iterator[bool]:
        """On one device, then on several, each with the batch of before."""
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
        """The workshop's or the tuned one. It shows that the model learns; where another size was asked for, one short
        process does."""
        plan = self.plan
        chosen = plan.batch_kind == "chosen"  # by `dlbox tune`: it is trained in full
        if not chosen and self.schedule.batch not in ("both", "workshop", self.workload.batch_size):
            plan = msgspec.structs.replace(plan, repeats=1, train_seconds=min(5.0, plan.train_seconds))
        return (yield from self._round(self.workload, plan))

    def _other_size(self, first: Result) -> tuple[int, BatchKind, Result] | None:
        """Where to train again, looked for where that was asked for; ``first`` with what the search found."""
        batch = self.schedule.batch
        if isinstance(batch, int):
            return None if batch == first.batch_size else (batch, "chosen", first)
        if batch == "workshop":
            return None
        found = self._search()
        if found is None:
            return None
        first = msgspec.structs.replace(first, batches=found)
        self.schedule.keep(first)
        if found.best_batch_size == first.batch_size and (batch == "both" or first.batch_kind == "chosen"):
            return None
        return found.best_batch_size, "best", first

    def _at(self, size: int, kind: BatchKind, first: Result) -> Turn:
        """Again at another batch size; that it learns was seen at the workshop's."""
        plan = self._timed_only(size, kind, min(8.0, self.plan.train_seconds))
        return (yield from self._round(msgspec.structs.replace(self.workload, batch_size=size), plan, first))

    def _together(self, one: Result, devices: Devices) -> Turn:
        """On several devices, each with the batch of ``one``."""
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
        """All processes at one batch size; judged and kept after each."""
        schedule, known, governor = self.schedule, len(self.findings), self.schedule.governor
        self.whole = None
        going = training.train(workload, plan, self._progress(plan), parent_pid=os.getpid())
        number, problem, more = 0, None, True
        while more:
            schedule.watcher.begin(self._label(workload, plan, learned), _which("starting", number, plan))
            try:
                result = next(going)
            except StopIteration as ended:
                (result, problem), more = ended.value, False
            del self.findings[known:]
            if problem is not None:
                self._failed(workload, plan, problem)
            elif result is not None and number in (0, plan.repeats - 1):
                schedule.watcher.done(_outcome(result, plan if more else None))
            if result is not None:
                result, judged = schedule.judge.judge(result, learned=learned, governor=governor)
                self.findings += judged
                self.whole = result
            schedule.keep(result)
            number += 1
            if more:
                yield True
        return result

    def _label(self, workload: Workload, plan: training.Plan, learned: Result | None) -> str:
        at = f", batch {workload.batch_size}" if learned else ""
        if plan.devices is not None and plan.devices.count > 1:
            at += f", {plan.devices.count} devices"
        return f"{workload.name} on {plan.backend}{at} {self.place}"

    def _failed(self, workload: Workload, plan: training.Plan, problem: Problem) -> None:
        self.schedule.watcher.done(problem.message)
        self.findings.append(
            verdict.failure(workload.name, plan.backend, problem.kind, problem.message, problem.detail)
        )

    def _search(self) -> BatchSearch | None:
        watcher = self.schedule.watcher
        watcher.begin(f"{self.workload.name} {self.place}", "looking for the fastest batch")

        def tried(point: BatchPoint) -> None:
            speed = f"{point.samples_per_second:,.0f} samples/s" if point.samples_per_second else point.why
            watcher.update(f"batch {point.batch_size}: {speed}")

        found, problem = batches.search(self.workload, self.plan, tried, parent_pid=os.getpid())
        if problem is not None:
            self._failed(self.workload, self.plan, problem)
            self.schedule.keep()
        elif found is not None:
            watcher.done(f"fastest at batch {found.best_batch_size} ({found.why})")
            self.findings += plausibility.judge_search(self.workload.name, found)
        return found

    def _progress(self, plan: training.Plan) -> Callable[[training.Progressed], None]:
        schedule, watcher = self.schedule, self.schedule.watcher

        def on_progress(step: training.Progressed) -> None:
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
                    update("judging", 1.0)
                case Resident():
                    update("without the input pipeline", 1.0)
            if step.block and step.result:
                schedule.recorder.save_block(step.repeat, step.block, self._with_last(step.result))

        return on_progress

    def _with_last(self, result: Result) -> Result:
        """What ended before stays as it was judged: a process in flight stands beside it."""
        if self.whole is None:
            return result
        return msgspec.structs.replace(self.whole, cut_short=result.repeats[-1])


def _which(doing: str, number: int, plan: training.Plan) -> str:
    return f"{doing} {number + 1} of {plan.repeats}" if plan.repeats > 1 else doing


def _outcome(result: Result, plan: training.Plan | None) -> str:
    """``plan``: None where all its processes have trained."""
    accuracy = f", accuracy {result.accuracy:.3f}" if result.accuracy is not None else ""
    told = f"{result.samples_per_second.median:,.0f} samples/s{accuracy}"
    return f"{told}, the first of {plan.repeats} processes" if plan else told
