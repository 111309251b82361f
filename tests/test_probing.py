"""The output of the probe process becomes a record, even if it is incomplete or invalid."""

from __future__ import annotations

import sys

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bench.measure import machine_probes
from bench.measure.probes import load
from bench.results.record.figures import Probes
from tests.samples import machine

MEASURE = machine_probes.measure

LINES = [
    msgspec.json.encode(event)
    for event in (
        load.Opened(device="cpu", on_gpu=False, pinned=False),
        load.Doing(what="matmul-fp32"),
        load.Rate(name="matmul-fp32", value=0.15),
        load.Rate(name="matmul-fp32", value=0.20),
        load.Rate(name="matmul-fp32", value=0.18),
        load.Rate(name="memory-bandwidth", value=12.5),
        load.Rate(name="launch", value=2e-5),
    )
]


def test_the_best_size_is_the_peak() -> None:
    assert machine_probes.read("jax", LINES) == Probes(
        backend="jax",
        device="cpu",
        on_gpu=False,
        matmul_tflops={"fp32": 0.20},
        bandwidth_gb_s=12.5,
        launch_seconds=2e-5,
    )


def test_a_failed_probe_is_reported_and_the_others_count() -> None:
    broken = msgspec.json.encode(load.Broken(name="matmul-bf16", why="no code for this card"))
    told = machine_probes.read("torch", [*LINES, broken], "was killed by SIGSEGV")
    assert told.troubles == {"matmul-bf16": "no code for this card", "process": "was killed by SIGSEGV"}
    assert told.matmul_tflops == {"fp32": 0.20}


@given(st.lists(st.binary(max_size=60)))
def test_invalid_lines_are_ignored(lines: list[bytes]) -> None:
    assert machine_probes.read("jax", lines).matmul_tflops == {}


def test_a_process_that_dies_gives_a_record_without_figures() -> None:
    told = MEASURE(machine(), "jax", 0.1, command=(sys.executable, "-c", "import sys; sys.exit(3)"))
    assert told.matmul_tflops == {}
    assert "process" in told.troubles


def test_the_job_for_a_cpu_has_fp32_and_rates_only() -> None:
    job = machine_probes.job_for(machine(), "jax")
    assert (job.card, job.precisions) == (None, ("fp32",))
