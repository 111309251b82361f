"""The progress line fits the terminal and always shows the remaining time."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from common.terminal.progress import ProgressDisplay

LONG = "preflight: It is looked whether another run works on this box or on another one"


@pytest.mark.parametrize("wide", [60, 80, 100, 200])
def test_a_narrow_terminal_cuts_the_step_and_keeps_the_remaining_time(wide: int) -> None:
    out = io.StringIO()
    with ProgressDisplay(Console(file=out, force_terminal=True, width=wide, highlight=False)) as watcher:
        watcher.begin("site", "starting")
        watcher.update(LONG, share=0.4, rate="under a minute left")
        assert watcher._bar is not None
        watcher._bar.refresh()
        watcher.done("1 changed in 3 s")
    frames = re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()))
    told = [frame for frame in frames if "site: pre" in frame]
    assert told
    for frame in told:
        assert "under a minute left" in frame
        assert re.search(r"0:00:0\d", frame)
        assert len(frame.rstrip()) <= wide
    assert (LONG in told[-1]) == (wide == 200)
    assert "site: 1 changed in 3 s" in frames


def test_the_clock_continues_if_the_work_takes_longer_than_estimated() -> None:
    now = [100.0]
    out = io.StringIO()
    with ProgressDisplay(Console(file=out, force_terminal=True, width=80, highlight=False)) as watcher:
        assert watcher._bar is not None
        watcher._bar.get_time = lambda: now[0]
        watcher.begin("site", "starting")
        watcher.update("The box trains", share=1.0)
        now[0] += 83
        watcher.update("The box trains", share=1.0)
        (task,) = watcher._bar.tasks
        assert (task.finished, task.elapsed) == (False, 83)
    lines = io.StringIO()
    plain = ProgressDisplay(Console(file=lines, highlight=False))
    plain.update("The box trains", share=1.0)
    assert "99%" in lines.getvalue()
