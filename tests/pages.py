"""Whole made-up runs for tests of the page, and to look at: a processor, a card that gets hot, one cut short, twelve
models."""

from __future__ import annotations

from typing import Any

import msgspec

from bench.finding import Finding, Status
from bench.measure.workloads import SUITES
from bench.results.record.document import Document, Kernel
from bench.results.record.figures import (
    BatchPoint,
    BatchSearch,
    ForcedGeneric,
    InputShare,
    Interval,
    Memory,
    Price,
    Probes,
    Work,
)
from bench.results.store.rows import Run
from tests.samples import document, result, telemetry

RATES = (396.0, 341.0, 1234.0, 901.0, 256.0, 140.0, 1502.0, 2210.0, 310.0, 288.0, 5120.0, 3011.0)
PROBES = Probes(
    backend="tensorflow", device="cpu", on_gpu=False, matmul_tflops={"fp32": 0.121}, bandwidth_gb_s=19.4
)
ON_CARD = Probes(
    backend="jax",
    device="NVIDIA GeForce RTX 3060",
    on_gpu=True,
    matmul_tflops={"fp32": 11.2, "tf32": 22.4, "fp16": 45.1},
    bandwidth_gb_s=318.0,
)


def twelve(**changes: Any) -> Document:
    """The workshop's suite on a processor with everything that can be known of it."""
    found = []
    for number, (name, rate) in enumerate(zip(SUITES["workshop"], RATES, strict=True)):
        work = Work(flop_per_sample=3e9 / rate ** (0.6 + 0.05 * (number % 3)), bytes_per_sample=4e6)
        found.append(
            result(
                name,
                rate,
                rate * 1.01,
                rate * 0.98,
                rate * 1.005,
                work=work,
                achieved_tflops=rate * work.flop_per_sample / 1e12,
                interval=Interval(
                    low=rate * 0.93,
                    high=rate * 1.08,
                    confidence=0.95,
                    processes=5,
                    drift=0.03,
                    drift_from="usual",
                ),
                kernel=Kernel(
                    path="generic" if name != "cnn" else "none", evidence="no cuDNN on a processor"
                ),
                input=InputShare(
                    resident_samples_per_second=rate * 1.04, pipeline_samples_per_second=rate, share=0.04
                ),
                memory=Memory(peak_bytes=700 << 20, method="resident set"),
                price=Price(
                    usd=999.0,
                    priced_on="2026-11-01",
                    build="thousand",
                    samples_per_second_per_usd=rate / 999,
                ),
            )
        )
    slow = Finding(
        id="training.gru-baseline",
        status=Status.FAIL,
        title="gru is not slower than its baseline",
        message="341 samples/s against 402 of the baseline (run 3)",
        measured=341.0,
        expected=402.0,
        unit="samples/s",
        remedy="close other programs, let it cool down and run it again",
    )
    made = document(command="bench", results=tuple(found), probes=PROBES, run_id=12, verdict="not-ready")
    return msgspec.structs.replace(made, findings=(slow, *made.findings), **changes)


def full() -> Document:
    """All workloads at two batch sizes, five long processes each, on a card that was watched all along."""
    told, found = telemetry(), []
    for number, name in enumerate(SUITES["full"]):
        rate = 300.0 * (number + 1)
        steady = result(name, *(rate * (1 + 0.01 * (n % 3)) for n in range(40)))
        summary = msgspec.structs.replace(
            told.summary,
            temperature_max_c=60 + number,
            harmful_seconds={"software thermal slowdown": 3.0} if name == "cnn" else {},
        )
        repeats = tuple(msgspec.structs.replace(steady.repeats[0], seed=seed) for seed in range(5))
        for size, kind in ((32, "workshop"), (512, "best")):
            found.append(
                msgspec.structs.replace(
                    steady, repeats=repeats, batch_size=size, batch_kind=kind, on_gpu=True,
                    device="NVIDIA GeForce RTX 3060", telemetry=msgspec.structs.replace(told, summary=summary),
                    work=Work(flop_per_sample=5.5e7, bytes_per_sample=2e6), achieved_tflops=rate * 5.5e-5,
                )
            )  # fmt: skip
    probes = msgspec.structs.replace(ON_CARD, matmul_tflops={"fp32": 11.2})
    return document(command="bench", results=tuple(found), probes=probes, verdict="ready")


def past(now: Document, *factors: float) -> list[Run]:
    """Earlier runs of the same, each so many times as fast."""
    runs = []
    for number, factor in enumerate(factors, 1):
        slower = tuple(
            result(
                r.workload,
                *(factor * rate for rate in r.samples_per_second.values),
                fingerprint=r.fingerprint,
            )
            for r in now.results
        )
        old = msgspec.structs.replace(
            now, results=slower, started_at=f"2026-11-{number:02}T08:00:00+00:00", run_id=number
        )
        runs.append(
            Run(id=number, started_at=old.started_at, command="bench", state="complete", document=old)
        )
    return runs


def on_card(**changes: Any) -> Document:
    """Three models on a card, the first held down by heat for a while."""
    cool = telemetry()
    hot = msgspec.structs.replace(
        cool,
        summary=msgspec.structs.replace(cool.summary, harmful_seconds={"software thermal slowdown": 4.5}),
    )
    points = tuple(BatchPoint(batch_size=32 << n, samples_per_second=9000.0 * 1.6**n) for n in range(5))
    search = BatchSearch(
        points=(*points, BatchPoint(batch_size=1024, why="out of memory")),
        best_batch_size=512,
        ended="memory",
        why="at 1,024 the card's memory ended",
    )
    found = []
    for name, told, rate in (("lstm", hot, 9100.0), ("gru", cool, 9800.0), ("cnn-lstm", cool, 21000.0)):
        work = Work(flop_per_sample=5.5e7, bytes_per_sample=2e6, recurrent_steps=300)
        found.append(
            result(
                name, rate, rate * 1.01, rate * 0.99, backend="jax", precision="tf32", on_gpu=True,
                device="NVIDIA GeForce RTX 3060", telemetry=told, work=work,
                achieved_tflops=rate * work.flop_per_sample / 1e12, batches=search if name == "lstm" else None,
                kernel=Kernel(path="fused", evidence="the primitive rnn_fwd is in the jaxpr"),
                forced_generic=ForcedGeneric(samples_per_second=rate / 9, speedup=9.0),
            )
        )  # fmt: skip
    return document(command="bench", results=tuple(found), probes=ON_CARD, verdict="ready", **changes)


def cut_short() -> Document:
    return document(results=(result("lstm", partial=True, accuracy=None),), partial=True, verdict="not-ready")
