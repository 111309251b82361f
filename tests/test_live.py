"""The output of a lesson is not wider than its terminal."""

from __future__ import annotations

import io
import os
import pty
import select
import struct
import termios
from fcntl import ioctl
from pathlib import Path

import pytest

from workshops.lessons import catalog
from workshops.player.live import WIDTH, TrainingProgress, columns
from workshops.player.outcome import LessonOptions
from workshops.player.page import LessonPage


def terminal(wide: int) -> tuple[int, int]:
    mine, its = pty.openpty()
    ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, wide, 0, 0))
    return mine, its


def read_all(mine: int) -> str:
    """What waits in the terminal; it gives it out in pieces."""
    text = b""
    while select.select([mine], [], [], 0.2)[0]:
        text += os.read(mine, 100_000)
    return text.decode()


@pytest.mark.parametrize(("wide", "used"), [(80, 80), (60, 60), (5, 20), (250, WIDTH), (0, WIDTH)])
def test_text_and_progress_fit_the_terminal(
    wide: int, used: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    mine, its = terminal(wide)
    with os.fdopen(its, "w") as out:
        assert columns(out) == used
        page = LessonPage(catalog.find("by-hand"), LessonOptions(output=tmp_path), out=out, progress=out)
        page.say("some words to be wrapped " * 20)
        show = TrainingProgress(out, "a_model_with_a_long_name", 10, 100, quiet=False, notebook=False)
        show.epoch_ended(0, {f"quantity_{i}": 0.123456 for i in range(9)})
        show.done()
        out.flush()
        written = read_all(mine)
    os.close(mine)
    assert "words" in written
    assert "a_model" in written
    lines = written.replace("\r", "\n").split("\n")
    assert max(map(len, lines)) <= used
    assert max(map(len, lines)) > used - 12, "the room there is is used"


@pytest.mark.parametrize(("asked", "used"), [("80", 80), ("70000", WIDTH), ("wide", WIDTH), ("0", WIDTH)])
def test_columns_is_honoured_where_there_is_no_terminal(
    asked: str, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", asked)
    assert columns(io.StringIO()) == used
    assert columns(io.StringIO(), notebook=True) == WIDTH
