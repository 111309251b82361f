"""SIGHUP and SIGTERM end a command as Ctrl-C does; a second signal changes nothing."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

COMMAND = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
import dlbox

def work(**_):
    try:
        open(sys.argv[1] + "/begun", "w").close()
        while not os.path.exists(sys.argv[1] + "/go"):
            print("at work", file=sys.stderr, flush=True)
            time.sleep(0.02)
    except KeyboardInterrupt:
        open(sys.argv[1] + "/keeping", "w").close()
        while not os.path.exists(sys.argv[1] + "/go"):
            time.sleep(0.02)
        print("kept", file=sys.stderr)
        open(sys.argv[1] + "/kept", "w").close()
        raise

dlbox.cli.main = work
dlbox.main()
"""


def appears(path: Path) -> bool:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return path.exists()


def started(folder: Path, before: str = "") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(before) + COMMAND, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert appears(folder / "begun")
    return process


@pytest.mark.parametrize("second", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("first", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_interrupt_storing_the_results(
    tmp_path: Path, first: int, second: int
) -> None:
    process = started(tmp_path)
    process.send_signal(first)
    assert appears(tmp_path / "keeping")
    process.send_signal(second)
    (tmp_path / "go").touch()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (tmp_path / "kept").exists()
    assert said.endswith("kept\ndlbox: interrupted\n")


def test_a_later_ctrl_c_interrupts_storing_the_results(tmp_path: Path) -> None:
    process = started(tmp_path, "import time; real = time.monotonic; time.monotonic = lambda: 1000 * real()")
    process.send_signal(signal.SIGINT)
    assert appears(tmp_path / "keeping")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, (tmp_path / "kept").exists()) == (130, False)
    assert said.endswith("dlbox: interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_ignored_at_the_start_stays_ignored(tmp_path: Path, number: signal.Signals) -> None:
    process = started(tmp_path, f"import signal; signal.signal({int(number)}, signal.SIG_IGN)")
    process.send_signal(number)
    time.sleep(0.1)
    (tmp_path / "go").touch()
    process.communicate(timeout=60)
    assert (process.returncode, (tmp_path / "keeping").exists()) == (0, False)


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_closes_ends_the_run_or_leaves_it_alone(tmp_path: Path, ignored: bool) -> None:
    before = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" if ignored else ""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", before + COMMAND, str(tmp_path)])  # noqa: S606
    assert appears(tmp_path / "begun")
    os.close(terminal)
    assert ignored or appears(tmp_path / "keeping")
    time.sleep(0.2)
    (tmp_path / "go").touch()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == (0 if ignored else 130)
    assert (tmp_path / "kept").exists() is not ignored
