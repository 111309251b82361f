"""Copy the exercises to the learner, run their tests in a separate process, and report what is wrong."""

from __future__ import annotations

import faulthandler
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

from common.processes import exit_reason
from common.processes.child import die_with_parent, end, start
from common.processes.guard import prefix
from workshops.player.expected import Lesson
from workshops.player.outcome import LessonError

TIME_LIMIT = 20.0
"""Time limit for one exercise in seconds. An exercise that runs longer is stopped and reported; the others are still
tested."""
_START_LIMIT = 60.0
"""Time limit for starting Python and loading the tests, in seconds. It is long enough for a busy machine."""


@dataclass(frozen=True)
class ExerciseResult:
    """Result of one exercise: whether it is solved, and a hint if it is not."""

    name: str
    solved: bool
    hint: str = ""


def hand_out(lesson: Lesson, folder: Path) -> tuple[Path, bool]:
    """Copy the exercises to ``folder`` unless a copy exists. Returns its path and whether the copy is new.

    Raises LessonError if the copy cannot be written.
    """
    path = folder / f"{lesson.stem}.py"
    if path.exists():
        return path, False
    original = _file(lesson, "exercises")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(original, path)
    except OSError as error:
        raise LessonError(f"Cannot write {path}: {error.strerror}.") from None
    return path, True


def solutions(lesson: Lesson) -> Path:
    """The file with the solutions of the exercises."""
    return _file(lesson, "solutions")


def check(lesson: Lesson, path: Path, *, time_limit: float = TIME_LIMIT) -> list[ExerciseResult]:
    """Run the lesson's tests on the file at ``path``. Returns one result per exercise, in order.

    The tests run in a child process. If an exercise ends this process or runs longer than ``time_limit`` seconds, a new
    child process continues with the next exercise. Raises LessonError if the file cannot be loaded.
    """
    checks = _file(lesson, "checks")
    names = list(_tests(checks))
    results: list[ExerciseResult] = []
    while len(results) < len(names):
        results += _run_child(checks, path, names[len(results) :], time_limit)
    return results


def _run_child(checks: Path, path: Path, names: list[str], time_limit: float) -> list[ExerciseResult]:
    """The results of one child process: for all ``names``, or up to the exercise that ended the process."""
    with tempfile.TemporaryDirectory(prefix=prefix()) as folder:
        records, errors = Path(folder) / "records", Path(folder) / "errors"
        records.touch()
        command = [sys.executable, "-m", "workshops.player.exercise", str(checks), str(path), str(records)]
        kills_before = exit_reason.oom_kills()
        with errors.open("wb") as stderr:
            child = start([*command, str(time_limit), *names], stdout=subprocess.DEVNULL, stderr=stderr)
            late = False
            try:
                child.wait(time_limit * (len(names) + 1) + _START_LIMIT)
            except subprocess.TimeoutExpired:
                late = True
            finally:
                end(child)
        lines = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
        stderr_lines = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    error = next((line["error"] for line in lines if "error" in line), None)
    if error:
        raise LessonError(error)
    results = [ExerciseResult(**line) for line in lines if "solved" in line]
    if len(results) == len(names):
        return results
    if late or any(line.startswith("Timeout (") for line in stderr_lines):
        reason = f"stopped after {time_limit:g} s: is there an endless loop?"
    elif child.returncode:
        why = exit_reason.explain(child.returncode, kills_before, "\n".join(stderr_lines[-12:])).why
        reason = f"the process {why}"
    else:
        reason = "the process ended with exit code 0"
    if not any("loaded" in line for line in lines):
        raise LessonError(f"{path} cannot be loaded: {reason}")
    return [*results, ExerciseResult(_title(names[len(results)]), False, reason)]


def _tests(checks: Path) -> dict[str, Callable[[ModuleType], None]]:
    """Name of the exercise -> its test, in the order of the exercises."""
    tests = vars(_load(checks, "exercise_checks"))
    return {name: test for name, test in tests.items() if name.startswith("check_")}


def _title(name: str) -> str:
    return name.removeprefix("check_").replace("_", " ")


def _file(lesson: Lesson, name: str) -> Path:
    path = lesson.folder / f"{name}.py"
    if not path.exists():
        raise LessonError(f"The lesson {lesson.name} has no {name}.")
    return path


def _load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LessonError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _describe(error: BaseException, path: Path) -> str:
    """Type and message of the error, and the last line of the learner's file in its traceback."""
    frames = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path]
    line = error.lineno if isinstance(error, SyntaxError) else frames[-1] if frames else None
    text = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
    return f"line {line}: {text}" if line else text


def _child(checks: Path, path: Path, records: Path, time_limit: float, names: list[str]) -> None:
    """Main function of the child process. It adds a line to the file ``records`` after each test.

    Every exception in the learner's code is reported as a result, including SystemExit. faulthandler stops an endless
    loop, also a loop inside a compiled library.
    """

    def record(entry: dict[str, object]) -> None:
        with records.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    tests = _tests(checks)
    faulthandler.dump_traceback_later(time_limit, exit=True)
    try:
        learner = _load(path, "learner")
    except BaseException as error:
        record({"error": f"{path} cannot be loaded: {_describe(error, path)}"})
        return
    record({"loaded": True})
    for name in names:
        faulthandler.dump_traceback_later(time_limit, exit=True)
        try:
            tests[name](learner)
        except AssertionError as error:
            result = ExerciseResult(_title(name), False, str(error) or "the test failed")
        except BaseException as error:
            result = ExerciseResult(_title(name), False, _describe(error, path))
        else:
            result = ExerciseResult(_title(name), True)
        record(asdict(result))


if __name__ == "__main__":
    die_with_parent()
    _child(
        Path(sys.argv[1]), Path(sys.argv[2]).resolve(), Path(sys.argv[3]), float(sys.argv[4]), sys.argv[5:]
    )
    os._exit(0)  # Exit without running threads and exit handlers of the learner's file.
