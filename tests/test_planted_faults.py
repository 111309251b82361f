"""Each fault that a benchmark can be fooled by, planted on purpose: the verdict and the exit code have to flip.

The upper half has a card that is not there (real nvidia-ml-py on a scripted library, the real sampler, a worker that
only talks). The lower half trains for real, with ``tests.planted`` in the worker's place.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import scenario

from bench.commands import measure
from bench.measure import batches, runner, training
from bench.measure.card import watch
from bench.measure.events import Block, Event, Generic, Imported, TrainingJob, Tried
from bench.measure.kernel_path import Kernels, Recurrent, judge
from bench.results.record.figures import BatchPoint
from tests.conftest import ROOT
from tests.samples import said
from tests.test_telemetry import content, probe

TRAIN, SEARCH = training.train, batches.search
Told = tuple[int, str, dict[str, str]]
"""Exit code, verdict, and the status of each finding."""


def fails(told: Told) -> list[str]:
    return sorted(name for name, status in told[2].items() if status == "fail")


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Told]:
    """Run `dlbox bench --quick --json` in this process, with ``run`` doing the jobs."""

    def measured(run: Callable[..., Any], **options: Any) -> Told:
        monkeypatch.setattr("bench.measure.training.train", functools.partial(TRAIN, run=run))
        if "batch" in options:
            monkeypatch.setattr("bench.measure.batches.search", functools.partial(SEARCH, run=run))
        capsys.readouterr()
        asked: dict[str, Any] = {
            "workloads": ("cnn-lstm",), "suite": "ready", "backend": "tensorflow", "quick": True, "seed": 0,
            "repeats": None, "output": None, "expect_gpus": None, "as_json": True, **options,
        }  # fmt: skip
        code = measure.measure(asked.pop("command", "bench"), complain=pytest.fail, **asked)
        document = json.loads(capsys.readouterr().out)
        return code, document["verdict"], {f["id"]: f["status"] for f in document["findings"]}

    monkeypatch.setattr("bench.run.session.installed_backends", lambda: ["tensorflow", "torch", "jax"])
    monkeypatch.setattr("bench.run.session._report", lambda folder, keeper: None)
    return measured


# A card that is not there


LSTM = Recurrent(name="lstm", kind="LSTM")
FUSED = judge(["MatMul", "CudnnRNNV3"], [LSTM], "tensorflow", "3.15.1")


@pytest.fixture
def card(ask: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Told]:
    """`ready` or `bench` on an RTX 3060 that is busy with a worker that says ``kernel`` and ``generic``."""

    def measured(
        *, kernel: Kernels = FUSED, generic: float | None = 60.0, mhz: int = 1850, reasons: int = 0,
        accuracy: float = 0.95, beside: int | None = None, **how: Any
    ) -> Told:  # fmt: skip
        programs = [os.getpid()] if beside is None else [os.getpid(), os.getppid()]
        answers = content(
            ClockInfo={1: mhz, 2: 7300},
            CurrentClocksEventReasons=reasons,
            ComputeRunningProcesses=[{"pid": pid, "memory": 600 << 20} for pid in programs],
            ProcessUtilization=[
                {"pid": pid, "sm": sm} for pid, sm in zip(programs, (60, beside), strict=False)
            ],
        )
        monkeypatch.setattr(
            watch.Sampler.__init__,
            "__kwdefaults__",
            {
                **(watch.Sampler.__init__.__kwdefaults__ or {}),
                "command": probe(tmp_path, answers),
                "every_s": 0.02,
            },
        )

        def talks(job: TrainingJob, on_event: Callable[[Event], None], **_: Any) -> None:
            for event in said(*[3200.0] * 8, accuracy=accuracy, on_gpu=True):
                if isinstance(event, Imported):
                    on_event(msgspec.structs.replace(event, pid=os.getpid()))
                    on_event(kernel)
                    time.sleep(1.0)  # the child that reads the card starts
                    continue
                if isinstance(event, Block):
                    time.sleep(event.seconds)
                on_event(event)
            if generic:
                on_event(Generic(samples_per_second=generic))

        here = scenario.load("rtx3060_idle").machine(tmp_path / "box")
        monkeypatch.setattr("inventory.gather.gather", lambda: here)
        monkeypatch.setattr("bench.health.run", lambda machine, **_: [])
        monkeypatch.setattr("bench.measure.visibility.findings", lambda machine, **_: [])
        return ask(talks, workloads=("lstm",), **how)  # type: ignore[no-any-return]

    return measured


@pytest.mark.parametrize("what", ["bench", "ready"])
def test_a_sound_card_is_ready(card: Any, what: str) -> None:
    told = card(command=what)
    assert told[:2] == (0, "ready"), told[2]
    for name in ("worked", "kernel", "fused-pays", "clock", "learns"):
        assert told[2][f"training.lstm-{name}"] == "pass"


@pytest.mark.parametrize("what", ["bench", "ready"])
@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ({"kernel": judge(["While"], [msgspec.structs.replace(LSTM, use_cudnn=False)], "tensorflow", "3.15.1")},
         "training.lstm-kernel"),
        ({"kernel": judge(["While"], [LSTM], "tensorflow", "3.15.1")}, "training.lstm-kernel"),
        ({"generic": 3100.0}, "training.lstm-fused-pays"),
        ({"mhz": 1057}, "training.lstm-clock"),
        ({"mhz": 1057, "reasons": 0x2}, "training.lstm-clock"),
        ({"mhz": 1057, "reasons": 0x10}, "training.lstm-clock"),
        ({"accuracy": 0.5}, "training.lstm-learns"),
        ({"beside": 40}, "training.lstm-alone"),
    ],
    ids=["forced-generic", "silent-fallback", "fused-in-name-only", "half-clock", "half-clock-set",
         "half-clock-in-sync", "no-learning", "busy-second-process"],
)  # fmt: skip
def test_a_fault_of_a_card_is_the_one_that_fails(
    card: Any, planted: dict[str, Any], found: str, what: str
) -> None:
    told = card(command=what, **planted)
    # What a second program takes is noise: dlbox measures again, and then says that it cannot judge.
    assert told[:2] == (1, "uncertain" if "beside" in planted else "not-ready")
    assert fails(told) == [found]


@pytest.mark.parametrize(
    ("harmless", "found"), [({"beside": 0}, "alone"), ({"mhz": 1057, "reasons": 0x4}, "clock")]
)
def test_what_is_no_fault_of_a_card_fails_nothing(card: Any, harmless: dict[str, Any], found: str) -> None:
    """A program that only holds memory, and a card that is at its power limit all the time."""
    told = card(**harmless)
    assert told[:2] == (0, "ready"), told[2]
    assert told[2][f"training.lstm-{found}"] == ("pass" if "beside" in harmless else "warn")


@pytest.mark.parametrize("ending", ["Tried", "killed"])
def test_memory_that_ends_at_the_next_batch_fails_the_run(ask: Any, ending: str) -> None:
    def run(job: TrainingJob, on_event: Callable[[Event], None], **_: Any) -> runner.WorkerProblem | None:
        if not job.batch_sizes:
            for event in said(400.0, 401.0, 402.0):
                on_event(event)
            return None
        on_event(Tried(point=BatchPoint(batch_size=32, samples_per_second=400.0)))
        if ending == "killed":
            return runner.WorkerProblem(kind="killed", message="the worker was killed by SIGKILL")
        on_event(Tried(point=BatchPoint(batch_size=64, why="out of memory"), ended=True))
        return None

    told = ask(run, workloads=("lstm",), batch="both")
    assert told[:2] == (1, "not-ready")
    assert fails(told) == ["training.lstm-batches"]


@pytest.mark.parametrize(
    "problem",
    [
        runner.WorkerProblem(kind="crash", message="the worker was killed by SIGSEGV"),
        runner.WorkerProblem(kind="hang", message="no progress for 120 s, the limit; ended"),
        runner.WorkerProblem(kind="error", message="ValueError: boom"),
        runner.WorkerProblem(kind="killed", message="the worker was killed by SIGKILL"),
    ],
    ids=lambda problem: problem.message.split()[-1],
)
@pytest.mark.parametrize("tried", [1, 3])
def test_a_worker_that_dies_while_it_tries_batches_fails_the_run(
    ask: Any, problem: runner.WorkerProblem, tried: int
) -> None:
    def run(job: TrainingJob, on_event: Callable[[Event], None], **_: Any) -> runner.WorkerProblem | None:
        if not job.batch_sizes:
            for event in said(400.0, 401.0, 402.0):
                on_event(event)
            return None
        for size in job.batch_sizes[:tried]:
            on_event(Tried(point=BatchPoint(batch_size=size, samples_per_second=400.0 + size)))
        return problem

    told = ask(run, workloads=("lstm",), batch="both")
    assert told[:2] == (1, "not-ready")
    assert fails(told) == ["training.lstm-batches"]


def test_several_devices_of_which_nothing_is_heard_fail_the_run(ask: Any) -> None:
    def run(job: TrainingJob, on_event: Callable[[Event], None], **_: Any) -> None:
        for event in said(400.0, 401.0, 402.0):
            on_event(event)

    told = ask(run, workloads=("lstm",), devices="cpu:2")
    assert told[:2] == (1, "not-ready")
    assert fails(told) == ["training.lstm-2-devices-replicas"]


@pytest.mark.parametrize("dies", [0, 1, 4], ids=["the-first", "a-later-one", "the-last"])
def test_a_worker_killed_in_any_process_fails_the_run_and_the_rest_is_kept(ask: Any, dies: int) -> None:
    """Before its first block: what the earlier processes timed stays, marked partial."""
    done: list[TrainingJob] = []

    def run(job: TrainingJob, on_event: Callable[[Event], None], **_: Any) -> runner.WorkerProblem | None:
        done.append(job)
        if len(done) - 1 == dies:
            return runner.WorkerProblem(kind="killed", message="the worker was killed by SIGKILL")
        for event in said(400.0, 401.0, 402.0):
            on_event(event)
        return None

    told = ask(run, workloads=("lstm",), quick=False, repeats=5, batch="workshop")
    assert told[:2] == (1, "not-ready")
    assert fails(told) == ["training.lstm-ran"]
    assert len(done) == dies + 1
    assert ("training.lstm-steady" in told[2]) is (dies > 0)


# Real training


def real(fault: str, job: TrainingJob, on_event: Callable[[Event], None]) -> runner.WorkerProblem | None:
    worker = (sys.executable, "-P", "-m", "tests.planted", fault)
    return runner.run(job, on_event, command=worker)


@pytest.fixture
def training_with(ask: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Told]:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return lambda fault, **options: ask(functools.partial(real, fault), **options)


@contextmanager
def busy() -> Iterator[None]:
    """A second program that wants a whole core, and another for the rest of a machine with many."""
    spin = [sys.executable, "-c", "while True: pass"]
    programs = [subprocess.Popen(spin) for _ in range(max(1, (os.cpu_count() or 2) // 2))]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


STEADY, STEADY_AT_64 = "training.cnn-lstm-steady", "training.cnn-lstm-batch-64-steady"
"""What else runs on the machine while the tests do is not theirs to judge."""


@pytest.mark.slow
def test_training_without_a_fault_passes(training_with: Any) -> None:
    told = training_with("none")
    assert set(fails(told)) <= {STEADY}, told
    assert told[2]["training.cnn-lstm-learns"] == "pass"
    assert told[2]["training.cnn-lstm-input"] in ("pass", "warn")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "found", "options"),
    [
        ("sleep", "training.cnn-lstm-input", {}),
        ("no-learning", "training.cnn-lstm-learns", {}),
        ("memory", "training.cnn-lstm-batches", {"batch": "both"}),
        ("killed-at-128", "training.cnn-lstm-batches", {"batch": "both"}),
        ("blind", "training.cnn-lstm-learns", {}),
        ("no-number", "training.cnn-lstm-learns", {}),
        ("killed", "training.cnn-lstm-ran", {}),
    ],
)
def test_a_planted_fault_is_found_in_real_training(
    training_with: Any, fault: str, found: str, options: dict[str, Any]
) -> None:
    told = training_with(fault, **options)
    assert told[:2] == (1, "not-ready")
    noise = {STEADY, STEADY_AT_64} if fault == "killed-at-128" else {STEADY}
    assert set(fails(told)) - noise == {found}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("sleep", "training.sign-cnn-input"),
        ("no-learning", "training.sign-cnn-learns"),
        ("blind", "training.sign-cnn-learns"),
        ("no-number", "training.sign-cnn-learns"),
        ("killed", "training.sign-cnn-ran"),
    ],
)
def test_on_the_other_backends_too(training_with: Any, backend: str, fault: str, found: str) -> None:
    pytest.importorskip(backend, reason=f"{backend} is not installed", exc_type=ImportError)
    told = training_with(fault, workloads=("sign-cnn",), backend=backend)
    assert told[:2] == (1, "not-ready")
    assert found in fails(told)
    assert set(fails(told)) <= {found, "training.sign-cnn-steady"}


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["killed-early", "killed-at-birth"])
def test_a_worker_that_dies_before_it_timed_anything(training_with: Any, fault: str) -> None:
    told = training_with(fault)
    assert told[:2] == (1, "not-ready")
    assert fails(told) == ["training.cnn-lstm-ran"]


@pytest.mark.slow
def test_a_busy_second_process_is_found(training_with: Any) -> None:
    with busy():
        told = training_with("none")
    assert told[:2] == (1, "uncertain")
    assert told[2][STEADY] == "fail"
