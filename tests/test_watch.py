"""`dlbox watch`: panel on a terminal, lines and JSON elsewhere, cards that hang, Ctrl-C."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from bench.commands.computer import watch
from bench.measure.card.live import CardReader, CpuReader
from bench.results.terminal.live import card_lines, panel, throttle_reasons
from common.terminal.console import Console
from inventory.machine.gpu_records import Clocks, Gpu
from inventory.machine.reading import Reading
from tests.test_telemetry import content, probe

DLBOX = (sys.executable, "-P", "-m", "dlbox")


def documents(capsys: pytest.CaptureFixture[str], **options: Any) -> list[dict[str, Any]]:
    assert watch.run(**{"interval": 0.2, "count": 2, "as_json": True, **options}) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_each_json_line_is_a_document_with_the_cards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = documents(capsys, command=probe(tmp_path, content()))
    assert [(line["schema_version"], line["command"]) for line in lines] == [(1, "watch")] * 2
    (card,) = lines[-1]["cards"]
    assert (card["answers"], card["temperature_c"], card["power_w"], card["sm_mhz"]) == (
        True,
        71,
        160.0,
        1850,
    )
    assert card["utilisation_percent"] == 90
    assert card["throttle_reasons"] == ["power limit"]
    assert 512 << 20 in [one["memory_bytes"] for one in card["processes"]]
    assert lines[-1]["cards_problem"] is None
    assert lines[-1]["cpu"]["memory_total_bytes"] > 0


@pytest.mark.parametrize(
    "script",
    ["import os; os.kill(os.getpid(), 11)", "raise SystemExit(3)", "print('{\"begun\": true}'); print('}{')"],
)
def test_a_crash_of_the_driver_does_not_end_the_view(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = documents(capsys, command=(sys.executable, "-c", script))
    assert len(lines) == 2
    assert "the process that queries NVML" in lines[-1]["cards_problem"]
    assert lines[-1]["cards"] == []


def test_a_driver_that_hangs_is_reported_with_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    hang = (sys.executable, "-c", "import time; time.sleep(60)")
    assert watch.run(interval=0.2, count=1, as_json=False, command=hang) == 0
    assert re.search(r"cards: waiting for the driver for \d+ s", capsys.readouterr().out)


def test_a_card_that_stops_answering_says_for_how_long() -> None:
    now = [100.0]
    line = b'{"opening": {"nvml": {"value": true}, "count": 1}}'
    reader = CardReader(1.0, clock=lambda: now[0])
    reader._take(line)
    reader._seen[0] = (now[0], Gpu(index=0))
    now[0] += 3
    assert reader.silent_s(0) is None
    now[0] += 9
    assert reader.silent_s(0) == 12
    assert card_lines(reader.cards[0], 12.0) == ["card 0: the card has not answered for 12 s"]


def test_a_lost_card_gives_its_reason() -> None:
    gpu = Gpu(index=1, handle=Reading.failed("GPU is lost"))
    assert card_lines(gpu) == ["card 1: the card does not answer (GPU is lost)"]


@pytest.mark.parametrize(
    ("mask", "reasons"), [(None, ()), (0x1, ()), (0x2, ()), (0x44, ("power limit", "heat (hardware)"))]
)
def test_only_reasons_that_slow_the_card_are_named(mask: int | None, reasons: tuple[str, ...]) -> None:
    assert throttle_reasons(mask) == reasons
    lines = card_lines(Gpu(index=0, clocks=Clocks(event_reasons=Reading(value=mask))))
    assert any("clocks reduced" in line for line in lines) == bool(reasons)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 10), (20, 4)])
def test_the_panel_fits_the_terminal(columns: int, rows: int) -> None:
    console = Console(width=columns, plain=True)
    with console.capture() as taken:
        console.print(panel("dlbox watch", ["a long line " * 20] * 40, rows))
    lines = taken.get().splitlines()
    assert len(lines) <= rows
    assert max(map(len, lines)) <= columns


def test_the_cpu_use_of_programs_is_measured_between_readings() -> None:
    reader = CpuReader()
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    cpu = reader.read()
    assert (
        any(one.pid == os.getpid() and one.cpu_percent > 0 for one in cpu.programs) or len(cpu.programs) == 5
    )


def in_terminal(
    columns: int, rows: int, *arguments: str, stop_after: bytes = b"", **variables: str
) -> tuple[int, str]:
    """Exit code and output of `dlbox watch` in a terminal; Ctrl-C once ``stop_after`` has appeared."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    sized = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [*DLBOX, "watch", *arguments], stdin=slave, stdout=slave, stderr=slave,
        env={**sized, "TERM": "xterm-256color", **variables}, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    output, stopped = b"", False
    with contextlib.suppress(OSError):
        while chunk := os.read(master, 65536):
            output += chunk
            if stop_after and not stopped and stop_after in output:
                stopped = True
                process.send_signal(signal.SIGINT)
    os.close(master)
    return process.wait(60), output.decode()


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 10)])
def test_ctrl_c_ends_the_view_in_a_terminal(columns: int, rows: int) -> None:
    code, output = in_terminal(columns, rows, "--interval", "0.3", stop_after=b"CPU: ")
    assert code == 0
    assert "Traceback" not in output
    assert output.rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in output  # the cursor is visible again
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    assert max(len(line) for line in re.split(r"[\r\n]+", plain)) <= columns


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_a_simple_terminal_gets_no_colours(variables: dict[str, str]) -> None:
    code, output = in_terminal(80, 24, "--interval", "0.3", "--count", "2", **variables)
    assert code == 0
    assert "CPU: " in output
    assert not re.search(r"\x1b\[[0-9;]*[34]\dm", output)
    assert variables.get("TERM") != "dumb" or "\x1b" not in output


def test_piped_output_has_plain_lines() -> None:
    command = [*DLBOX, "watch", "--interval", "0.3", "--count", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.count("CPU: ") == 2
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
