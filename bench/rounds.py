"""One workload in all its rounds: at workshop size, the search for the fastest batch, there again; judged and kept."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from bench import card_verdict, expectation, peaks, scaling, verdict
from bench.finding import Finding
from bench.keeper import Keeper, with_result
from bench.measure import batches, training
from bench.measure.events import Block, Compiled, Devices, Evaluated, Imported, Resident
from bench.measure.runner import Problem
from bench.measure.workloads import Workload
from bench.progress import Watcher
from bench.results import derive, steadiness
from bench.results.figures import BatchKind, BatchPoint, BatchSearch, Probes
from bench.results.history import Run
from bench.results.record import Result
from inventory.bill import Bill
from inventory.machine import Machine


class Course:
    """What all rounds of a run have in common.

    ``batch``: "workshop", "best", "both", or a size. ``runs``: the earlier ones, whose scatter is known.
    ``devices``: train on these together too, after the training on one of them.
    """

    def __init__(
        self,
        *,
        machine: Machine,
        plan: training.Plan,
        batch: str | int,
        bill: Bill | None,
        keeper: Keeper,
        watcher: Watcher,
        baselines: Sequence[Run],
        runs: Sequence[Run] = (),
        probes: Probes | None,
        devices: Devices | None = None,
    ) -> None:
        self.devices = devices
        self.on_processor = devices is not None and devices.kind == "cpu"
        if self.on_processor:
            plan = msgspec.structs.replace(plan, devices=Devices(kind="cpu", count=1))
        self.machine, self.plan, self.batch, self.bill = machine, plan, batch, bill
        self.keeper, self.watcher, self.baselines, self.probes = keeper, watcher, baselines, probes
        self.runs = runs
        self.card = peaks.card(machine)

    def run(self, workload: Workload, place: str, findings: list[Finding]) -> None:
        """Train, judge and keep; what was found is appended to ``findings``."""
        for one in self._alone(workload, place, findings):
            if self.devices is not None and self.devices.count > 1:
                self._together(workload, one, self.devices, place, findings)

    def _alone(self, workload: Workload, place: str, findings: list[Finding]) -> list[Result]:
        """On one device; the results that training on several can be held against."""
        more = self.batch not in ("workshop", workload.batch_size)
        # The workshop's size shows that it learns; where another one is what was asked for, one process does.
        plan = self.plan if self.batch in ("both", "workshop", workload.batch_size) else _once(self.plan)
        first = self._round(workload, plan, place, findings)
        if first is None or first.partial:
            return []
        if not more:
            return [first]
        size, kind = self.batch, "chosen"
        if isinstance(size, str):
            found = self._search(workload, place, findings)
            if found is None:
                return [first]
            first = msgspec.structs.replace(first, batches=found)
            self._keep(first, findings)
            size, kind = found.best_batch_size, "best"
            if size == workload.batch_size and self.batch == "both":
                return [first]
        other = self._at(workload, size, kind, first, place, findings)  # type: ignore[arg-type]
        done = [first] if self.batch == "both" else []
        return [*done, other] if other is not None and not other.partial else done

    def _together(
        self, workload: Workload, one: Result, devices: Devices, place: str, findings: list[Finding]
    ) -> None:
        """On several devices, each with the batch of ``one``."""
        size = one.batch_size * devices.count
        plan = msgspec.structs.replace(
            self.plan,
            batch_kind=one.batch_kind,
            warmup_steps=max(3, round(20 * workload.batch_size / size)),
            resident_seconds=0.0,
            generic_seconds=0.0,
            learning_elsewhere=True,
            devices=devices,
        )
        self._round(msgspec.structs.replace(workload, batch_size=size), plan, place, findings, one)

    def _at(
        self,
        workload: Workload,
        size: int,
        kind: BatchKind,
        first: Result,
        place: str,
        findings: list[Finding],
    ) -> Result | None:
        """Again at another batch size; that it learns was seen at the workshop's."""
        plan = msgspec.structs.replace(
            self.plan,
            batch_kind=kind,
            warmup_steps=max(3, round(20 * workload.batch_size / size)),
            train_seconds=min(8.0, self.plan.train_seconds),
            resident_seconds=0.0,
            generic_seconds=0.0,
            learning_elsewhere=True,
        )
        other = msgspec.structs.replace(workload, batch_size=size)
        return self._round(other, plan, place, findings, first)

    def _round(
        self,
        workload: Workload,
        plan: training.Plan,
        place: str,
        findings: list[Finding],
        learned: Result | None = None,
    ) -> Result | None:
        at = f", batch {workload.batch_size}" if learned else ""
        together = plan.devices is not None and plan.devices.count > 1
        if together and plan.devices is not None:
            at += f", {plan.devices.count} devices"
        result, problem = self._train(workload, plan, f"{workload.name} on {plan.backend}{at} {place}")
        if problem is not None:
            findings.append(
                verdict.failure(workload.name, plan.backend, problem.kind, problem.message, problem.detail)
            )
        if result is None:
            self._keep(None, findings)
            return None
        if learned is not None:
            result = msgspec.structs.replace(
                result,
                accuracy=learned.accuracy,
                ceiling=learned.ceiling,
                examples_seen=learned.examples_seen,
                learning_seen_at_batch=learned.learning_seen_at_batch or learned.batch_size,
            )
            if together:
                result = scaling.against_one(result, learned)
        earlier = expectation.earlier_speeds(result, self.machine, self.runs)
        result = derive.with_figures(
            result,
            probes=self.probes,
            card_tflops=peaks.of_card(self.card, result.precision),
            bill=_price(self.bill),
            earlier=earlier,
        )
        findings += verdict.judge(
            result,
            gpu_expected=self.machine.has_gpu and not self.on_processor,
            governor=self._last_governor(result),
        )
        findings += peaks.judge(result)
        findings += [] if self.on_processor else card_verdict.judge(result, self.machine)
        findings += scaling.judge(result)
        findings += expectation.judge(
            result, self.machine, baselines=self.baselines, probes=self.probes, earlier=earlier,
            number=self.keeper.document.run_id,
        )  # fmt: skip
        self._keep(result, findings)
        return result

    def _last_governor(self, result: Result) -> str | None:
        """The processor's at the end of what was trained before ``result`` in this run, else as the run began."""
        for before in reversed(self.keeper.document.results):
            if (before.label, before.backend) != (result.label, result.backend) and steadiness.governors(
                before
            ):
                return steadiness.governors(before)[-1]
        first, began = steadiness.governors(result)[:1], self.machine.host.cpu_governor.value
        return began if first and began not in first[0].split(", ") else None  # of one clock domain only

    def _search(self, workload: Workload, place: str, findings: list[Finding]) -> BatchSearch | None:
        self.watcher.begin(f"{workload.name} {place}", "looking for the fastest batch")

        def tried(point: BatchPoint) -> None:
            speed = f"{point.samples_per_second:,.0f} samples/s" if point.samples_per_second else point.why
            self.watcher.update(f"batch {point.batch_size}: {speed}")

        found, problem = batches.search(workload, self.plan, tried, parent_pid=os.getpid())
        if problem is not None:
            self.watcher.done(problem.message)
            findings.append(
                verdict.failure(
                    workload.name, self.plan.backend, problem.kind, problem.message, problem.detail
                )
            )
            self._keep(None, findings)
        elif found is not None:
            self.watcher.done(f"fastest at batch {found.best_batch_size} ({found.why})")
            findings += peaks.judge_search(workload.name, found)
        return found

    def _keep(self, result: Result | None, findings: Sequence[Finding]) -> None:
        document = self.keeper.document
        self.keeper.keep(
            msgspec.structs.replace(
                document, findings=tuple(findings), results=with_result(document.results, result)
            )
        )

    def _train(
        self, workload: Workload, plan: training.Plan, label: str
    ) -> tuple[Result | None, Problem | None]:
        self.watcher.begin(label, "starting")

        def on_progress(step: training.Progressed) -> None:
            which = f" {step.repeat + 1} of {plan.repeats}" if plan.repeats > 1 else ""
            match step.event:
                case Imported():
                    self.watcher.update(f"compiling{which}")
                case Compiled():
                    self.watcher.update(f"warming up{which}")
                case Block() as block:
                    speed = f"{block.examples / block.seconds:,.0f} samples/s"
                    self.watcher.update(f"training{which}", block.done_share, speed)
                case Evaluated():
                    self.watcher.update(f"judging{which}", 1.0)
                case Resident():
                    self.watcher.update(f"without the input pipeline{which}", 1.0)
            if step.block and step.result:
                self.keeper.keep_block(step.repeat, step.block, step.result)

        result, problem = training.train(workload, plan, on_progress, parent_pid=os.getpid())
        if problem is not None:
            self.watcher.done(problem.message)
        elif result is not None:
            accuracy = f", accuracy {result.accuracy:.3f}" if result.accuracy is not None else ""
            self.watcher.done(f"{result.samples_per_second.median:,.0f} samples/s{accuracy}")
        return result, problem


def _once(plan: training.Plan) -> training.Plan:
    return msgspec.structs.replace(plan, repeats=1, train_seconds=min(5.0, plan.train_seconds))


def _price(bill: Bill | None) -> tuple[str, float, str] | None:
    return None if bill is None else (bill.name, bill.total_usd, bill.priced_on.isoformat())
