"""`dlbox workshop check`."""

from __future__ import annotations

from pathlib import Path

from common.command_line.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Complain
from common.command_line.json_output import print_json
from common.terminal.shown import visible
from workshops.lessons import catalog
from workshops.lessons.catalog import UnknownLessonError
from workshops.player import exercise
from workshops.player.outcome import LessonError


def check(name: str, folder: Path, *, solutions: bool, as_json: bool, complain: Complain) -> int:
    """Copy the exercises of a lesson to ``folder`` unless they are there already, test them, and print the results."""
    try:
        lesson = catalog.find(name)
        path, new = (exercise.solutions(lesson), False) if solutions else exercise.hand_out(lesson, folder)
        results = exercise.check(lesson, path)
    except UnknownLessonError as error:
        complain(str(error).rstrip("."))
        return EXIT_USAGE
    except LessonError as error:
        complain(str(error).rstrip("."))
        return EXIT_FAILED
    solved = sum(result.solved for result in results)
    if as_json:
        exercises = [{"name": r.name, "solved": r.solved, "hint": r.hint} for r in results]
        print_json("workshop check", {"lesson": name, "file": str(path), "exercises": exercises})
    else:
        if new:
            print(visible(f"The exercises are now in {path}: edit that file and run this command again.\n"))
        for result in results:
            state, hint = "solved" if result.solved else "to do ", f": {result.hint}" if result.hint else ""
            print(visible(f"{state}  {result.name}{hint}"))
        print(visible(f"\n{solved} of {len(results)} solved ({path})"))
    return EXIT_OK if results and solved == len(results) else EXIT_FAILED
