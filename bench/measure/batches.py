"""Find the batch at which this machine trains a workload fastest: doubling, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from bench.measure import runner
from bench.measure.events import Event, Job, Tried
from bench.measure.training import Plan
from bench.measure.workloads import Workload
from bench.results.record.figures import BatchPoint, BatchSearch

LEAST_EXAMPLES_PER_SIZE = 2
"""Batches that must fit into the examples there are, so that a size can be tried."""


def search(
    workload: Workload,
    plan: Plan,
    on_progress: Callable[[BatchPoint], None],
    *,
    run: Callable[..., runner.Problem | None] = runner.run,
    parent_pid: int,
) -> tuple[BatchSearch | None, runner.Problem | None]:
    """Find the fastest batch size by doubling, in one process. A process that dies on the way ends the search.

    None where not even the first size ran; the problem then says why.
    """
    most = workload.train_examples // LEAST_EXAMPLES_PER_SIZE
    sizes = [workload.batch_size * 2**n for n in range(16) if workload.batch_size * 2**n <= most]
    points: list[BatchPoint] = []
    memory: list[bool] = []

    def hear(event: Event) -> None:
        if isinstance(event, Tried):
            points.append(event.point)
            memory.append(event.ended)
            on_progress(event.point)

    job = Job(
        workload=workload,
        backend=plan.backend,
        seed=plan.seed,
        parent_pid=parent_pid,
        batch_sizes=tuple(sizes),
        devices=plan.devices,
    )
    problem = run(job, hear)
    if problem is not None and problem.kind == "out-of-memory" and len(points) < len(sizes):
        points.append(BatchPoint(batch_size=sizes[len(points)], why="memory ended"))
        memory.append(True)
    ran = [point for point in points if point.samples_per_second]
    if not ran:
        return None, problem or runner.Problem(
            kind="out-of-memory", message="memory ended at the first batch"
        )
    best = max(ran, key=lambda point: point.samples_per_second or 0.0)
    last = points[-1]
    ended: Literal["no-faster", "memory", "examples", "stopped"]
    if any(memory):
        ended, why = "memory", f"memory ended at {last.batch_size}"
    elif problem is not None:
        ended, why = "stopped", f"after {last.batch_size}: {problem.message}"
    elif len(points) == len(sizes):
        ended, why = "examples", f"{last.batch_size} is half of the examples there are"
    else:
        ended, why = "no-faster", f"{last.batch_size} was no faster than {best.batch_size}"
    return BatchSearch(points=tuple(points), best_batch_size=best.batch_size, ended=ended, why=why), None
