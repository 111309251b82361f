"""Small made-up results for tests that need one to look at."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec

from bench.finding import Finding, Status
from bench.measure.events import Block, Compiled, Evaluated, Event, Imported
from bench.measure.workloads import WORKLOADS
from bench.results.record.card import CardSummary, Series, Telemetry
from bench.results.record.document import Document, Percentiles, Repeat, Result, Spread, TimedBlock
from bench.results.store.history import History
from inventory.machine.records import Distribution, Host, Machine


def machine(**changes: Any) -> Machine:
    host = Host(
        hostname="testbox",
        distribution=Distribution(id="debian", version="12", name="Debian GNU/Linux 12 (bookworm)"),
        kernel="6.1.0-42-amd64",
        architecture="x86_64",
        cpu_model="Example CPU",
        cpu_cores=2,
        cpu_threads=2,
        memory_bytes=24 * 2**30,
        python_version="3.11.7",
    )
    return msgspec.structs.replace(Machine(read_at="2026-11-22T20:00:00+00:00", host=host), **changes)


def blocks(*rates: float, other: float = 0.0) -> tuple[TimedBlock, ...]:
    return tuple(
        TimedBlock(steps=10, examples=320, seconds=320 / rate, other_cpu_cores=other) for rate in rates
    )


def result(name: str = "lstm", *rates: float, other: float = 0.0, **changes: Any) -> Result:
    timed = blocks(*(rates or (400.0, 402.0, 398.0, 401.0)), other=other)
    repeat = Repeat(
        seed=0,
        import_seconds=3.0,
        compile_seconds=1.5,
        accuracy=0.95,
        ceiling=0.953,
        examples_seen=6400,
        blocks=timed,
    )
    made = Result(
        workload=name,
        backend="tensorflow",
        precision="float32",
        batch_size=32,
        samples_per_second=Spread.of([b.samples_per_second for b in timed]),
        step_seconds=Percentiles.of([b.seconds / b.steps for b in timed]),
        compile_seconds=1.5,
        import_seconds=3.0,
        accuracy=0.95,
        accuracy_bar=0.75,
        ceiling=0.953,
        examples_seen=6400,
        fingerprint=WORKLOADS[name].fingerprint,
        versions={"python": "3.11.7", "keras": "3.15.1", "tensorflow": "2.21.0"},
        device="cpu",
        on_gpu=False,
        parameters=110_901,
        data="synthetic reviews (sentiment grammar, 5% of the labels flipped)",
        repeats=(repeat,),
    )
    return msgspec.structs.replace(made, **changes)


def document(**changes: Any) -> Document:
    findings = (
        Finding(
            id="host.disk",
            status=Status.WARN,
            title="disk space",
            message="12.0 GB are free in /home",
            measured=12.0,
            expected=20.0,
            unit="GB",
            remedy="make room: `du -xhd1 ~ | sort -h` shows where it went",
        ),
        Finding(id="training.lstm-learns", status=Status.PASS, title="lstm learns", message="accuracy 0.950"),
        Finding(id="memory.ecc", status=Status.SKIP, title="ECC", message="no NVIDIA card"),
    )
    made = Document(
        command="ready",
        verdict="cpu-only",
        machine=machine(),
        findings=findings,
        results=(result("lstm"), result("cnn-lstm", 1000.0, 1010.0, 990.0)),
        started_at="2026-11-22T20:00:00+00:00",
        dlbox_version="0.1.0",
        options={"quick": True, "seed": 0, "backend": "tensorflow"},
    )
    return msgspec.structs.replace(made, **changes)


def said(*rates: float, accuracy: float = 0.95, on_gpu: bool = False) -> list[Event]:
    """The events of a worker that measures ``rates`` and exits normally."""
    events: list[Event] = [
        Imported(
            seconds=3.0,
            versions={"keras": "3.15.1"},
            device="card" if on_gpu else "cpu",
            on_gpu=on_gpu,
            precision="float32",
            parameters=7,
        ),
        Compiled(seconds=1.5),
    ]
    at = 0.0
    for number, rate in enumerate(rates, 1):
        at += 320 / rate
        events.append(
            Block(
                steps=10,
                examples=320,
                seconds=320 / rate,
                other_cpu_cores=0.0,
                trained_seconds=at,
                examples_seen=640 + 320 * number,
                done_share=number / len(rates),
            )
        )
    events.append(
        Evaluated(
            accuracy=accuracy, ceiling=0.953, loss=0.2, test_examples=1000, examples_seen=6400, seconds=1.0
        )
    )
    return events


def telemetry(**changes: Any) -> Telemetry:
    """An RTX 3060 that got warm: forty readings, the last ten with software thermal slowdown."""
    seconds = [0.5 * n for n in range(40)]
    series = Series(
        second=tuple(seconds),
        sm_mhz=tuple(210 if s < 2 else 1852 - (60 if s >= 15 else 0) for s in seconds),
        temperature_c=tuple(round(50 + 1.7 * s) for s in seconds),
        power_w=tuple(None if n == 7 else 20.0 if s < 2 else 160.0 for n, s in enumerate(seconds)),
        utilisation_percent=tuple(0 if s < 2 else 91 for s in seconds),
        memory_bytes=tuple(None if s < 1 else 600 << 20 for s in seconds),
        event_reasons=tuple(0x1 if s < 2 else 0x24 if s >= 15 else 0x4 for s in seconds),
    )
    made = Telemetry(
        gpu=0,
        timed=((3.0, 10.0), (12.0, 19.5)),
        samples=series,
        summary=CardSummary(
            seconds=14.5,
            readings=29,
            utilisation_mean_percent=91.0,
            utilisation_max_percent=91,
            process_seen=True,
            peak_memory_bytes=600 << 20,
            sm_mhz_min=1792,
            sm_mhz_median=1852,
            sm_mhz_max=1852,
            sm_mhz_limit=2115,
            temperature_max_c=83,
            power_mean_w=160.0,
            harmful_seconds={},
            harmless_seconds={"power limit": 14.5},
            energy_method="energy counter",
            energy_joules_per_1000_samples=400.0,
            samples_per_second_per_watt=2.5,
            other_programs=(),
        ),
    )
    return msgspec.structs.replace(made, **changes)


def ended(going: Generator[Any, None, Any]) -> Any:
    """What a generator returns once it has gone to its end."""
    while True:
        try:
            next(going)
        except StopIteration as end:
            return end.value


def mark_baseline(history: History, number: int) -> None:
    """As if run ``number`` had ended as a baseline."""
    run = history.run(number)
    assert run is not None
    assert run.document is not None
    history.save(number, run.document, run.state, baseline_instead_of=())
