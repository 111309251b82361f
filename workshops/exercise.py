"""The learner's exercises: hand them out, run their tests in a process of their own, say what is wrong."""

from __future__ import annotations

import faulthandler
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

from common import ending
from common.child import die_with_parent, end, start
from common.guard import prefix
from workshops.catalog import Lesson
from workshops.page import LessonError

TIME_LIMIT = 20.0
"""Seconds for one exercise; one that never ends is stopped and named, and the others are still judged."""


@dataclass(frozen=True)
class Checked:
    """One exercise: solved, or the hint."""

    name: str
    solved: bool
    hint: str = ""


def hand_out(lesson: Lesson, folder: Path) -> tuple[Path, bool]:
    """The learner's copy of the exercises in ``folder``, and whether it is new; what exists is left alone."""
    path = folder / f"{lesson.stem}.py"
    if path.exists():
        return path, False
    original = _packaged("exercises", lesson)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(original, path)
    except OSError as error:
        raise LessonError(f"Cannot write {path}: {error.strerror}.") from None
    return path, True


def solutions(lesson: Lesson) -> Path:
    """The file with the exercises done."""
    return _packaged("solutions", lesson)


def check(lesson: Lesson, path: Path, *, time_limit: float = TIME_LIMIT) -> list[Checked]:
    """Run the lesson's tests on the file at ``path``: one result for each exercise there is, in order.

    They run in a child process; where an exercise ends or hangs it, another child goes on with the next one.
    ``time_limit``: seconds an exercise. Raises LessonError, in one sentence, when the file cannot be loaded.
    """
    names = list(_tests(lesson.stem))
    results: list[Checked] = []
    while len(results) < len(names):
        results += _some(lesson, path, names[len(results) :], time_limit)
    return results


def _some(lesson: Lesson, path: Path, names: list[str], time_limit: float) -> list[Checked]:
    """The results of one child: of all the ``names``, or of those up to the one that ended it."""
    with tempfile.TemporaryDirectory(prefix=prefix()) as folder:
        told, errors = Path(folder) / "told", Path(folder) / "errors"
        told.touch()
        command = [sys.executable, "-m", "workshops.exercise", lesson.stem, str(path), str(told)]
        kills = ending.oom_kills()
        with errors.open("wb") as stderr:
            child = start([*command, str(time_limit), *names], stdout=subprocess.DEVNULL, stderr=stderr)
            late = False
            try:
                child.wait(time_limit * (len(names) + 1) + _STARTING)
            except subprocess.TimeoutExpired:
                late = True
            finally:
                end(child)
        lines = [json.loads(line) for line in told.read_text(encoding="utf-8").splitlines()]
        said = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    error = next((line["error"] for line in lines if "error" in line), None)
    if error:
        raise LessonError(error)
    results = [Checked(**line) for line in lines if "solved" in line]
    if len(results) == len(names):
        return results
    if late or any(line.startswith("Timeout (") for line in said):
        reason = f"stopped after {time_limit:g} s: a loop that never ends?"
    elif child.returncode:
        reason = ending.explain(child.returncode, kills, "\n".join(said[-12:])).why
    else:
        reason = "ended with exit code 0"
    if not any("loaded" in line for line in lines):
        raise LessonError(f"{path} cannot be loaded: {reason}")
    return [*results, Checked(_title(names[len(results)]), False, reason)]


_STARTING = 60.0
"""Seconds to start Python and load the tests, on a busy machine."""


def _tests(stem: str) -> dict[str, Callable[[ModuleType], None]]:
    """Name -> test of each exercise, in the order they are to be done in."""
    tests = vars(importlib.import_module(f"workshops.checks.{stem}"))
    return {name: test for name, test in tests.items() if name.startswith("check_")}


def _title(name: str) -> str:
    return name.removeprefix("check_").replace("_", " ")


def _packaged(folder: str, lesson: Lesson) -> Path:
    path = Path(__file__).parent / folder / f"{lesson.stem}.py"
    if not path.exists():
        raise LessonError(f"The lesson {lesson.name} has no {folder}.")
    return path


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("learner", path)
    if spec is None or spec.loader is None:
        raise LessonError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules["learner"] = module
    spec.loader.exec_module(module)
    return module


def _where(error: BaseException, path: Path) -> str:
    """The kind of error, its message, and the last line of the learner's file that it passed through."""
    frames = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path]
    line = error.lineno if isinstance(error, SyntaxError) else frames[-1] if frames else None
    text = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
    return f"line {line}: {text}" if line else text


def _child(stem: str, path: Path, told: Path, time_limit: float, names: list[str]) -> None:
    """The child process: a line in the file ``told`` after each test, so that the parent sees where it ended.

    Whatever the learner's code raises is a result, SystemExit too. A loop that never ends is stopped from outside
    Python, which a loop inside a library cannot keep from happening.
    """

    def say(record: dict[str, object]) -> None:
        with told.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    tests = _tests(stem)
    faulthandler.dump_traceback_later(time_limit, exit=True)
    try:
        learner = _load(path)
    except BaseException as error:
        say({"error": f"{path} cannot be loaded: {_where(error, path)}"})
        return
    say({"loaded": True})
    for name in names:
        faulthandler.dump_traceback_later(time_limit, exit=True)
        try:
            tests[name](learner)
        except AssertionError as error:
            result = Checked(_title(name), False, str(error) or "the test failed")
        except BaseException as error:
            result = Checked(_title(name), False, _where(error, path))
        else:
            result = Checked(_title(name), True)
        say(asdict(result))


if __name__ == "__main__":
    die_with_parent()
    _child(sys.argv[1], Path(sys.argv[2]).resolve(), Path(sys.argv[3]), float(sys.argv[4]), sys.argv[5:])
    os._exit(0)  # nothing that the learner's file left behind (a thread, an exit handler) has a say any more
