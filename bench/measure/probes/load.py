"""Produce load and measure it in a separate process: ``python -m bench.measure.probes.load JOB`` (a JSON ProbeJob).

Each line of stdout is one event. With ``rates_only`` only rates are measured. Otherwise the job has these parts: rates,
the memory test, the repeated product, then steady products until its time is over.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from bench.health.load.record import Pattern, Repeats
from bench.measure.probes.operations import ProbeDevice, open_device, use_card
from common.processes.child import die_with_parent

PATTERNS = (0, -1, -0x55555556, 0x55555555)
"""00, FF, AA and 55 in every byte, as signed 32-bit numbers."""

_BLOCK_S = 0.2
_FILL = 0.9
_CHUNKS_FOR_READING = 3


class ProbeJob(msgspec.Struct, frozen=True, kw_only=True):
    """The work of one probe process. ``free_bytes``: free memory of the card, or the part of main memory to use."""

    backend: str
    seconds: float
    card: int | None = None
    """Index in NVML's order; None: the CPU."""
    precisions: tuple[str, ...] = ("fp32",)
    free_bytes: int = 128 << 20
    matrix: int = 8192
    stream_bytes: int = 1 << 30
    """Size of the buffer of the bandwidth test, far larger than any cache."""
    chunk_cells: int = 1 << 26
    copy_bytes: int = 256 << 20
    rates_only: bool = False
    """Only matrix products of several sizes, memory bandwidth and launch latency, which share the time."""


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag="opened"):
    device: str
    on_gpu: bool
    pinned: bool


class Doing(msgspec.Struct, frozen=True, kw_only=True, tag="doing"):
    what: str


class Rate(msgspec.Struct, frozen=True, kw_only=True, tag="rate"):
    name: str
    value: float


class Broken(msgspec.Struct, frozen=True, kw_only=True, tag="broken"):
    name: str
    why: str


class Tested(msgspec.Struct, frozen=True, kw_only=True, tag="tested"):
    pattern: Pattern


class Repeated(msgspec.Struct, frozen=True, kw_only=True, tag="repeated"):
    repeats: Repeats


class Steady(msgspec.Struct, frozen=True, kw_only=True, tag="steady"):
    tflops: float


Event = Opened | Doing | Rate | Broken | Tested | Repeated | Steady
Emit = Callable[[Event], None]


def work(job: ProbeJob, emit: Emit) -> None:
    """Run all parts one after the other. A part that fails is reported, and the next part runs."""
    device = open_device(job.backend)
    emit(Opened(device=device.name, on_gpu=device.on_gpu, pinned=device.pinned))
    if job.card is not None and not device.on_gpu:
        return
    if job.rates_only:
        _rates(device, job, emit)
        return
    end = time.monotonic() + job.seconds
    part = min(2.0, max(0.1, job.seconds * 0.04))
    for precision in job.precisions:
        _run_part(f"matmul-{precision}", emit, lambda p=precision: _matmul(device, job, p, part, emit))  # type: ignore[misc]
    _run_part("memory-bandwidth", emit, lambda: _bandwidth(device, job, part, emit))
    if device.on_gpu:
        _run_part("to-device", emit, lambda: _copies(device, job, part, emit))
    _run_part("memory-pattern", emit, lambda: emit(Tested(pattern=_patterns(device, job))))
    _run_part("repeatable", emit, lambda: emit(Repeated(repeats=_repeats(device, job, 2 * part))))
    _run_part("soak", emit, lambda: _soak(device, job, end, emit))


def _rates(device: ProbeDevice, job: ProbeJob, emit: Emit) -> None:
    """Measure the rates with which ``ready`` and ``bench`` compare their results."""
    part = job.seconds / (2 * len(job.precisions) + 2)
    for precision in job.precisions:
        for n in (job.matrix, job.matrix // 2):
            smaller = msgspec.structs.replace(job, matrix=n)
            _run_part(
                f"matmul-{precision}",
                emit,
                lambda p=precision, j=smaller: _matmul(device, j, p, part, emit, min),  # type: ignore[misc]
            )
    _run_part("memory-bandwidth", emit, lambda: _bandwidth(device, job, part, emit))
    _run_part("launch", emit, lambda: _launch(device, part, emit))
    _run_part("recurrent-step", emit, lambda: _small(device, job, emit))


def _small(device: ProbeDevice, job: ProbeJob, emit: Emit) -> None:
    from bench.measure.probes import step as step_probe

    for name, value in step_probe.measure(job.backend, device.on_gpu, min(1.0, job.seconds / 6)):
        emit(Rate(name=name, value=value))


def _launch(device: ProbeDevice, seconds: float, emit: Emit) -> None:
    """Operations on four numbers, one after the other: nearly all of their time is the launch."""
    small = device.upload(device.host_buffer(4))

    def step() -> Any:
        nonlocal small
        small = device.plus_one(small)
        return small

    emit(Rate(name="launch", value=seconds_per_step(step, device.wait, seconds)))


def _run_part(name: str, emit: Emit, part: Callable[[], Any]) -> None:
    emit(Doing(what=name))
    try:
        part()
    except Exception as error:  # no code for the card, out of memory, or a broken library
        emit(Broken(name=name, why=(str(error).strip().splitlines() or [type(error).__name__])[0][:300]))


def seconds_per_step(
    step: Callable[[], Any],
    wait: Callable[[Any], None],
    seconds: float,
    pick: Callable[[list[float]], float] = statistics.median,
) -> float:
    """Seconds per ``step``: median (or ``pick``) of blocks of about 0.2 s with synchronisation at each end."""
    wait(step())
    begun = time.perf_counter()
    wait(step())
    count = max(1, round(_BLOCK_S / max(1e-6, time.perf_counter() - begun)))
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        mark = time.perf_counter()
        for _ in range(count):
            last = step()
        wait(last)
        times.append((time.perf_counter() - mark) / count)
    return pick(times)


def _matmul(
    device: ProbeDevice,
    job: ProbeJob,
    precision: str,
    seconds: float,
    emit: Emit,
    pick: Callable[[list[float]], float] = statistics.median,
) -> None:
    """TFLOPS of products of two n x n matrices, 2 n^3 operations each."""
    n = _size(job)
    a, b = device.normal(n, precision, 1), device.normal(n, precision, 2)
    step = seconds_per_step(lambda: device.product(a, b, precision), device.wait, seconds, pick)
    emit(Rate(name=f"matmul-{precision}", value=2 * n**3 / step / 1e12))


def _size(job: ProbeJob) -> int:
    """Matrix size: three float32 matrices need at most a third of the free memory."""
    n = job.matrix
    while n > 256 and 3 * 4 * n * n > job.free_bytes / 3:
        n //= 2
    return n


def _bandwidth(device: ProbeDevice, job: ProbeJob, seconds: float, emit: Emit) -> None:
    """GB/s of steps that each read and write the buffer once."""
    size = int(min(job.stream_bytes, job.free_bytes / 4)) // 4
    buffer = device.upload(device.host_buffer(size))

    def step() -> Any:
        nonlocal buffer
        buffer = device.plus_one(buffer)
        return buffer

    emit(
        Rate(name="memory-bandwidth", value=2 * 4 * size / seconds_per_step(step, device.wait, seconds) / 1e9)
    )


def _copies(device: ProbeDevice, job: ProbeJob, seconds: float, emit: Emit) -> None:
    size = int(min(job.copy_bytes, job.free_bytes / 4)) // 4
    host = device.host_buffer(size)
    step = seconds_per_step(lambda: device.upload(host), device.wait, seconds)
    emit(Rate(name="to-device", value=4 * size / step / 1e9))
    if not device.pinned:
        there = device.upload(host)
        step = seconds_per_step(lambda: device.download(there), lambda x: None, seconds)
        emit(Rate(name="from-device", value=4 * size / step / 1e9))
        return
    there = device.upload(host)
    step = seconds_per_step(lambda: host.copy_(there, non_blocking=True), device.wait, seconds)
    emit(Rate(name="from-device", value=4 * size / step / 1e9))


def _patterns(device: ProbeDevice, job: ProbeJob) -> Pattern:
    """The memory test: write a pattern to all chunks, then read all chunks; six patterns."""
    cells = min(job.chunk_cells, max(2, int(job.free_bytes * _FILL) // 4 // 2)) // 2 * 2
    wanted = max(1, int(job.free_bytes * _FILL) // (4 * cells))
    makers: list[Callable[[int], Any]] = [lambda i, v=value: device.filled(cells, v) for value in PATTERNS]  # type: ignore[misc]
    makers.append(lambda i: device.counted(cells, i * cells % 2**30))
    makers.append(lambda i: device.noise(cells, 1000 + i))
    wrong, least = 0, wanted
    for make in makers:
        chunks = _written(device, make, wanted)
        least = min(least, len(chunks))
        wrong += sum(device.wrong(chunk, make(i)) for i, chunk in enumerate(chunks))
        del chunks
    return Pattern(
        tested_bytes=least * cells * 4, free_bytes=job.free_bytes, wrong_cells=wrong, patterns=len(makers)
    )


def _written(device: ProbeDevice, make: Callable[[int], Any], wanted: int) -> list[Any]:
    """Allocate as many chunks as fit into memory, less those needed to read them back."""
    chunks: list[Any] = []
    try:
        while len(chunks) < wanted:
            chunks.append(make(len(chunks)))
            device.wait(chunks[-1])
    except Exception as error:
        if not device.is_full(error) or len(chunks) <= _CHUNKS_FOR_READING:
            raise
        del chunks[-_CHUNKS_FOR_READING:]
    return chunks


def _repeats(device: ProbeDevice, job: ProbeJob, seconds: float) -> Repeats:
    n, precision = _size(job), job.precisions[-1]
    a, b = device.normal(n, precision, 3), device.normal(n, precision, 4)
    first = device.product(a, b, precision)
    times = different = 0
    end = time.monotonic() + seconds
    while times < 3 or time.monotonic() < end:
        different += device.differs(device.product(a, b, precision), first)
        times += 1
    return Repeats(times=times, different=different)


def _soak(device: ProbeDevice, job: ProbeJob, end: float, emit: Emit) -> None:
    """Products in the precision that draws most power, with one copy per second so that the link stays active."""
    n, precision = _size(job), job.precisions[-1]
    a, b = device.normal(n, precision, 5), device.normal(n, precision, 6)
    host = device.host_buffer(min(job.copy_bytes, 64 << 20) // 4) if device.on_gpu else None
    step = seconds_per_step(lambda: device.product(a, b, precision), device.wait, 0.1)
    count = max(1, round(min(0.9, job.seconds / 20) / step))
    while True:
        mark = time.perf_counter()
        for _ in range(count):
            last = device.product(a, b, precision)
        device.wait(last)
        emit(Steady(tflops=2 * n**3 * count / (time.perf_counter() - mark) / 1e12))
        if host is not None:
            device.wait(device.upload(host))
        if time.monotonic() >= end:
            return


def main(text: str) -> int:
    """Run the job in ``text`` (JSON) and write its events to stdout."""
    die_with_parent()
    job = msgspec.json.decode(text, type=ProbeJob)
    if job.card is not None:
        use_card(job.card)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # the output of a framework is not an event

    def emit(event: Event) -> None:
        out.write(msgspec.json.encode(event) + b"\n")
        out.flush()

    work(job, emit)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
