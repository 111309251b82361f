"""`dlbox watch`: show the cards and the processor until Ctrl-C."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.live import Live

from bench.measure.card.live import CardReader, Cpu, CpuReader
from bench.results.terminal.live import card_lines, panel, throttle_reasons
from bench.results.terminal.trends import sparkline
from common.command_line.exit_codes import EXIT_OK
from common.command_line.json_output import envelope
from common.terminal.console import Console
from inventory.gather import PROBE

_PLAIN_INTERVAL_S = 10.0
_FIRST_S = 2.0
_FIRST_STEP_S = 0.1
_GIB = 2**30


def run(*, interval: float | None, count: int | None, as_json: bool, command: Sequence[str] = PROBE) -> int:
    """Show a reading every ``interval`` seconds, ``count`` times (None: until Ctrl-C); returns the exit code.

    A panel on a terminal, a few lines per reading elsewhere, or a JSON document per line. Ctrl-C is the usual end of
    this command, so it gives exit code 0.
    """
    console = Console()
    live = not as_json and console.is_terminal and not console.is_dumb_terminal
    seconds = interval or (1.0 if live or as_json else _PLAIN_INTERVAL_S)
    try:
        with CardReader(min(seconds, 2.0) if live else seconds, command=command) as cards:
            _show(cards, console, seconds, count, live, as_json)
    except KeyboardInterrupt:
        pass
    return EXIT_OK


def _show(
    cards: CardReader, console: Console, seconds: float, count: int | None, live: bool, as_json: bool
) -> None:
    cpu, history = CpuReader(), deque[float](maxlen=30)
    started, number, lines = time.monotonic(), 0, list[str]()
    view = Live(console=console, auto_refresh=False, transient=False) if live else None
    if view is not None:
        view.start()
        view.update(panel("dlbox watch", ["reading the sensors"], console.height), refresh=True)
    try:
        while count is None or number < count:
            for left in _steps(cards, seconds, first=number == 0):
                if view is not None and lines:
                    title = f"dlbox watch, {time.monotonic() - started:.0f} s, next reading in {left:.0f} s"
                    view.update(panel(title, lines, console.height), refresh=True)
            number += 1
            reading = cpu.read()
            history.append(reading.percent)
            if as_json:
                sys.stdout.write(json.dumps(envelope("watch", _document(cards, reading))) + "\n")
                sys.stdout.flush()
                continue
            lines = [*_card_part(cards), *_cpu_part(reading, tuple(history) if live else ())]
            if view is not None:
                title = f"dlbox watch, {time.monotonic() - started:.0f} s, Ctrl-C ends it"
                view.update(panel(title, lines, console.height), refresh=True)
            else:
                print(datetime.now().astimezone().strftime("%H:%M:%S"))
                for line in lines:
                    console.print(f"  {line}", soft_wrap=True)
                sys.stdout.flush()
    finally:
        if view is not None:
            view.stop()


def _steps(cards: CardReader, seconds: float, *, first: bool) -> Iterator[float]:
    """Wait for the next reading, in steps of at most a second; yields the seconds that are left after each step.

    The first reading only waits until the cards have answered, at most ``_FIRST_S``.
    """
    until = time.monotonic() + (_FIRST_S if first else seconds)
    while (left := until - time.monotonic()) > 0:
        if first and (cards.trouble or (cards.count is not None and len(cards.cards) >= cards.count)):
            return
        cards.read(min(left, _FIRST_STEP_S if first else 1.0))
        if until - time.monotonic() > 0.5:
            yield until - time.monotonic()


def _card_part(cards: CardReader) -> list[str]:
    lines = [line for gpu in cards.cards for line in card_lines(gpu, cards.silent_s(gpu.index))]
    if cards.trouble:
        lines.append(f"cards: {cards.trouble}")
    elif cards.waiting_s is not None:
        lines.append(f"cards: waiting for the driver for {cards.waiting_s:.0f} s")
    elif cards.count == 0:
        lines.append("cards: the driver reports no card")
    elif len(cards.cards) < (cards.count or 0):
        lines.append(f"cards: {len(cards.cards)} of {cards.count} have answered")
    return lines


def _cpu_part(cpu: Cpu, history: Sequence[float]) -> list[str]:
    extra = "".join(
        f", {value:.0f} {unit}"
        for value, unit in ((cpu.frequency_mhz, "MHz"), (cpu.temperature_c, "C"))
        if value is not None
    )
    return [
        f"CPU: {cpu.percent:.0f} % of {len(cpu.core_percents)} cores busy{extra}, load {cpu.load[0]:.1f}"
        + (f" {sparkline(history)}" if len(history) > 1 else ""),
        f"  cores {' '.join(f'{core:.0f}' for core in cpu.core_percents)} %",
        f"  memory {cpu.memory_used_bytes / _GIB:.1f} of {cpu.memory_total_bytes / _GIB:.1f} GiB",
        *(
            f"  {one.name} ({one.pid}) {one.cpu_percent:.0f} % of a core"
            for one in cpu.programs
            if one.pid != os.getpid()
        ),
    ]


def _document(cards: CardReader, cpu: Cpu) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "cards": [
            {
                "index": gpu.index,
                "answers": gpu.handle.ok and cards.silent_s(gpu.index) is None,
                "silent_s": cards.silent_s(gpu.index),
                "utilisation_percent": gpu.utilisation_percent.value,
                "memory_used_bytes": gpu.memory_used_bytes.value,
                "memory_total_bytes": gpu.memory_total_bytes.value,
                "temperature_c": gpu.temperatures.gpu_c.value,
                "power_w": gpu.power.draw_w.value,
                "sm_mhz": gpu.clocks.sm_mhz.value,
                "memory_mhz": gpu.clocks.memory_mhz.value,
                "throttle_reasons": throttle_reasons(gpu.clocks.event_reasons.value),
                "processes": [
                    {"pid": one.pid, "name": one.name, "memory_bytes": one.memory_bytes}
                    for one in gpu.processes.value or ()
                ],
            }
            for gpu in cards.cards
        ],
        "cards_problem": cards.trouble or None,
        "waiting_for_driver_s": cards.waiting_s,
        "cpu": msgspec.to_builtins(cpu),
    }
