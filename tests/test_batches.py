"""The search of the batch size: the events of the worker, and how each reason for the end is reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.finding import Status
from bench.judge import plausibility
from bench.measure import batches
from bench.measure.events import Event, TrainingJob, Tried
from bench.measure.runner import WorkerProblem
from bench.measure.training import Plan
from bench.measure.worker import extras
from bench.measure.workloads import WORKLOADS
from bench.results.record.figures import BatchPoint, BatchSearch

LSTM = WORKLOADS["lstm"]
SEARCH = batches.search
PLAN = Plan(backend="tensorflow", seed=0, repeats=1, train_seconds=1.0)


def search(
    speeds: dict[int, float | None], problem: WorkerProblem | None = None
) -> tuple[BatchSearch | None, WorkerProblem | None, list[TrainingJob]]:
    """Search with a worker that reports these speeds (None: out of memory), then ends (with ``problem``)."""
    jobs: list[TrainingJob] = []

    def run(job: TrainingJob, on_event: Callable[[Event], None], **_: Any) -> WorkerProblem | None:
        jobs.append(job)
        for size, speed in speeds.items():
            on_event(Tried(point=BatchPoint(batch_size=size, samples_per_second=speed), ended=speed is None))
        return problem

    return *SEARCH(LSTM, PLAN, lambda point: None, run=run, parent_pid=1), jobs


def test_sizes_double_from_the_workshop_s_up_to_half_of_the_examples() -> None:
    _, _, jobs = search({32: 400.0})
    assert jobs[0].batch_sizes == (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


def test_the_fastest_size_is_selected_not_the_last() -> None:
    found, problem, _ = search({32: 400.0, 64: 500.0, 128: 505.0, 256: 480.0})
    assert problem is None
    assert found is not None
    assert (found.best_batch_size, found.ended) == (128, "no-faster")


def test_out_of_memory_ends_the_search_without_a_problem() -> None:
    found, problem, _ = search({32: 400.0, 64: 700.0, 128: None})
    assert problem is None
    assert found is not None
    assert (found.best_batch_size, found.ended, found.why) == (64, "memory", "out of memory at 128")


def test_a_worker_killed_for_lack_of_memory_ends_the_search_without_a_problem() -> None:
    found, none, _ = search({32: 400.0, 64: 700.0}, WorkerProblem(kind="out-of-memory", message="OOM"))
    assert none is None
    assert found is not None
    assert (found.ended, found.points[-1].batch_size) == ("memory", 128)
    assert plausibility.judge_search("lstm", found)[0].status is Status.PASS


@pytest.mark.parametrize("kind", ["killed", "crash", "hang", "error"])
def test_another_failure_of_the_worker_is_not_reported_as_out_of_memory(kind: Any) -> None:
    found, none, _ = search({32: 400.0, 64: 700.0}, WorkerProblem(kind=kind, message="killed by SIGKILL"))
    assert none is None
    assert found is not None
    assert (found.ended, found.best_batch_size, found.points[-1].batch_size) == ("stopped", 64, 64)
    (told,) = plausibility.judge_search("lstm", found)
    assert told.status is Status.FAIL
    assert "SIGKILL" in told.message


def test_out_of_memory_at_the_default_size_is_a_problem() -> None:
    for speeds, problem in (({32: None}, None), ({}, WorkerProblem(kind="out-of-memory", message="killed"))):
        found, told, _ = search(speeds, problem)  # type: ignore[arg-type]
        assert found is None
        assert told is not None
        assert told.kind == "out-of-memory"


def test_results_before_a_crash_are_kept() -> None:
    found, problem, _ = search({32: 400.0, 64: 700.0}, WorkerProblem(kind="crash", message="SIGSEGV"))
    assert problem is None
    assert found is not None
    assert (found.best_batch_size, found.ended) == (64, "stopped")
    assert "SIGSEGV" in found.why


def tries(monkeypatch: pytest.MonkeyPatch, speeds: dict[int, Any]) -> list[BatchPoint]:
    """The events of the worker's loop if the sizes have these speeds or raise an exception."""

    def one(job: TrainingJob, data: Any, size: int, wait: Any, on_gpu: bool) -> BatchPoint:
        outcome = speeds[size]
        if isinstance(outcome, BaseException):
            raise outcome
        return BatchPoint(batch_size=size, samples_per_second=outcome)

    monkeypatch.setattr(extras, "_try", one)
    told: list[Event] = []
    job = TrainingJob(workload=LSTM, backend="tensorflow", batch_sizes=(32, 64, 128, 256, 512, 1024))
    extras.search(job, None, lambda model: None, False, told.append)  # type: ignore[arg-type]
    return [event.point for event in told if isinstance(event, Tried)]


def test_one_slower_size_does_not_end_the_search_but_two_do(monkeypatch: pytest.MonkeyPatch) -> None:
    points = tries(monkeypatch, {32: 396.0, 64: 391.0, 128: 594.0, 256: 590.0, 512: 600.0, 1024: 9e9})
    assert [point.batch_size for point in points] == [32, 64, 128, 256, 512]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you "
                     "tried to allocate 4915200000 bytes. Error code 12 (Cannot allocate memory)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("failed: CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
        RuntimeError("std::bad_alloc"),
        OSError(12, "Cannot allocate memory"),
    ],
)  # fmt: skip
def test_out_of_memory_is_recognised_for_each_framework(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    points = tries(monkeypatch, {32: 400.0, 64: error})
    assert [(point.batch_size, point.samples_per_second) for point in points] == [(32, 400.0), (64, None)]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("there is no room for a bloom of zoomed layers"),
        OSError("libgomp.so.1: cannot allocate memory in static TLS block"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"),
    ],
)
def test_other_messages_are_not_recognised_as_out_of_memory(error: Exception) -> None:
    assert not extras.is_memory(error)


def test_other_errors_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="something else"):
        tries(monkeypatch, {32: RuntimeError("something else")})
