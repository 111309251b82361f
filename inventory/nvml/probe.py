"""The child process that reads NVML: ``python -m inventory.nvml.probe`` prints one JSON document per line.

The first line is ``{"begun": true}``, before the library is loaded, so that the time limit does not include the start
of Python. Then follow ``{"opening": {"nvml": ..., "count": N, "driver": ...}}`` and one ``{"gpu": ...}`` for each card
as soon as it is read, so that a crash or hang at one card loses no other card. ``--watch SECONDS`` makes it repeat
short samples until it is stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import IO

import msgspec

from common.processes.child import die_with_parent
from inventory.machine.gpu_records import Gpu
from inventory.machine.reading import Reading
from inventory.machine.records import Driver


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """The second line: whether NVML started, and the number of cards."""

    nvml: Reading[bool]
    count: int = 0
    driver: Driver = Driver()


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the output; exactly one of the three fields is set."""

    begun: bool = False
    opening: Opening | None = None
    gpu: Gpu | None = None


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
    options = parser.parse_args(arguments)
    die_with_parent()
    with _private_stdout() as out:
        return report(out, frozenset(options.skip), options.watch)


def report(out: IO[bytes], skip: frozenset[int], watch: float | None) -> int:
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
            for gpu in card.gpus(number, skip):
                _write(out, Line(gpu=gpu))
            return 0
        for index in range(number):
            _write(out, Line(gpu=card.sample(index)))
        time.sleep(watch)


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
