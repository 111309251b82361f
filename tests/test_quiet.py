"""Other programs before training: when they matter, how they are named, and how long a run waits for them."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench.run import quiet
from bench.run.quiet import OtherPrograms
from common.terminal.progress import ProgressDisplay

READ = quiet.read


def programs(cores: float, usable: int = 2, **named: float) -> OtherPrograms:
    return OtherPrograms(cores=cores, usable=usable, programs=named or {"firefox": cores})


@pytest.mark.parametrize(
    ("cores", "usable", "physical", "on_card", "matters"),
    [
        (1.0, 2, 2, False, True),  # one busy program on two cores
        (0.2, 2, 2, False, False),
        (1.5, 16, 8, False, False),  # a browser on 16 threads
        (1.5, 16, 8, True, False),
        (12.0, 16, 8, False, True),
        (1.0, 2, 2, True, False),  # the card's host thread has a free core
        (2.0, 2, 2, True, True),
        (1.0, 2, 1, False, True),
    ],
)
def test_programs_matter_only_if_they_take_cores_that_training_needs(
    cores: float, usable: int, physical: int, on_card: bool, matters: bool
) -> None:
    needed = quiet.needed_cores(usable, physical, on_card=on_card)
    assert programs(cores, usable).matters(needed) is matters


@given(st.floats(0, 256), st.integers(1, 128), st.floats(1, 128))
def test_what_is_taken_is_a_share_and_grows_with_the_need(cores: float, usable: int, needed: float) -> None:
    found = programs(min(cores, usable), usable)
    assert 0 <= found.taken(needed) <= 1
    assert found.taken(needed) <= found.taken(needed + 1)
    if found.cores + needed + found.cores <= usable:
        assert not found.matters(needed)


class Waiting:
    """``before_training`` with readings of ``cores`` and a clock that only ``sleep`` moves."""

    def __init__(self, cores: Iterator[float]) -> None:
        self.cores, self.now, self.text = cores, 0.0, io.StringIO()

    def run(self, minutes: float | None) -> str:
        def sleep(seconds: float) -> None:
            assert seconds > 0
            self.now += seconds

        self.found = quiet.before_training(
            ProgressDisplay(Console(file=self.text, width=200)), 2.0, minutes,
            look=lambda: programs(next(self.cores), firefox=1.1, apt=0.2, idle=0.01),
            sleep=sleep, clock=lambda: self.now,
        )  # fmt: skip
        return self.text.getvalue()


def forever(cores: float) -> Iterator[float]:
    while True:
        yield cores


def test_one_warning_names_the_programs_and_the_choice_to_wait() -> None:
    waiting = Waiting(forever(1.3))
    text = waiting.run(None)
    assert text.count("\n") == 1
    assert "other programs use 1.3 of 2 cores (firefox 1.1, apt 0.2)" in text
    assert "--wait-for-quiet" in text
    assert waiting.now == 0


def test_a_quiet_machine_says_nothing_and_does_not_wait() -> None:
    waiting = Waiting(forever(0.1))
    assert waiting.run(10) == ""
    assert waiting.now == 0


def test_the_wait_ends_when_the_programs_end() -> None:
    waiting = Waiting(iter([1.3, 1.3, 1.3, 0.0]))
    text = waiting.run(10)
    assert "waiting up to 10 min; other programs use 1.3 of 2 cores (firefox 1.1, apt 0.2)" in text
    assert "quiet after" in text
    assert waiting.now == 3 * quiet.SECONDS_BETWEEN_READINGS


@pytest.mark.parametrize("minutes", [0.01, 0.5, 2])
def test_the_wait_is_bounded_and_then_training_starts(minutes: float) -> None:
    waiting = Waiting(forever(1.3))
    text = waiting.run(minutes)
    assert waiting.now == pytest.approx(60 * minutes)
    assert "training starts, its speed will be too low" in text
    assert waiting.found.cores == 1.3


def test_a_name_from_outside_cannot_control_the_terminal() -> None:
    text = io.StringIO()
    evil = programs(1.3, **{"x\x1b[2J\ny": 1.3})
    quiet.before_training(ProgressDisplay(Console(file=text, width=200)), 2.0, look=lambda: evil)
    assert "\x1b" not in text.getvalue()
    assert len(evil.text) < 120


def test_a_real_program_is_found_by_name_and_this_process_is_not() -> None:
    """The reading waits until the other program has used time; no limit on how much."""
    code = "while True: pass"
    busy = subprocess.Popen([sys.executable, "-c", code])

    def wait(seconds: float) -> None:
        import psutil

        began = sum(psutil.Process(busy.pid).cpu_times()[:2])
        while sum(psutil.Process(busy.pid).cpu_times()[:2]) < began + 0.2:
            pass

    try:
        seen: Any = quiet._program_seconds()
        assert any(pid == busy.pid for pid, _ in seen)
        found = READ(sleep=wait)  # our own child does not count
        assert found.usable >= 1
        assert found.cores >= 0
        assert all(cores >= 0 for cores in found.programs.values())
    finally:
        busy.kill()
        busy.wait()
