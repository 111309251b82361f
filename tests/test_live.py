"""The output of a lesson is not wider than its terminal."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import select
import struct
import termios
from fcntl import ioctl
from pathlib import Path
from typing import TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from workshops.lessons import catalog
from workshops.player import lines
from workshops.player.live import WIDTH, TrainingProgress, columns
from workshops.player.outcome import LessonOptions
from workshops.player.page import LessonPage


def terminal(wide: int) -> tuple[int, int]:
    mine, its = pty.openpty()
    ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, wide, 0, 0))
    return mine, its


def read_all(mine: int) -> str:
    """The text that was written to the terminal; it can arrive in several parts."""
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
        with TrainingProgress(out, "a_model_with_a_long_name", 10, 100, notebook=False) as show:
            show.epoch_ended(0, {f"quantity_{i}": 0.123456 for i in range(9)})
        out.flush()
        written = read_all(mine)
    os.close(mine)
    assert "words" in written
    assert "a_model" in written
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written).replace("\r", "\n").split("\n")
    assert max(map(len, drawn)) <= used
    assert max(map(len, drawn)) > used - 12, "the room there is is used"


@pytest.mark.parametrize(("asked", "used"), [("80", 80), ("70000", WIDTH), ("wide", WIDTH), ("0", WIDTH)])
def test_columns_sets_the_width_without_a_terminal(
    asked: str, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", asked)
    assert columns(io.StringIO()) == used
    assert columns(io.StringIO(), notebook=True) == WIDTH


def trained(out: TextIO, *, notebook: bool = False, epochs: int = 30, fail: bool = False) -> None:
    with TrainingProgress(out, "lstm", epochs, 4, notebook=notebook) as show:
        for epoch in range(epochs):
            show.epoch_begins(epoch)
            if show.live:
                show.drawn = -1.0  # as if the last drawing were long ago
                show.batch(1)
            if fail:
                raise KeyboardInterrupt
            show.epoch_ended(epoch, {"loss": 1.0 / (epoch + 1), "learning_rate": 0.1})


@pytest.mark.parametrize("epochs", [1, 11, 12, 13, 23, 30, 400])
def test_a_pipe_gets_at_most_twelve_plain_lines(epochs: int) -> None:
    out = io.StringIO()
    trained(out, epochs=epochs)
    written = out.getvalue().splitlines()
    assert len(written) <= 12
    assert written[0] == f"  lstm 1/{epochs}  loss 1.0000"
    assert written[-1] == f"  lstm {epochs}/{epochs}  loss {1 / epochs:.4f}"
    assert not {"\r", "\x1b"} & set(out.getvalue())


def test_a_notebook_gets_plain_text_in_one_line_that_is_overwritten() -> None:
    out = io.StringIO()
    trained(out, notebook=True)
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().count("\n") == 1
    states = [state.rstrip() for state in out.getvalue().split("\r")]
    assert states[1].startswith("  lstm 1/30  batch 2/4  ")
    assert states[-1] == "  lstm 30/30  loss 0.0333"


@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_gets_a_bar_and_keeps_the_last_state(
    no_color: str, fail: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor, which rich hides meanwhile, is visible again after an interruption too."""
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    mine, its = terminal(80)
    with os.fdopen(its, "w") as out:
        with contextlib.suppress(KeyboardInterrupt):
            trained(out, epochs=3, fail=fail)
        out.flush()
        written = read_all(mine)
    os.close(mine)
    assert "━" in written
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
    assert written.rpartition("\x1b[2K")[2].rstrip() == ("  lstm 1/3" if fail else "  lstm 3/3  loss 0.3333")
    assert bool(re.search(r"\x1b\[[0-9;]*m", written)) is not bool(no_color)


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    mine, its = terminal(80)
    with os.fdopen(its, "w") as out:
        trained(out, epochs=3)
        out.flush()
        written = read_all(mine)
    os.close(mine)
    assert written.split("\r\n")[:3] == [f"  lstm {i}/3  loss {1 / i:.4f}" for i in (1, 2, 3)]


def test_a_table_in_a_notebook_is_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """rich would display HTML there."""
    import rich.console

    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert lines.table(("", "measured"), [("loss", "0.1"), ("accuracy", "0.95")], 80) == [
        "            measured",
        "  loss           0.1",
        "  accuracy      0.95",
    ]


@given(
    rows=st.lists(st.tuples(*[st.text("abc de:,.0123ü[]漢\x1b", max_size=60)] * 3), max_size=6),
    width=st.integers(20, 100),
)
def test_no_table_is_wider_than_its_width_or_loses_a_character(
    rows: list[tuple[str, str, str]], width: int
) -> None:
    table = lines.table(("", "measured", "expected"), rows, width)
    assert all(cell_len(line) <= width for line in table)
    shown = sorted("".join("".join(row) for row in rows).replace("\x1b", "\\u001b").replace(" ", ""))
    header = sorted("measuredexpected")
    assert sorted("".join(table).replace(" ", "")) == sorted(shown + header)
