"""``dlbox check --stress``: one child process produces load, another reads the card's sensors; then run the checks."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
from rich.text import Text

from bench import health
from bench.finding import Finding
from bench.health.check import Subject, skipped
from bench.health.load import peers
from bench.health.load.record import LoadRun, Sample, ThroughputSample
from bench.measure import backend as frameworks
from bench.measure.probes import load as probes
from bench.results.terminal.live import card_lines
from bench.results.terminal.trends import sparkline
from common.processes.child import Child, python_path_variables
from common.processes.pipe_reader import PipeReader
from common.terminal.console import Console
from inventory.gather import PROBE
from inventory.machine import kernel_log
from inventory.machine.gpu_records import Gpu
from inventory.machine.reading import Reading
from inventory.machine.records import Machine
from inventory.nvml.probe import Line

BACKENDS = ("torch", "tensorflow", "jax")
"""Order of the frameworks. torch is first because it can copy from page-locked memory."""

LOAD = (sys.executable, "-P", "-m", "bench.measure.probes.load")
_STARTUP_S = 300.0
_MARGIN_S = 120.0
_REPORT_EVERY_S = 10.0

Say = Callable[[str], None]


def findings(
    machine: Machine, *, minutes: float, backend: str | None, say: Say
) -> tuple[list[Finding], bool]:
    """The findings of each card under load, ``minutes`` per card; without a card the load runs on the CPU.

    The second value: whether Ctrl-C ended the test early.
    """
    subjects: Sequence[Subject | None] = [s for s in health.subjects(machine) if s.gpu.handle.ok] or [None]
    if machine.has_gpu and subjects == [None]:
        return _judged(None, LoadRun(), machine, "no card answers"), False
    runs: list[tuple[Subject, LoadRun]] = []
    for subject in subjects:
        run = _first_that_works(machine, subject, minutes, backend, say)
        if subject is None:
            return _judged(None, run, machine), run.interrupted
        runs.append((subject, run))
        if run.interrupted:
            break
    found = [finding for subject, run in peers.with_peers(runs) for finding in _judged(subject, run, machine)]
    return found, any(run.interrupted for _, run in runs)


def _first_that_works(
    machine: Machine, subject: Subject | None, minutes: float, backend: str | None, say: Say
) -> LoadRun:
    """The measurements with the first installed framework that uses the card, or with the last one if none does."""
    candidates = [backend] if backend else [n for n in BACKENDS if importlib.util.find_spec(n) is not None]
    run = LoadRun(problem="needs a framework: install tensorflow, torch or jax")
    for name in candidates:
        if importlib.util.find_spec(name) is None:
            return LoadRun(backend=name, problem=f"needs {name}, which is not installed")
        run = measure(machine, subject, minutes * 60, name, say)
        if subject is None or run.on_gpu or run.interrupted:
            break
    return run


def _judged(subject: Subject | None, run: LoadRun, machine: Machine, why: str = "") -> list[Finding]:
    """All checks under load. If the load did not reach the card, one check fails and the others are skipped."""
    suffix = f":{subject.gpu.index}" if subject is not None and machine.gpu_count > 1 else ""
    never_ran = bool(why) or (not run.on_gpu and (subject is not None or bool(run.problem)))
    result = []
    for check in health.checks():
        if check.scope != "load":
            continue
        if why or (never_ran and check.id != "load.runs"):
            result.append(check.finding(skipped(why or "the load did not run"), suffix))
        else:
            result.append(check.apply(subject, run, suffix=suffix))
    return result


def job_for(subject: Subject | None, seconds: float, backend: str) -> probes.ProbeJob:
    """The job for a card: sizes that fit its memory, and precisions that it has units for. Small sizes for the CPU
    (``None``)."""
    if subject is None:
        return probes.ProbeJob(
            backend=backend, seconds=seconds, matrix=1024, stream_bytes=64 << 20, chunk_cells=1 << 22
        )
    gpu, card = subject.gpu, subject.card
    taken = (gpu.memory_used_bytes.value or 0) + (gpu.memory_reserved_bytes.value or 0)
    capability = float(card.compute_capability if card else gpu.compute_capability.value or "0")
    precisions = ["fp32"]
    if capability >= 8.0:
        precisions += ["tf32", "fp16", "bf16"]
    elif capability >= 7.0 and (card is None or card.has_tensor_cores):
        precisions += ["fp16"]
    return probes.ProbeJob(
        backend=backend,
        seconds=seconds,
        card=gpu.index,
        precisions=tuple(precisions),
        free_bytes=max(256 << 20, (gpu.memory_total_bytes.value or 0) - taken),
        stream_bytes=max(1 << 30, 16 * (card.l2_bytes or 0) if card else 1 << 30),
    )


def measure(
    machine: Machine,
    subject: Subject | None,
    seconds: float,
    backend: str,
    say: Say,
    *,
    load: Sequence[str] = LOAD,
    probe: Sequence[str] = PROBE,
    read_log: Callable[[], Reading[Any]] | None = None,
) -> LoadRun:
    """Measure one card under load by one framework. All child processes have ended when this returns."""
    job = job_for(subject, seconds, backend)
    variables = {**frameworks.environment(backend), **python_path_variables()}
    worker = Child([*load, msgspec.json.encode(job).decode()], variables)
    watcher = Child([*probe, "--watch", "1"], python_path_variables()) if subject is not None else None
    recorder = _Recorder(backend, job, subject, say)
    problem, interrupted = "", False
    try:
        with recorder.display():
            problem = _listen(worker, watcher, recorder, seconds)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        worker.stop()
        if watcher is not None:
            watcher.stop()
    after = (read_log or (lambda: kernel_log.read(Path("/"), machine.host.environment)))()
    return msgspec.structs.replace(recorder.run(problem, machine.kernel_log, after), interrupted=interrupted)


def _listen(worker: Child, watcher: Child | None, recorder: _Recorder, seconds: float) -> str:
    """Read lines of both child processes until the worker ends. Return its problem, or an empty text."""
    if worker.process is None or worker.process.stdout is None:
        return worker.failure
    deadline = worker.started + _STARTUP_S + seconds + _MARGIN_S
    handlers = {worker.process.stdout: recorder.event}
    if watcher is not None and watcher.process is not None and watcher.process.stdout is not None:
        handlers[watcher.process.stdout] = recorder.sample
    with PipeReader(*handlers) as reader:
        while True:
            left = deadline - time.monotonic()
            received = reader.read(left) if left > 0 else []
            if not received:
                return "made no progress and was killed"
            for output in received:
                if output.closed and output.pipe is worker.process.stdout:
                    return worker.finish(time.monotonic() - worker.started + 10).why
                for line in output.lines:
                    handlers[output.pipe](line)


class _Recorder:
    """Collects the output of the two child processes and shows the current state."""

    def __init__(self, backend: str, job: probes.ProbeJob, subject: Subject | None, say: Say) -> None:
        self.backend, self.job, self.subject, self.say = backend, job, subject, say
        self.started = self.reported = time.monotonic()
        self.opened: probes.Opened | None = None
        self.rates: dict[str, float] = {}
        self.troubles: dict[str, str] = {}
        self.pattern: Any = None
        self.repeats: Any = None
        self.soak: list[ThroughputSample] = []
        self.samples: list[Sample] = []
        self.doing = f"starting {backend}"
        self.console = Console(stderr=True)
        self.status = self.console.status(Text(self.doing)) if self.console.is_terminal else None

    def display(self) -> AbstractContextManager[Any]:
        return self.status if self.status is not None else nullcontext()

    def event(self, line: bytes) -> None:
        try:
            event = msgspec.json.decode(line, type=probes.Event)
        except msgspec.MsgspecError:
            return
        second = time.monotonic() - self.started
        match event:
            case probes.Opened():
                self.opened, self.started = event, time.monotonic()
            case probes.Doing(what=what):
                self.doing = what
            case probes.Rate(name=name, value=value):
                self.rates[name] = value
            case probes.Broken(name=name, why=why):
                self.troubles[name] = why
            case probes.Tested(pattern=pattern):
                self.pattern = pattern
            case probes.Repeated(repeats=repeats):
                self.repeats = repeats
            case probes.Steady(tflops=tflops):
                self.soak.append(ThroughputSample(second=second, tflops=tflops))
        self._show()

    def sample(self, line: bytes) -> None:
        try:
            gpu = msgspec.json.decode(line, type=Line).gpu
        except msgspec.MsgspecError:
            return
        if gpu is None or self.subject is None or gpu.index != self.subject.gpu.index or self.opened is None:
            return
        self.samples.append(Sample(second=time.monotonic() - self.started, gpu=gpu))
        self._show()

    def _show(self) -> None:
        text = f"{self.doing} on {self.opened.device if self.opened else self.backend}"
        if self.soak:
            text += f"  {self.soak[-1].tflops:.3g} TFLOPS"
        if self.samples:
            text += _state(self.samples[-1].gpu)
        if self.status is not None:
            self.status.update(Text(text + self._details(), no_wrap=True, overflow="ellipsis"))
        elif time.monotonic() - self.reported >= _REPORT_EVERY_S:
            self.reported = time.monotonic()
            self.say(text)

    def _details(self) -> str:
        """Further lines below the state on a terminal: the speed so far and the card."""
        lines = [sparkline([one.tflops for one in self.soak[-30:]])] if len(self.soak) > 1 else []
        if self.samples:
            lines += card_lines(self.samples[-1].gpu)
        return "".join(f"\n  {line}" for line in lines[: max(0, self.console.height - 3)])

    def run(self, problem: str, before: Reading[Any], after: Reading[Any]) -> LoadRun:
        new: Counter[int] = Counter()
        if before.value is not None and after.value is not None:
            new = Counter(x.code for x in after.value.xids) - Counter(x.code for x in before.value.xids)
        opened = self.opened
        reason = (
            "not measured on a CPU" if self.subject is None else "the card has no hardware for this precision"
        )
        skipped = {
            f"matmul-{p}": reason for p in ("fp32", "tf32", "fp16", "bf16") if p not in self.job.precisions
        }
        return LoadRun(
            backend=self.backend,
            device=opened.device if opened else "",
            on_gpu=opened.on_gpu if opened else False,
            pinned=opened.pinned if opened else False,
            seconds=time.monotonic() - self.started,
            rates=self.rates,
            troubles=self.troubles,
            skipped=skipped,
            pattern=self.pattern,
            repeats=self.repeats,
            soak=tuple(self.soak),
            samples=tuple(self.samples),
            new_xids=tuple(new.elements()),
            xids_known=before.ok and after.ok,
            problem=problem,
        )


def _state(gpu: Gpu) -> str:
    """ "  1935 MHz  67 C  168 W", from the values that the card reports."""
    parts = [
        f"  {reading.value:.0f} {unit}"
        for reading, unit in (
            (gpu.clocks.sm_mhz, "MHz"),
            (gpu.temperatures.gpu_c, "C"),
            (gpu.power.draw_w, "W"),
        )
        if reading.value is not None
    ]
    return "".join(parts)
