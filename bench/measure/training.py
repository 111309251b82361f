"""Train one workload in fresh processes and gather what they say into a Result."""

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
    Job,
    Peak,
    Replicas,
    Resident,
)
from bench.measure.kernel_path import Kernels
from bench.measure.workloads import Workload
from bench.results.record.document import Kernel, Percentiles, Repeat, Result, Spread, TimedBlock
from bench.results.record.figures import BatchKind, ForcedGeneric, InputShare, Memory, Scaling
from bench.results.stats import derived
from workshops.speed.settings import Setting


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how often to train each workload."""

    backend: str
    seed: int
    repeats: int
    train_seconds: float
    """Least timed training per process; the first goes on until it can be judged, the others end here."""
    watch_cards: bool = False
    """Read the cards' sensors meanwhile. Without it nothing is started beside the worker."""
    resident_seconds: float = 0.0
    """In the first process, after the timed training: on data that are on the device already, and as long in turns
    with that on the usual pipeline."""
    generic_seconds: float = 0.0
    """In the first process, on a card, after that: forced off cuDNN."""
    batch_kind: BatchKind = "workshop"
    setting: Setting | None = None
    """How the model is trained; its backend is ``backend``. None: as Keras does by itself."""
    warmup_steps: int = 20
    learning_elsewhere: bool = False
    """No process is judged: that it learns was seen at another batch size."""
    devices: Devices | None = None
    """Train on these at once; None: on the one that the framework picks."""


class Progressed(msgspec.Struct, frozen=True, kw_only=True):
    """A step forward: ``result`` is what is known so far, still partial; ``event`` what brought it."""

    event: Event
    repeat: int
    result: Result | None
    block: TimedBlock | None = None


def train(
    workload: Workload,
    plan: Plan,
    on_progress: Callable[[Progressed], None],
    *,
    run: Callable[..., runner.Problem | None] = runner.run,
    parent_pid: int,
) -> Generator[Result | None, None, tuple[Result | None, runner.Problem | None]]:
    """All repeats of one workload, a process at a time; stops at the first problem and keeps what came before it.

    Yields between two processes the result of those that have ended: others may train meanwhile. ``run`` does one job,
    as ``bench.measure.runner.run`` does.
    """
    gathering = _Gathering(workload, plan)
    sampler = watch.Sampler() if plan.watch_cards else None

    def known(*, partial: bool) -> Result | None:
        result = gathering.result(partial=partial)
        if result is None or sampler is None:
            return result
        return msgspec.structs.replace(result, telemetry=sampler.telemetry())

    for number, seed in enumerate(_seeds(plan)):
        if number:
            yield known(partial=False)
        job = Job(
            workload=_untold(workload) if number or plan.learning_elsewhere else workload,
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
        gathering.start(seed)

        def on_event(event: Event, number: int = number) -> None:
            if sampler:
                sampler.hear(event)
            block = gathering.take(event)
            on_progress(
                Progressed(event=event, repeat=number, block=block, result=gathering.result(partial=True))
            )

        with sampler or nullcontext():
            problem = run(job, on_event)
        if problem:
            return known(partial=True), problem
    return known(partial=False), None


def _seeds(plan: Plan) -> Iterator[int]:
    yield from range(plan.seed, plan.seed + plan.repeats)


def _untold(workload: Workload) -> Workload:
    """Learning is judged once, in the first process; the others only have to be timed."""
    return msgspec.structs.replace(workload, examples_before_judging=0, judgements=0)


class _Gathering:
    def __init__(self, workload: Workload, plan: Plan) -> None:
        self.workload, self.plan = workload, plan
        self.repeats: list[Repeat] = []
        self.imported: Imported | None = None
        self.kernel: Kernel | None = None
        self.peaks: list[Memory] = []
        self.replicas: Replicas | None = None
        """Of the process whose devices were the furthest apart."""
        self.diverged = False
        self.beside: dict[str, Resident | Generic] = {}
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
            self.replicas = max(self.replicas or event, event, key=lambda told: told.apart)
        elif isinstance(event, Resident | Generic):
            self.beside[type(event).__name__] = event
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
        """None before the first block: there is no figure to give yet."""
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
            data=self.workload.data_told,
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
        told = self.beside.get("Resident")
        if not isinstance(told, Resident):
            return None
        shares = tuple(max(0.0, 1 - usual / there) for there, usual in told.looks)
        return InputShare(
            resident_samples_per_second=statistics.median(there for there, _ in told.looks),
            pipeline_samples_per_second=statistics.median(usual for _, usual in told.looks),
            share=statistics.median(shares),
            shares=shares,
        )

    def _generic(self, first: Repeat) -> ForcedGeneric | None:
        """Against the process that measured both: hours later the card may be warmer."""
        told = self.beside.get("Generic")
        if not isinstance(told, Generic):
            return None
        fused = statistics.median(block.samples_per_second for block in first.blocks)
        return ForcedGeneric(
            samples_per_second=told.samples_per_second, speedup=fused / told.samples_per_second
        )
