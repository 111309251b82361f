"""What cannot be, waits, or does not pay is found: an unsynchronised timer, a sleeping pipeline, a slow kernel."""

from __future__ import annotations

import time

import pytest

from bench.finding import Status
from bench.judge import plausibility
from bench.measure import training
from bench.measure.events import Resident
from bench.measure.worker import extras
from bench.measure.workloads import WORKLOADS
from bench.results.record.document import Kernel, Result
from bench.results.record.figures import BatchPoint, BatchSearch, ForcedGeneric, InputShare, Probes, Work
from bench.results.stats import compare, derived
from tests.samples import result, said

PROBES = Probes(backend="tensorflow", device="cpu", on_gpu=False, matmul_tflops={"fp32": 0.2})


def of(made: Result, what: str) -> Status | None:
    return next((f.status for f in plausibility.judge(made) if f.id == f"training.lstm-{what}"), None)


@pytest.mark.parametrize(("rate", "status"), [(400.0, Status.PASS), (40_000.0, Status.FAIL)])
def test_a_timer_that_does_not_wait_for_the_device_is_caught(rate: float, status: Status) -> None:
    """50 MFLOP a sample: 400/s are 0.02 TFLOP/s, and 40,000/s ten times what the machine can."""
    work = Work(flop_per_sample=5e7, bytes_per_sample=1e5)
    made = derived.with_figures(result("lstm", rate, rate, work=work), probes=PROBES)
    assert of(made, "plausible") is status
    refused = compare.refusal(made, made)
    assert (refused is not None and "which is impossible" in refused) is (status is Status.FAIL)


@pytest.mark.parametrize(("share", "status"), [(0.02, Status.PASS), (0.2, Status.WARN), (0.6, Status.FAIL)])
def test_a_sleep_in_the_input_pipeline_is_found(share: float, status: Status) -> None:
    told = InputShare(
        resident_samples_per_second=400.0, pipeline_samples_per_second=400.0 * (1 - share), share=share
    )
    assert of(result(input=told), "input") is status


@pytest.mark.parametrize(
    ("shares", "status"),
    [
        ((0.4, 0.5, 0.35, 0.45), Status.FAIL),
        (
            (0.4, 0.5, 0.35, 0.05),
            Status.WARN,
        ),  # one look as fast as without: something else disturbed the others
        ((0.31, 0.0, 0.02, 0.05), Status.PASS),
    ],
)
def test_one_bad_look_at_the_pipeline_fails_no_box(shares: tuple[float, ...], status: Status) -> None:
    looks = Resident(pairs=tuple((400.0, 400.0 * (1 - share)) for share in shares))
    collector = training._ResultCollector(
        WORKLOADS["lstm"], training.Plan(backend="jax", seed=0, repeats=1, train_seconds=1)
    )
    collector.start(0)
    for event in (*said(400.0, 401.0), looks):
        collector.take(event)
    made = collector.result(partial=False)
    assert made is not None
    assert of(made, "input") is status
    found = next(f for f in plausibility.judge(made) if f.id.endswith("-input"))
    assert "in 4 measurements" in found.message


def test_looks_are_taken_in_turns_and_slow_ones_are_fewer() -> None:
    order: list[str] = []

    def look(name: str, takes: float) -> float:
        order.append(name)
        time.sleep(takes)
        return 1.0

    assert len(extras._alternated(2.0, lambda: look("there", 0), lambda: look("usual", 0))) == 4
    assert order == ["there", "usual", "usual", "there"] * 2
    assert len(extras._alternated(0.5, lambda: look("there", 0.6), lambda: look("usual", 0.6))) == 2


@pytest.mark.parametrize(("times", "status"), [(1.0, Status.FAIL), (1.3, Status.WARN), (6.0, Status.PASS)])
def test_a_fused_kernel_has_to_pay(times: float, status: Status) -> None:
    kernel = Kernel(path="fused", evidence="CudnnRNNV3")
    told = ForcedGeneric(samples_per_second=100.0, speedup=times)
    assert of(result(kernel=kernel, forced_generic=told), "fused-pays") is status


def test_memory_that_ends_at_the_next_batch_is_a_fault() -> None:
    points = (
        BatchPoint(batch_size=32, samples_per_second=400.0),
        BatchPoint(batch_size=64, samples_per_second=None, why="out of memory"),
    )
    found = BatchSearch(points=points, best_batch_size=32, ended="memory", why="64 did not fit")
    assert plausibility.judge_search("lstm", found)[0].status is Status.FAIL
    more = (points[0], BatchPoint(batch_size=64, samples_per_second=500.0), points[1])
    later = BatchSearch(points=more, best_batch_size=64, ended="memory", why="128 did not fit")
    assert plausibility.judge_search("lstm", later)[0].status is Status.PASS


def test_probes_that_did_not_all_run_are_no_pass() -> None:
    assert plausibility.judge_probes(PROBES)[0].status is Status.PASS
    empty = Probes(backend="jax", device="", on_gpu=False, troubles={"process": "it ended"})
    finding = plausibility.judge_probes(empty)[0]
    assert finding.status is Status.WARN
    assert finding.remedy
    assert "it ended" in finding.message
