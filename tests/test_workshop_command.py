"""The commands of `dlbox workshop`: messages, exit codes, and JSON alone on stdout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.frameworks import Framework
from workshops.lessons import catalog

ROOT = Path(__file__).parent.parent


def dlbox(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "NO_COLOR": "1"}
    command = [sys.executable, str(ROOT / "dlbox.py"), "workshop", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, check=False)
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout
    return done


def test_list(tmp_path: Path) -> None:
    done = dlbox(tmp_path, "list")
    assert done.returncode == 0
    assert all(lesson.name in done.stdout for lesson in catalog.lessons())
    assert max(map(len, done.stdout.split("\n"))) <= 80
    document = json.loads(dlbox(tmp_path, "list", "--json").stdout)
    assert list(document)[:2] == ["schema_version", "command"]
    listed = document["lessons"]
    assert [lesson["name"] for lesson in listed] == [lesson.name for lesson in catalog.lessons()]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "no-such"), "There is no lesson 'no-such'; the lessons are sign, time-series, by-hand, "),
        (("check", "no-such"), "There is no lesson 'no-such'; the lessons are sign, time-series, by-hand, "),
        (
            ("notebook", "no-such"),
            "There is no lesson 'no-such'; the lessons are sign, time-series, by-hand, ",
        ),
        (("run", "seq2sec"), "did you mean seq2seq"),
        (("run", "by-hand", "--cell", "lstmm"), "has no cell 'lstmm'; choose from simple-rnn, lstm"),
        (("run", "by-hand", "--model", "cnn"), "has no model 'cnn'; it has no option --model"),
        (("run", "by-hand", "--data", "real"), "has no data 'real'; choose from embedded"),
        (("run", "by-hand", "--corpus", __file__), "cannot read a --corpus"),
        (("run", "by-hand", "--epochs", "0"), "is out of range"),
        (
            ("run", "word-vectors", "--data", "glove.2024.dolma.300d"),
            "download https://nlp.stanford.edu/data/wordvecs/glove.2024.dolma.300d.zip yourself and pass it",
        ),
        (("predict", "by-hand", "--text", "x"), "cannot predict from a text"),
        (("predict", "seq2seq", "--text", "1+1"), "`dlbox workshop run seq2seq --save` first"),
    ],
)
def test_usage_errors_are_one_sentence(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    done = dlbox(tmp_path, *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout


def test_run_prints_the_page_and_json_only_json(
    tmp_path: Path, frameworks: Callable[[str], Framework]
) -> None:
    done = dlbox(tmp_path, "run", "by-hand", "--cell", "gru")
    assert done.returncode == 0
    assert "Results" in done.stdout
    words = ("run", "by-hand", "--cell", "gru", "--json", "--backend", "jax")
    done = frameworks("jax").dlbox(tmp_path, "workshop", *words)
    document = json.loads(done.stdout)
    assert document["ok"] is True
    assert document["backend"] == "jax"
    assert "Results" in done.stderr


def test_check_copies_the_exercises_once_and_lists_the_unsolved_ones(tmp_path: Path) -> None:
    first = dlbox(tmp_path, "check", "by-hand")
    assert first.returncode == 1
    assert "are now in exercises/by_hand.py" in first.stdout
    assert "0 of 5 solved" in first.stdout
    path = tmp_path / "exercises" / "by_hand.py"
    solutions = catalog.find("by-hand").folder / "solutions.py"
    path.write_text(solutions.read_text(encoding="utf-8"), encoding="utf-8")
    again = dlbox(tmp_path, "check", "by-hand", "--json")
    assert again.returncode == 0
    assert all(exercise["solved"] for exercise in json.loads(again.stdout)["exercises"])
    for bad, reason in (("def f(:\n", "SyntaxError"), ("import sys; sys.exit(0)\n", "SystemExit")):
        path.write_text(bad, encoding="utf-8")
        broken = dlbox(tmp_path, "check", "by-hand")
        assert broken.returncode == 1
        assert f"cannot be loaded: line 1: {reason}" in broken.stderr


def test_notebooks_are_written(tmp_path: Path) -> None:
    done = dlbox(tmp_path, "notebook", "all", "--folder", "books")
    assert done.returncode == 0
    assert [Path(line).stem for line in done.stdout.split()] == [lesson.stem for lesson in catalog.lessons()]
    assert all((tmp_path / line).exists() for line in done.stdout.split())
    (tmp_path / "file").write_text("", encoding="utf-8")
    refused = dlbox(tmp_path, "notebook", "by-hand", "--folder", "file/books")
    assert refused.returncode == 2
    assert refused.stderr.startswith("dlbox: Cannot write file/books/by_hand.ipynb")


def test_an_edited_notebook_is_not_overwritten(tmp_path: Path) -> None:
    assert dlbox(tmp_path, "notebook", "all").returncode == 0
    mine, other = tmp_path / "notebooks" / "by_hand.ipynb", tmp_path / "notebooks" / "sign.ipynb"
    fresh = mine.read_text(encoding="utf-8")
    book = json.loads(fresh)
    book["cells"][1]["source"] = "my_own = 1"
    mine.write_text(json.dumps(book), encoding="utf-8")
    other.unlink()
    done = dlbox(tmp_path, "notebook", "all")
    assert done.returncode == 1
    assert json.loads(mine.read_text(encoding="utf-8")) == book
    assert other.exists(), "the others are written"
    assert done.stderr == (
        "dlbox: notebooks/by_hand.ipynb was edited and is not overwritten: choose another --folder, or pass --force\n"
    )
    assert dlbox(tmp_path, "notebook", "by-hand", "--force").returncode == 0
    assert mine.read_text(encoding="utf-8") == fresh


def test_predict_answers_with_a_saved_model(tmp_path: Path, frameworks: Callable[[str], Framework]) -> None:
    def dlbox(*words: str) -> subprocess.CompletedProcess[str]:
        return frameworks("tensorflow").dlbox(tmp_path, "workshop", *words)

    done = dlbox("run", "seq2seq", "--quick", "--model", "attention", "--epochs", "1", "--save", "--json")
    assert done.returncode == 1  # one epoch does not learn to add, and the page says why
    assert "not for --epochs 1" in done.stderr
    document = json.loads(done.stdout)
    assert document["saved"] == ["dlbox-results/workshop/seq2seq/attention.keras"]
    kept = json.loads((tmp_path / document["saved"][0]).with_suffix(".json").read_text(encoding="utf-8"))
    assert kept["numbers"]["leaked"] == 0
    answer = dlbox("predict", "seq2seq", "--text", "12+345")
    assert answer.returncode == 0
    assert answer.stdout.strip().isdecimal()
    refused = dlbox("predict", "seq2seq", "--text", "hello")
    assert refused.returncode == 2
    assert "is not a sum of two numbers" in refused.stderr
