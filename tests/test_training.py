from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from bench.measure import training
from bench.measure.events import Event, Generic, Replicas, TrainingJob
from bench.measure.runner import WorkerProblem
from bench.measure.workloads import WORKLOADS
from tests.samples import ended, said

LSTM = WORKLOADS["lstm"]


def plan(repeats: int = 1) -> training.Plan:
    return training.Plan(backend="tensorflow", seed=5, repeats=repeats, train_seconds=1.0)


def fake(*runs: list[Event] | WorkerProblem) -> tuple[Callable[..., WorkerProblem | None], list[TrainingJob]]:
    """A stand-in for the runner: each call plays the next list of events, or plays them and then fails."""
    jobs: list[TrainingJob] = []
    script = list(runs)

    def run(job: TrainingJob, on_event: Callable[[Event], None], **_: Any) -> WorkerProblem | None:
        jobs.append(job)
        step = script.pop(0)
        if isinstance(step, WorkerProblem):
            for event in said(300.0, 310.0)[:3]:
                on_event(event)
            return step
        for event in step:
            on_event(event)
        return None

    return run, jobs


def train(run: Any, repeats: int = 1) -> tuple[Any, WorkerProblem | None, list[training.Progressed]]:
    steps: list[training.Progressed] = []
    result, problem = ended(training.train(LSTM, plan(repeats), steps.append, run=run, parent_pid=1))
    return result, problem, steps


def test_figures_come_from_the_blocks_only() -> None:
    run, _ = fake(said(100.0, 300.0, 200.0))
    result, problem, _ = train(run)
    assert problem is None
    assert result.samples_per_second.values == pytest.approx((100.0, 300.0, 200.0))
    assert result.samples_per_second.median == pytest.approx(200.0)
    assert result.samples_per_second.mad == pytest.approx(100.0)
    assert (result.compile_seconds, result.import_seconds) == (1.5, 3.0)
    assert (result.accuracy, result.examples_seen, result.partial) == (0.95, 6400, False)
    assert result.fingerprint == LSTM.fingerprint


def test_each_repeat_is_a_new_process_with_the_next_seed_and_only_the_first_is_judged() -> None:
    run, jobs = fake(said(100.0), said(200.0)[:-1], said(300.0)[:-1])
    result, _, _ = train(run, repeats=3)
    assert [job.seed for job in jobs] == [5, 6, 7]
    assert [job.workload.judgements for job in jobs] == [3, 0, 0]
    assert [job.workload.examples_before_judging > 0 for job in jobs] == [True, False, False]
    assert len(result.repeats) == 3
    assert result.accuracy == 0.95
    assert result.fingerprint == LSTM.fingerprint


def test_the_generic_kernel_is_compared_within_one_process() -> None:
    """In another process, hours later, the card may be warm."""
    run, _ = fake([*said(400.0), Generic(samples_per_second=50.0)], said(200.0)[:-1], said(200.0)[:-1])
    result, _, _ = train(run, repeats=3)
    assert result.samples_per_second.median == pytest.approx(200.0)
    assert result.forced_generic.speedup == pytest.approx(8.0)


def test_the_best_of_several_evaluations_counts() -> None:
    first, second = said(100.0, accuracy=0.5), said(100.0, accuracy=0.9)
    run, _ = fake([*first, second[-1]])
    result, _, _ = train(run)
    assert result.accuracy == 0.9
    run, _ = fake([*second, first[-1]])
    result, _, _ = train(run)
    assert result.accuracy == 0.9


def test_a_nan_loss_in_the_last_evaluation_is_reported() -> None:
    good = said(100.0, accuracy=0.5)
    lost = msgspec.structs.replace(good[-1], loss=None)  # type: ignore[type-var]
    for looks, diverged in (([lost], True), ([good[-1], lost], True), ([good[-1]], False)):
        run, _ = fake([*good[:-1], *looks])
        result, _, _ = train(run)
        assert (result.diverged, result.accuracy) == (diverged, 0.5)


@pytest.mark.parametrize("apart", [0.25, None])
def test_the_process_with_the_largest_difference_counts(apart: float | None) -> None:
    def replicas(differ_by: float | None) -> Replicas:
        return Replicas(engine="e", devices=("cpu:0", "cpu:1"), differ_by=differ_by)

    run, _ = fake(
        [*said(100.0), replicas(0.0)], [*said(100.0), replicas(apart)], [*said(100.0), replicas(0.0)]
    )
    result, _, _ = train(run, repeats=3)
    assert result.scaling.replicas_differ_by == apart


def test_results_before_a_problem_are_kept() -> None:
    run, jobs = fake(
        said(100.0), WorkerProblem(kind="crash", message="the worker was killed by SIGSEGV"), said(1.0)
    )
    result, problem, _ = train(run, repeats=3)
    assert problem is not None
    assert len(jobs) == 2
    assert result.partial
    assert [len(r.blocks) for r in result.repeats] == [1, 1]
    assert result.accuracy == 0.95


def test_no_result_without_a_block() -> None:
    run, _ = fake(said()[:2])
    result, _, _ = train(run)
    assert result is None


def test_progress_shows_a_growing_partial_result() -> None:
    run, _ = fake(said(100.0, 110.0))
    _, _, steps = train(run)
    grown = [len(s.result.blocks) for s in steps if s.block and s.result]
    assert grown == [1, 2]
    assert all(s.result.partial for s in steps if s.result)
