"""Find the batch size at which this machine trains a workload fastest, by doubling it in a separate process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from bench.measure import runner
from bench.measure.events import Event, TrainingJob, Tried
from bench.measure.training import Plan
from bench.measure.workloads import Workload
from bench.results.record.figures import BatchPoint, BatchSearch

LEAST_EXAMPLES_PER_SIZE = 2
"""A batch size is tried only if the training examples fill this many batches."""


def search(
    workload: Workload,
    plan: Plan,
    on_progress: Callable[[BatchPoint], None],
    *,
    run: Callable[..., runner.WorkerProblem | None] = runner.run,
    parent_pid: int,
) -> tuple[BatchSearch | None, runner.WorkerProblem | None]:
    """Find the fastest batch size by doubling, in one process. If the process dies, the search ends.

    The search is None if not even the first size ran; the problem then has the reason.
    """
    most = workload.train_examples // LEAST_EXAMPLES_PER_SIZE
    sizes = [workload.batch_size * 2**n for n in range(16) if workload.batch_size * 2**n <= most]
    points: list[BatchPoint] = []
    memory: list[bool] = []

    def on_event(event: Event) -> None:
        if isinstance(event, Tried):
            points.append(event.point)
            memory.append(event.ended)
            on_progress(event.point)

    job = TrainingJob(
        workload=workload,
        backend=plan.backend,
        seed=plan.seed,
        parent_pid=parent_pid,
        batch_sizes=tuple(sizes),
        devices=plan.devices,
    )
    problem = run(job, on_event)
    if problem is not None and problem.kind == "out-of-memory" and len(points) < len(sizes):
        points.append(BatchPoint(batch_size=sizes[len(points)], why="out of memory"))
        memory.append(True)
    ran = [point for point in points if point.samples_per_second]
    if not ran:
        return None, problem or runner.WorkerProblem(
            kind="out-of-memory", message="out of memory at the first batch size"
        )
    best = max(ran, key=lambda point: point.samples_per_second or 0.0)
    last = points[-1]
    ended: Literal["no-faster", "memory", "examples", "stopped"]
    if any(memory):
        ended, why = "memory", f"out of memory at {last.batch_size}"
    elif problem is not None:
        ended, why = "stopped", f"after {last.batch_size}: {problem.message}"
    elif len(points) == len(sizes):
        ended, why = "examples", f"{last.batch_size} is half of the training examples"
    else:
        ended, why = "no-faster", f"{last.batch_size} was not faster than {best.batch_size}"
    return BatchSearch(points=tuple(points), best_batch_size=best.batch_size, ended=ended, why=why), None
