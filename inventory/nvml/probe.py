"""The child process that reads NVML: ``python -m inventory.nvml.probe`` prints one JSON document per line.

The first line is ``{"begun": true}``, before the library is loaded, so that the time limit does not include the start
of Python. Then follow ``{"opening": {"nvml": ..., "count": N, "driver": ...}}`` and one ``{"gpu": ...}`` for each card
as soon as it is read, so that a crash or hang at one card loses no other card. Then it reads the momentary values of
all cards again: a few times, and more often while a reading looks like a fault, because one reading does not show
whether a state lasts. Each gives one ``{"sample": ..., "index": N}``. ``--watch SECONDS`` makes it repeat short samples
until it is stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import IO

import msgspec

from common.processes.child import die_with_parent
from inventory.machine.gpu_records import Gpu, GpuSample
from inventory.machine.reading import Reading
from inventory.machine.records import Driver


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """The second line: whether NVML started, and the number of cards."""

    nvml: Reading[bool]
    count: int = 0
    driver: Driver = Driver()


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the output; exactly one of the fields is set, except ``index``."""

    begun: bool = False
    opening: Opening | None = None
    gpu: Gpu | None = None
    sample: GpuSample | None = None
    index: int = 0
    """The card of ``sample``."""


SAMPLES = 2
"""Further readings of each card, if no reading looks like a fault."""
MOST_SAMPLES = 7
PAUSE_S = 0.25
"""Seconds between two readings: half a second for sound cards, and 1.75 s while something looks like a fault."""
_SLOWED = 0xE8
"""Clock event reasons that can be a fault: hardware slowdown, heat (software and hardware), power brake."""
_BUSY_PERCENT = 50
_LOW_CLOCK = 0.5


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="inventory.nvml.probe", description=__doc__)
    parser.add_argument(
        "--skip",
        type=int,
        action="append",
        default=[],
        metavar="INDEX",
        help="do not read the card with this index",
    )
    parser.add_argument(
        "--watch", type=float, metavar="SECONDS", help="read the cards again at this interval"
    )
    parser.add_argument(
        "--pause",
        type=float,
        default=PAUSE_S,
        metavar="SECONDS",
        help="time between two readings of a card",
    )
    options = parser.parse_args(arguments)
    die_with_parent()
    with _private_stdout() as out:
        return report(out, frozenset(options.skip), options.watch, options.pause)


def report(out: IO[bytes], skip: frozenset[int], watch: float | None = None, pause_s: float = PAUSE_S) -> int:
    """Write the lines to ``out`` and return the exit code. ``watch``: seconds between samples."""
    from inventory.nvml import card  # Imported here, because only this process may load the library.
    from inventory.nvml import library as nvml

    _write(out, Line(begun=True))
    count = nvml.start()
    if not count.ok:
        _write(out, Line(opening=Opening(nvml=nvml.converted(count, bool))))
        return 0
    number = count.value or 0
    _write(out, Line(opening=Opening(nvml=Reading.of(True), count=number, driver=nvml.driver())))
    while True:
        if watch is None:
            gpus = []
            for gpu in card.gpus(number, skip):
                _write(out, Line(gpu=gpu))
                gpus.append(gpu)
            _sample(out, [gpu for gpu in gpus if gpu.handle.ok], pause_s)
            return 0
        for index in range(number):
            _write(out, Line(gpu=card.sample(index)))
        time.sleep(watch)


def _sample(out: IO[bytes], gpus: list[Gpu], pause_s: float) -> None:
    """Read the momentary values of the cards again, and write them to ``out``."""
    from inventory.nvml import card

    started = time.monotonic()
    suspicious = any(map(_looks_like_a_fault, gpus))
    for number in range(MOST_SAMPLES if gpus else 0):
        if number >= SAMPLES and not suspicious:
            return
        time.sleep(pause_s)
        for gpu in gpus:
            sample = card.moment(gpu.index, round(time.monotonic() - started, 3))
            _write(out, Line(sample=sample, index=gpu.index))
            again = msgspec.structs.replace(
                gpu,
                clocks=sample.clocks,
                utilisation_percent=sample.utilisation_percent,
                power=msgspec.structs.replace(gpu.power, draw_w=sample.draw_w),
            )
            suspicious = suspicious or _looks_like_a_fault(again)


def _looks_like_a_fault(gpu: Gpu) -> bool:
    """Whether more readings have to show if a state lasts: reduced clocks, too much power, or busy at a low clock."""
    clocks, draw_w, limit_w = gpu.clocks, gpu.power.draw_w.value, gpu.power.limit_w.value
    if (clocks.event_reasons.value or 0) & _SLOWED:
        return True
    if draw_w is not None and limit_w is not None and draw_w > limit_w:
        return True
    now, top = clocks.sm_mhz.value, clocks.sm_max_mhz.value
    busy = (gpu.utilisation_percent.value or 0) >= _BUSY_PERCENT
    return busy and now is not None and top is not None and now < _LOW_CLOCK * top


def _write(out: IO[bytes], line: Line) -> None:
    out.write(msgspec.json.encode(line) + b"\n")
    out.flush()


def _private_stdout() -> IO[bytes]:
    """A private copy of stdout; text that the library prints to stdout goes to stderr instead."""
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return private


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(1)
