"""A lesson and its files after errors: full disks, unwritable folders, interruption; the width of its text."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from common.file_access.files import write_with
from tests.conftest import ROOT
from workshops.lessons import catalog
from workshops.player import lines, questions
from workshops.player.expected import Lesson
from workshops.player.outcome import LessonError, LessonOptions
from workshops.player.page import LessonPage

keras = pytest.importorskip("keras")


def page(folder: Path, name: str = "by-hand", **choices: Any) -> LessonPage:
    return LessonPage(
        catalog.find(name),
        LessonOptions(output=folder, **choices),
        out=io.StringIO(),
        progress=io.StringIO(),
    )


def text(sheet: LessonPage) -> str:
    assert isinstance(sheet.out, io.StringIO)
    return " ".join(sheet.out.getvalue().split())


def full(*args: object, **options: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import keras, numpy as np
from workshops.lessons import catalog
from workshops.player.outcome import LessonOptions
from workshops.player.page import LessonPage

page = LessonPage(catalog.find("by-hand"), LessonOptions(output=Path(sys.argv[1]), save=True))
inputs = keras.Input((4,))
small = keras.Model(inputs, keras.layers.Dense(1)(inputs))
large = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Dense(50_000)(inputs)))
page.save_model(small, "mine")
good = page.saved[0].read_bytes()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
page.save_model(large, "mine")
assert page.saved[0].read_bytes() == good
keras.saving.load_model(page.saved[0])
print(sorted(path.name for path in page.folder.iterdir()))
page.measure("LSTM, largest difference", 0.0)
print("OK", page.close().ok, page.unwritten)
"""


def test_a_full_disk_leaves_the_earlier_model_unchanged(tmp_path: Path) -> None:
    """No file may exceed 100 kB, so the second model cannot replace the first one."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = " ".join(done.stdout.split())
    assert "['mine.json', 'mine.keras']" in said, "nothing unfinished is left over"
    assert said.count("Cannot write") == 1
    assert "Results" in said
    assert "OK False" in said


def test_a_file_is_replaced_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a" / "kept.txt"
    write_with(path, lambda new: new.write_text("first"))

    def half(new: Path) -> None:
        new.write_text("hal")
        assert path.read_text() == "first"
        full()

    with pytest.raises(OSError, match="No space left"):
        write_with(path, half)
    assert path.read_text() == "first"
    assert [found.name for found in path.parent.iterdir()] == ["kept.txt"]


def test_a_picture_that_cannot_be_written_does_not_stop_the_lesson(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    sheet = page(tmp_path)
    monkeypatch.setattr(Figure, "savefig", full)
    with sheet.figure("looks", "A picture") as axes:
        axes.plot([1, 2])
    sheet.measure("LSTM, largest difference", 0.0)
    outcome = sheet.close()
    assert not outcome.ok
    assert outcome.unwritten == (tmp_path / "by-hand" / "looks.png",)
    assert outcome.document()["unwritten"] == [str(tmp_path / "by-hand" / "looks.png")]
    assert "Cannot write" in text(sheet)
    assert "LSTM, largest difference 0.0000" in text(sheet)


@pytest.mark.parametrize("why", ["a file", "full"])
def test_an_unwritable_folder_is_reported_before_training(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet = page(tmp_path / "out")
    if why == "a file":
        (tmp_path / "out").write_text("")
    else:
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LessonError, match=r"Cannot write pictures to .*; choose another --output") as error:
        sheet.announce()
    assert "\n" not in str(error.value)
    assert not text(sheet)


def test_the_write_test_leaves_no_file(tmp_path: Path) -> None:
    sheet = page(tmp_path)
    sheet.announce()
    assert list(sheet.folder.iterdir()) == []


@pytest.mark.parametrize("as_json", [False, True])
def test_an_interrupted_lesson_prints_the_values_measured_so_far(as_json: bool, tmp_path: Path) -> None:
    words = ["time-series", "--data", "airline", "--model", "lstm", "--epochs", "100000"]
    command = [sys.executable, "-P", str(ROOT / "dlbox.py"), "workshop", "run", *words]
    command += ["--output", str(tmp_path), *(["--json"] if as_json else [])]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    out, err = tmp_path / "stdout", tmp_path / "stderr"
    with out.open("w") as to_out, err.open("w") as to_err:
        child = subprocess.Popen(command, stdout=to_out, stderr=to_err, env=environment)
        until = time.monotonic() + 120
        while "lstm 1/100000" not in err.read_text() and time.monotonic() < until:
            time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 130
    said = " ".join((err if as_json else out).read_text().split())
    assert "Results until the interruption" in said
    assert "persistence: MAE 41.7273" in said
    assert "1 of 11 values are missing" in said
    assert "Questions" not in said
    assert err.read_text().rstrip().endswith("interrupted")
    assert "Traceback" not in err.read_text()
    assert not list((tmp_path / "cache").rglob("workshop-times.json")), "half a run says nothing of the whole"
    if as_json:
        document = json.loads(out.read_text())
        assert document["partial"] is True
        assert document["ok"] is False
        assert "persistence: MAE" in {m["name"] for m in document["measured"]}


@pytest.mark.parametrize("lesson", catalog.lessons(), ids=lambda lesson: lesson.name)
def test_a_lesson_ends_with_its_questions_and_names_its_exercises(lesson: Lesson, tmp_path: Path) -> None:
    sheet = page(tmp_path, lesson.name)
    sheet.measure("something", 1.0)
    sheet.close()
    said = text(sheet)
    heading, paragraphs = questions.closing_questions(lesson)
    assert heading.startswith("Questions")
    assert "?" in paragraphs[0]
    assert said.index("Results") < said.index("Took") < said.index(paragraphs[0])
    assert f"`dlbox workshop check {lesson.name}`" in said
    assert "#" not in " ".join(paragraphs)
    if lesson.name == "attention":
        assert "Attention is all you need" in said


def test_a_notebook_run_does_not_print_the_questions(tmp_path: Path) -> None:
    sheet = page(tmp_path)
    sheet.notebook = True
    sheet.close()
    assert "exercises" not in text(sheet)


def test_model_and_cell_together_are_refused_with_one_sentence(tmp_path: Path) -> None:
    run = pytest.importorskip("workshops.lessons.time_series.run")
    sheet = page(tmp_path, "time-series", model="perceptron", cell="lstm")
    with pytest.raises(LessonError, match="choose perceptron or lstm, not both"):
        run.run(sheet)
    assert not text(sheet)


@pytest.mark.parametrize(
    ("name", "choices", "kept"),
    [
        ("time-series", {"data": "sine", "cell": "simple-rnn"}, "sine-simple-rnn"),
        ("time-series", {"data": "noise", "model": "perceptron"}, "noise-perceptron"),
        ("text-generation", {"corpus": Path("mine.txt"), "cell": "simple-rnn"}, "characters-simple-rnn"),
    ],
)
def test_save_writes_the_model_of_every_data_set(
    name: str, choices: dict[str, Any], kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workshops.commands.start import start

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("mine.txt").write_text("It is what it is, and that is that. " * 560, encoding="utf-8")
    settings = LessonOptions(output=Path("out"), quick=True, epochs=1, save=True, **choices)
    outcome = start(name, settings, out=io.StringIO(), progress=io.StringIO())
    assert outcome.saved == (Path("out") / name / f"{kept}.keras",)
    assert keras.saving.load_model(outcome.saved[0]).count_params() > 0
    assert json.loads(outcome.saved[0].with_suffix(".json").read_text(encoding="utf-8"))["numbers"]


def test_tables_and_lines_are_not_wider_than_the_terminal() -> None:
    rows = [("a long name of a number that came out", "0.1234", "at least 0.9"), ("short", "1", "")]
    for width in (80, 40, 30):
        table = lines.table(("", "measured", "expected"), rows, width)
        assert max(map(len, table)) <= width
        assert "0.1234" in "\n".join(table)
    assert len(lines.table(("", "measured", "expected"), rows, 80)) == 3
    folded = lines.folded("  order  + " + "the plot was dull but " * 8, 80)
    assert max(map(len, folded.split("\n"))) <= 80
    assert folded.split("\n")[1].startswith("      ")
    assert lines.folded("1  2", 80) == "1  2"
    path = "/a" * 60
    assert lines.folded(f"saved {path}", 80).split("\n")[1].strip() == path


def test_streamed_text_is_not_wider_than_the_terminal() -> None:
    sheet = page(Path("unused"))
    for _ in range(40):
        sheet.stream("twenty three ")
    assert isinstance(sheet.out, io.StringIO)
    written = sheet.out.getvalue()
    assert max(map(len, written.split("\n"))) <= 80
    assert " ".join(written.split()) == " ".join(["twenty three"] * 40)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("by-hand", {}),
        ("word-vectors", {}),
        ("text-classification", {"model": "average"}),
        ("sign", {"model": "cnn"}),
    ],
)
def test_no_line_of_a_lesson_has_more_than_80_columns(
    name: str, choices: dict[str, str], tmp_path: Path
) -> None:
    """A line with a path may be longer, because a path cannot be wrapped."""
    from workshops.commands.start import start

    out = io.StringIO()
    settings = LessonOptions(output=tmp_path, quick=True, epochs=1, **choices)  # type: ignore[arg-type]
    start(name, settings, out=out, progress=io.StringIO())
    long = [line for line in out.getvalue().split("\n") if len(line) > 80 and str(tmp_path) not in line]
    assert not long
