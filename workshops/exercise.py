"""The learner's exercises: hand them out, run their tests in a process of their own, say what is wrong."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
import subprocess
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

from workshops.catalog import Lesson
from workshops.page import LessonError

TIME_LIMIT = 120.0
"""Seconds for all the tests of one lesson; an exercise that never ends is stopped and named."""


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
    """Run the lesson's tests on the file at ``path`` in a child process, each test by itself.

    Raises LessonError, in one sentence, when the file cannot be loaded.
    """
    command = [sys.executable, "-m", "workshops.exercise", lesson.stem, str(path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = child.communicate(timeout=time_limit)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        err = f"stopped after {time_limit:.0f} s: a loop that never ends?"
    lines = [json.loads(line.removeprefix(_MARK)) for line in out.splitlines() if line.startswith(_MARK)]
    error = next((line["error"] for line in lines if "error" in line), None)
    if error:
        raise LessonError(error)
    started = [line["name"] for line in lines if "solved" not in line]
    results = [Checked(**line) for line in lines if "solved" in line]
    if len(results) < len(started):
        reason = err.strip().splitlines()[-1] if err.strip() else f"ended with exit code {child.returncode}"
        results.append(Checked(started[len(results)], False, reason))
    elif child.returncode:
        raise LessonError(
            f"The tests of {path} could not run: {err.strip().splitlines()[-1] if err.strip() else '?'}"
        )
    return results


_MARK = "dlbox-check "


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


def _say(record: dict[str, object]) -> None:
    print(_MARK + json.dumps(record), flush=True)


def _where(error: BaseException, path: Path) -> str:
    """The kind of error, its message, and the last line of the learner's file that it passed through."""
    frames = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path]
    line = error.lineno if isinstance(error, SyntaxError) else frames[-1] if frames else None
    text = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
    return f"line {line}: {text}" if line else text


def _child(stem: str, path: Path) -> int:
    """The child process: a line before and a line after each test, so that the parent sees where it ended."""
    tests = importlib.import_module(f"workshops.checks.{stem}")
    try:
        learner = _load(path)
    except Exception as error:
        _say({"error": f"{path} cannot be loaded: {_where(error, path)}"})
        return 1
    for name, test in vars(tests).items():
        if not name.startswith("check_"):
            continue
        title = name.removeprefix("check_").replace("_", " ")
        _say({"name": title})
        try:
            test(learner)
        except AssertionError as error:
            _say(asdict(Checked(title, False, str(error) or "the test failed")))
        except Exception as error:
            _say(asdict(Checked(title, False, _where(error, path))))
        else:
            _say(asdict(Checked(title, True)))
    return 0


if __name__ == "__main__":
    sys.exit(_child(sys.argv[1], Path(sys.argv[2]).resolve()))
