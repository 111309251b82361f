"""`dlbox workshop run`."""

from __future__ import annotations

import sys

from common.command_line.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Complain
from common.command_line.json_output import print_json
from workshops.commands.start import LessonInterrupted, start
from workshops.lessons import catalog
from workshops.lessons.catalog import UnknownLessonError
from workshops.player.expected import Lesson
from workshops.player.outcome import LessonError, LessonOptions


def run(name: str, options: LessonOptions, *, backend: str | None, as_json: bool, complain: Complain) -> int:
    """Run one lesson. With ``--json`` the page goes to stderr and the result to stdout."""
    try:
        check_options(catalog.find(name), options)
        result = start(name, options, backend=backend, out=sys.stderr if as_json else sys.stdout)
    except (UnknownLessonError, LessonError) as error:
        complain(str(error).rstrip("."))
        return EXIT_USAGE
    except LessonInterrupted as interrupted:
        if as_json:
            print_json("workshop run", interrupted.result.document())
        raise
    if as_json:
        print_json("workshop run", result.document())
    return EXIT_OK if result.ok else EXIT_FAILED


def check_options(lesson: Lesson, options: LessonOptions) -> None:
    """Raise LessonError for a model, cell or data set that the lesson does not have. This happens before Keras is
    loaded."""
    unavailable = dict(lesson.unavailable)
    if options.data in unavailable:
        raise LessonError(unavailable[options.data])
    choices = {"model": lesson.models, "cell": lesson.cells, "data": lesson.data_choices}
    for option, available in choices.items():
        asked = getattr(options, option)
        if asked is not None and asked not in available:
            hint = f"choose from {', '.join(available)}" if available else f"it has no option --{option}"
            raise LessonError(f"The lesson {lesson.name} has no {option} {asked!r}; {hint}.")
    if options.corpus is not None and not lesson.reads_corpus:
        raise LessonError(f"The lesson {lesson.name} cannot read a --corpus.")
