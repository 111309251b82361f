"""Every lesson: the catalogue, the exercises, the notebooks, the messages."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from common.backends import BACKENDS
from workshops.lessons import catalog
from workshops.player import exercise, notebook
from workshops.player.backend import choose_backend
from workshops.player.expected import Lesson
from workshops.player.outcome import LessonError, LessonOptions
from workshops.player.page import LessonPage

ROOT = Path(__file__).parent.parent
NAMES = [lesson.name for lesson in catalog.lessons()]


@pytest.fixture(params=NAMES)
def lesson(request: pytest.FixtureRequest) -> Lesson:
    return catalog.find(request.param)


def test_the_commands_import_no_framework() -> None:
    code = (
        "import sys; from workshops.commands import check, list_lessons, notebook, predict, run;"
        "from workshops.lessons import catalog; catalog.lessons();"
        "heavy = {'keras', 'tensorflow', 'torch', 'jax', 'matplotlib', 'jupytext'};"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"


def test_an_unknown_lesson_name_lists_the_lessons() -> None:
    with pytest.raises(catalog.UnknownLessonError, match="did you mean by-hand") as error:
        catalog.find("byhand")
    assert all(name in str(error.value) for name in NAMES)
    assert "\n" not in str(error.value)


def test_a_page_has_less_than_300_lines(lesson: Lesson) -> None:
    for page in lesson.page_files:
        lines = page.read_text(encoding="utf-8").count("\n")
        assert lines < 300, f"{page} has {lines} lines"


def test_every_expected_value_has_a_range_and_a_reason(lesson: Lesson) -> None:
    assert lesson.expected
    for expected in lesson.expected:
        assert expected.low <= expected.high
        assert expected.why
        assert expected.if_off.endswith(".")
    for quick in (True, False):
        mode = {"both", "quick" if quick else "full"}
        names = [e.name for e in lesson.expected if e.mode in mode]
        assert len(names) == len(set(names))


def test_the_notebook_calls_every_function_that_the_script_calls(lesson: Lesson) -> None:
    """Every function that ``run`` calls with the page, the notebook calls too."""
    book = notebook.make(lesson)
    code = "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")
    module = ast.parse((lesson.folder / "run.py").read_text(encoding="utf-8"))
    run = next(n for n in module.body if isinstance(n, ast.FunctionDef) and n.name == "run")
    parts = {
        function.name
        for page in lesson.page_files
        for function in ast.parse(page.read_text(encoding="utf-8")).body
        if isinstance(function, ast.FunctionDef)
    }
    used = {n.id for n in ast.walk(run) if isinstance(n, ast.Name)} & parts
    outside = ast.parse(code)
    called = {
        n.id
        for statement in outside.body
        if not isinstance(statement, ast.FunctionDef)
        for n in ast.walk(statement)
        if isinstance(n, ast.Name)
    }
    assert used, "run calls no part of the lesson"
    assert used <= called, f"the notebook leaves out {used - called}"


def test_notebook_is_valid_and_has_no_links_to_follow(lesson: Lesson) -> None:
    import nbformat

    book = notebook.make(lesson)
    nbformat.validate(book)
    text = "\n".join(cell.source for cell in book.cells)
    assert "http" not in text
    assert not any(
        line.startswith("#") for cell in book.cells if cell.cell_type == "code" for line in cell.source[:1]
    )


@pytest.mark.parametrize(
    "there", ["printed", "older", "edited", "older and edited", "no notebook", "unmarked"]
)
def test_only_an_unedited_notebook_is_overwritten(tmp_path: Path, there: str) -> None:
    import nbformat

    lesson = catalog.find("by-hand")
    path = notebook.write(lesson, tmp_path)
    fresh = nbformat.read(path, as_version=4)
    book = nbformat.read(path, as_version=4)
    if there == "printed":
        book.cells[1].outputs = [nbformat.v4.new_output("stream", text="what it printed")]
    if there.startswith("older"):
        book.cells.append(nbformat.v4.new_code_cell("was_here = 'once'"))
        book.metadata["dlbox"]["made"] = notebook._fingerprint(book)
    if there.endswith("edited") or there == "unmarked":
        book.cells[1].source += "\nmine = 1"
    if there == "unmarked":
        del book.metadata["dlbox"]
    nbformat.write(book, path)
    if there == "no notebook":
        path.write_text("notes of mine", encoding="utf-8")
    before = path.read_bytes()
    if there in ("printed", "older"):
        notebook.write(lesson, tmp_path)
        assert (path.read_bytes() == before) == (there == "printed")
        assert there == "printed" or nbformat.read(path, as_version=4) == fresh
    else:
        with pytest.raises(notebook.EditedNotebookError, match="was edited and is not overwritten"):
            notebook.write(lesson, tmp_path)
        assert path.read_bytes() == before
        notebook.write(lesson, tmp_path, force=True)
        assert nbformat.read(path, as_version=4) == fresh
    assert [each.name for each in tmp_path.iterdir()] == ["by_hand.ipynb"]


def first_cell(lesson: Lesson) -> str:
    return str(next(cell.source for cell in notebook.make(lesson).cells if cell.cell_type == "code"))


def test_a_notebook_sets_the_backend_before_it_imports_keras(lesson: Lesson) -> None:
    code = "\n".join(cell.source for cell in notebook.make(lesson).cells if cell.cell_type == "code")
    assert -1 < code.find("backend.set_backend()") < code.find("import keras")
    assert "backend.set_backend()" in first_cell(lesson)


@pytest.mark.parametrize("asked", [None, "jax"])
def test_a_notebook_starts_without_tensorflow(asked: str | None) -> None:
    """On a box that has only torch or JAX the first cell takes what `workshop run` would take."""
    have = [name for name in BACKENDS if name != "tensorflow" and importlib.util.find_spec(name)]
    if not have or (asked and asked not in have):
        pytest.skip("needs a backend besides TensorFlow")
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        f"exec({first_cell(catalog.find('seq2seq'))!r})\n"
        "print(keras.backend.backend())"
    )
    env = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    env |= {"KERAS_BACKEND": asked} if asked else {}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT, env=env
    )
    assert done.stdout.split() == [asked or have[0]], done.stderr


@pytest.mark.parametrize(
    "name", [n if n == "by-hand" else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = notebook.write(catalog.find(name), tmp_path)
    book = nbformat.read(path, as_version=4)
    NotebookClient(book, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(o.get("text", "") for c in book.cells if c.cell_type == "code" for o in c.outputs)
    assert "\nResults\n" in printed
    assert "OFF" not in printed


def test_every_exercise_is_unsolved_and_every_solution_solves(lesson: Lesson, tmp_path: Path) -> None:
    path, new = exercise.hand_out(lesson, tmp_path)
    assert new
    unsolved = exercise.check(lesson, path)
    assert len(unsolved) >= 3
    assert not any(checked.solved for checked in unsolved), unsolved
    assert all(checked.hint for checked in unsolved)
    solved = exercise.check(lesson, exercise.solutions(lesson))
    assert [c.name for c in solved] == [c.name for c in unsolved]
    assert all(checked.solved for checked in solved), solved


def passes(lesson: Lesson, check: str, name: str, answer: Callable[..., object]) -> bool:
    """Does the test called ``check`` let through a file whose function ``name`` is ``answer``?"""
    tests = importlib.import_module(f"{lesson.package}.checks")
    try:
        with np.errstate(all="ignore"):
            getattr(tests, check)(SimpleNamespace(**{name: answer}))
    except Exception:
        return False
    return True


def beside(solve: Callable[..., Any]) -> dict[str, Callable[..., object]]:
    """Arrays of the right shape that say nothing."""

    def spread(pick: Callable[[Any], object]) -> Callable[..., object]:
        return lambda *args, **more: (lambda right: np.full_like(right, pick(right)))(solve(*args, **more))

    return {
        "zeros": spread(lambda right: 0),
        "ones": spread(lambda right: 1),
        "the mean everywhere": spread(np.mean),
        "the first row everywhere": spread(lambda right: right[0]),
    }


def test_no_exercise_is_solved_by_a_constant_or_by_its_input(lesson: Lesson) -> None:
    """A constant answer, 0 or the input itself does not pass the tests of an exercise."""
    done = importlib.import_module(f"{lesson.package}.solutions")
    tests = vars(importlib.import_module(f"{lesson.package}.checks"))
    names = [name for name, each in vars(done).items() if inspect.isfunction(each)]
    let_through = []
    for check, name in zip((test for test in tests if test.startswith("check_")), names, strict=True):
        said: list[object] = []

        solve = getattr(done, name)

        def noted(*args: object, _solve: Any = solve, _said: Any = said, **more: object) -> Any:
            _said.append(_solve(*args, **more))
            return _said[-1]

        assert passes(lesson, check, name, noted), check
        simple: dict[str, Callable[..., object]] = {
            f"always {answer!r}": lambda *_, _answer=answer, **__: _answer for answer in said
        }
        for i in range(3):
            simple[f"input {i}"] = lambda *args, _i=i, **__: args[_i]
        if isinstance(said[0], np.ndarray) and said[0].size > 1:
            simple |= beside(solve)
        let_through += [
            f"{check}: {how}" for how, each in simple.items() if passes(lesson, check, name, each)
        ]
    assert not let_through


def test_a_copy_of_the_exercises_is_never_overwritten(tmp_path: Path) -> None:
    path, _ = exercise.hand_out(catalog.find("by-hand"), tmp_path)
    path.write_text("mine = 1\n", encoding="utf-8")
    assert exercise.hand_out(catalog.find("by-hand"), tmp_path) == (path, False)
    assert path.read_text(encoding="utf-8") == "mine = 1\n"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            "def rnn_step(x, h, w_input, w_state):\n    return 1 / 0\n",
            "line 2: ZeroDivisionError: division by zero",
        ),
        (
            "def rnn_step(x, h, w_input, w_state):\n    while True:\n        pass\n",
            "is there an endless loop",
        ),
        (
            "def rnn_step(x, h, w_input, w_state):\n    import os\n    os._exit(3)\n",
            "the process ended with exit code 3",
        ),
        ("pass\n", "has no attribute 'rnn_step'"),
    ],
)
def test_a_broken_exercise_gets_a_hint_and_no_traceback(tmp_path: Path, text: str, hint: str) -> None:
    path = tmp_path / "by_hand.py"
    path.write_text(text, encoding="utf-8")
    first = exercise.check(catalog.find("by-hand"), path, time_limit=5)[0]
    assert not first.solved
    assert hint in first.hint


@pytest.mark.parametrize(
    ("does", "hint"),
    [
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("raise SystemExit", "SystemExit"),
        ("import os; os._exit(0)", "the process ended with exit code 0"),
        ("while True: pass", "is there an endless loop"),
        ("import time; time.sleep(1e6)", "is there an endless loop"),
        ("input()", "EOFError"),
    ],
)
@pytest.mark.parametrize("which", [0, 2])
def test_one_broken_exercise_does_not_hide_the_others(
    tmp_path: Path, does: str, hint: str, which: int
) -> None:
    lesson = catalog.find("by-hand")
    done = exercise.solutions(lesson).read_text(encoding="utf-8")
    names = [node.name for node in ast.parse(done).body if isinstance(node, ast.FunctionDef)]
    path = tmp_path / "by_hand.py"
    path.write_text(f"{done}\n\ndef {names[which]}(*_):\n    {does}\n", encoding="utf-8")
    results = exercise.check(lesson, path, time_limit=2)
    assert [r.name.split()[0] for r in results] == ["1", "2", "3", "4", "5"]
    assert [r.solved for r in results] == [i != which for i in range(5)]
    assert hint in results[which].hint


def test_output_of_the_learner_is_not_a_result(tmp_path: Path) -> None:
    path, _ = exercise.hand_out(catalog.find("by-hand"), tmp_path)
    path.write_text(path.read_text(encoding="utf-8") + "print('here', end='')\n", encoding="utf-8")
    assert [r.solved for r in exercise.check(catalog.find("by-hand"), path)] == [False] * 5


@pytest.mark.parametrize(
    "text",
    [
        "def f(:\n",
        "import no_such_module_at_all\n",
        "raise SystemError('no')\n",
        "raise SystemExit\n",
        "exit(0)\n",
        "raise KeyboardInterrupt\n",
    ],
)
def test_a_file_that_cannot_be_loaded_is_reported_with_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "by_hand.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LessonError, match="cannot be loaded: line 1") as error:
        exercise.check(catalog.find("by-hand"), path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("while True:\n    pass\n", "stopped after 1 s: is there an endless loop?"),
     ("import os\nos._exit(0)\n", "the process ended with exit code 0")],
)  # fmt: skip
def test_a_file_that_ends_or_blocks_the_child_is_reported(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "by_hand.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LessonError, match="cannot be loaded: ") as error:
        exercise.check(catalog.find("by-hand"), path, time_limit=1)
    assert str(error.value).endswith(reason)


def test_a_missing_backend_is_named() -> None:
    with pytest.raises(LessonError, match="is not installed"):
        choose_backend("theano")


def test_an_unknown_model_is_reported_with_one_sentence() -> None:
    page = LessonPage(catalog.find("by-hand"), LessonOptions(), out=io.StringIO())
    with pytest.raises(LessonError, match="has no cell 'lstmm'; choose from lstm, gru"):
        page.choose("lstmm", ["lstm", "gru"], "cell")


def test_values_outside_their_range_are_explained(tmp_path: Path) -> None:
    import keras  # noqa: F401

    out = io.StringIO()
    page = LessonPage(catalog.find("by-hand"), LessonOptions(output=tmp_path, epochs=1), out=out)
    page.measure("LSTM, largest difference", 0.5)
    outcome = page.close()
    assert not outcome.ok
    assert "OFF" in out.getvalue()
    assert "not for --epochs 1" in out.getvalue()
