"""Train one workload in new processes and collect their events in a Result."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext

import msgspec

from bench.measure import runner
from bench.measure.card import watch
from bench.measure.events import (
    Block,
    Compiled,
    Devices,
    Evaluated,
    Event,
    Generic,
    Imported,
    Peak,
    Replicas,
    Resident,
    TrainingJob,
)
from bench.measure.kernel_path import Kernels
from bench.measure.workloads import Workload
from bench.results.record.document import Kernel, Percentiles, Repeat, Result, Spread, TimedBlock
from bench.results.record.figures import BatchKind, ForcedGeneric, InputShare, Memory, Scaling
from bench.results.stats import derived
from workshops.speed.settings import Setting


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Plan of the training of each workload: duration, number of processes and extra measurements."""

    backend: str
    seed: int
    repeats: int
    train_seconds: float
    """Minimum timed training per process; the first process continues until it can be judged."""
    watch_cards: bool = False
    """Whether another process reads the cards' sensors during training."""
    resident_seconds: float = 0.0
    """In the first process, after the timed training: seconds to train on data that are already on the device, in
    alternation with the same time on the usual input pipeline."""
    generic_seconds: float = 0.0
    """In the first process, on a card: seconds to train without cuDNN, after all other measurements."""
    batch_kind: BatchKind = "workshop"
    setting: Setting | None = None
    """How the model is trained; its backend is ``backend``. None: with the defaults of Keras."""
    warmup_steps: int = 20
    learning_elsewhere: bool = False
    """Whether the accuracy is not judged, because training at another batch size has already shown that the model
    learns."""
    devices: Devices | None = None
    """Train on these devices at once; None: on the device that the framework selects."""


class Progressed(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a worker, and the partial ``result`` after it."""

    event: Event
    repeat: int
    result: Result | None
    block: TimedBlock | None = None


def train(
    workload: Workload,
    plan: Plan,
    on_progress: Callable[[Progressed], None],
    *,
    run: Callable[..., runner.WorkerProblem | None] = runner.run,
    parent_pid: int,
) -> Generator[Result | None, None, tuple[Result | None, runner.WorkerProblem | None]]:
    """Train all repeats of one workload, one process after the other, until the first problem.

    Yields the result so far between two processes, so that other workloads can train in turn. ``run`` runs one job, as
    ``bench.measure.runner.run`` does.
    """
    collector = _ResultCollector(workload, plan)
    sampler = watch.Sampler() if plan.watch_cards else None

    def known(*, partial: bool) -> Result | None:
        result = collector.result(partial=partial)
        if result is None or sampler is None:
            return result
        return msgspec.structs.replace(result, telemetry=sampler.telemetry())

    for number, seed in enumerate(_seeds(plan)):
        if number:
            yield known(partial=False)
        job = TrainingJob(
            workload=_without_judging(workload) if number or plan.learning_elsewhere else workload,
            backend=plan.backend,
            seed=seed,
            train_seconds=plan.train_seconds,
            parent_pid=parent_pid,
            warmup_steps=plan.warmup_steps,
            resident_seconds=0.0 if number else plan.resident_seconds,
            generic_seconds=0.0 if number else plan.generic_seconds,
            setting=plan.setting,
            devices=plan.devices,
        )
        collector.start(seed)

        def on_event(event: Event, number: int = number) -> None:
            if sampler:
                sampler.on_event(event)
            block = collector.take(event)
            on_progress(
                Progressed(event=event, repeat=number, block=block, result=collector.result(partial=True))
            )

        with sampler or nullcontext():
            problem = run(job, on_event)
        if problem:
            return known(partial=True), problem
    return known(partial=False), None


def _seeds(plan: Plan) -> Iterator[int]:
    yield from range(plan.seed, plan.seed + plan.repeats)


def _without_judging(workload: Workload) -> Workload:
    """Learning is judged in the first process only; the others are only timed."""
    return msgspec.structs.replace(workload, examples_before_judging=0, judgements=0)


class _ResultCollector:
    def __init__(self, workload: Workload, plan: Plan) -> None:
        self.workload, self.plan = workload, plan
        self.repeats: list[Repeat] = []
        self.imported: Imported | None = None
        self.kernel: Kernel | None = None
        self.peaks: list[Memory] = []
        self.replicas: Replicas | None = None
        """The report about the devices from the process whose copies of the weights differ most."""
        self.diverged = False
        self.extra: dict[str, Resident | Generic] = {}
        self.single_steps: list[float] = []

    def start(self, seed: int) -> None:
        self.repeats.append(Repeat(seed=seed))

    def take(self, event: Event) -> TimedBlock | None:
        now, block = self.repeats[-1], None
        if isinstance(event, Imported):
            self.imported = event
            now = msgspec.structs.replace(now, import_seconds=event.seconds)
        elif isinstance(event, Kernels):
            self.kernel = Kernel(
                path=event.path, evidence=event.evidence, why=event.why, unavoidable=event.unavoidable
            )
        elif isinstance(event, Peak):
            self.peaks.append(event.memory)
        elif isinstance(event, Replicas):
            self.replicas = max(self.replicas or event, event, key=lambda replicas: replicas.difference)
        elif isinstance(event, Resident | Generic):
            self.extra[type(event).__name__] = event
        elif isinstance(event, Compiled):
            now = msgspec.structs.replace(now, compile_seconds=event.seconds)
        elif isinstance(event, Block):
            block = TimedBlock(
                steps=event.steps,
                examples=event.examples,
                seconds=event.seconds,
                other_cpu_cores=event.other_cpu_cores,
                loss=event.loss,
                governor=event.governor,
                usable_cores=event.usable_cores,
                own_cpu_cores=event.own_cpu_cores,
                waiting_share=event.waiting_share,
            )
            now = msgspec.structs.replace(now, blocks=(*now.blocks, block), examples_seen=event.examples_seen)
            self.single_steps += event.single_steps
        elif isinstance(event, Evaluated):
            self.diverged = event.loss is None
            if event.accuracy >= (now.accuracy or 0.0):
                now = msgspec.structs.replace(
                    now, accuracy=event.accuracy, ceiling=event.ceiling, examples_seen=event.examples_seen
                )
        self.repeats[-1] = now
        return block

    def result(self, *, partial: bool) -> Result | None:
        """The result so far; None before the first block."""
        repeats = tuple(r for r in self.repeats if r.blocks)
        if not repeats or self.imported is None:
            return None
        blocks = [block for repeat in repeats for block in repeat.blocks]
        compiled = sorted(r.compile_seconds for r in repeats if r.compile_seconds is not None)
        imported = sorted(r.import_seconds for r in repeats if r.import_seconds is not None)
        median = statistics.median(b.samples_per_second for b in blocks)
        judged = next((r for r in repeats if r.accuracy is not None), None)
        return Result(
            workload=self.workload.name,
            backend=self.plan.backend,
            precision=self.imported.precision,
            batch_size=self.workload.batch_size,
            samples_per_second=Spread.of([b.samples_per_second for b in blocks]),
            step_seconds=Percentiles.of([b.seconds / b.steps for b in blocks]),
            single_step_seconds=Percentiles.of(self.single_steps) if self.single_steps else None,
            compile_seconds=compiled[len(compiled) // 2] if compiled else None,
            import_seconds=imported[len(imported) // 2] if imported else None,
            accuracy=judged.accuracy if judged else None,
            accuracy_bar=self.workload.accuracy_bar,
            ceiling=judged.ceiling if judged else None,
            examples_seen=(judged or repeats[0]).examples_seen,
            fingerprint=self.workload.fingerprint,
            versions=self.imported.versions,
            device=self.imported.device if self._count == 1 else f"{self._count} x {self.imported.device}",
            on_gpu=self.imported.on_gpu,
            parameters=self.imported.parameters,
            kernel=self.kernel,
            fused_expected=self.workload.fused,
            variant=self.workload.variant,
            tokens_per_sample=self.workload.tokens or None,
            tokens_per_second=derived.tokens_per_second(self.workload.tokens, median),
            data=self.workload.data_description,
            repeats=repeats,
            partial=partial,
            batch_kind=self.plan.batch_kind,
            memory=max(self.peaks, key=lambda peak: peak.peak_bytes, default=None),
            input=self._input(),
            forced_generic=self._generic(repeats[0]),
            work=self.imported.work,
            setting=self.plan.setting,
            devices=self._count,
            scaling=self._scaling(),
            diverged=self.diverged,
        )

    @property
    def _count(self) -> int:
        return self.plan.devices.count if self.plan.devices else 1

    def _scaling(self) -> Scaling | None:
        if self.replicas is None:
            return None
        return Scaling(
            engine=self.replicas.engine,
            devices=self.replicas.devices,
            batch_per_device=self.workload.batch_size // self._count,
            replicas_differ_by=self.replicas.differ_by,
        )

    def _input(self) -> InputShare | None:
        resident = self.extra.get("Resident")
        if not isinstance(resident, Resident):
            return None
        shares = tuple(max(0.0, 1 - usual / on_device) for on_device, usual in resident.pairs)
        return InputShare(
            resident_samples_per_second=statistics.median(on_device for on_device, _ in resident.pairs),
            pipeline_samples_per_second=statistics.median(usual for _, usual in resident.pairs),
            share=statistics.median(shares),
            shares=shares,
        )

    def _generic(self, first: Repeat) -> ForcedGeneric | None:
        """The speed with and without cuDNN. Both are from the same process, because the card may be warmer in a later
        one."""
        generic = self.extra.get("Generic")
        if not isinstance(generic, Generic):
            return None
        fused = statistics.median(block.samples_per_second for block in first.blocks)
        return ForcedGeneric(
            samples_per_second=generic.samples_per_second, speedup=fused / generic.samples_per_second
        )
