"""`dlbox workshop predict`."""

from __future__ import annotations

import importlib
from pathlib import Path

from common.command_line.exit_codes import EXIT_OK, EXIT_USAGE, Complain
from common.terminal.shown import visible
from workshops.lessons import catalog
from workshops.lessons.catalog import UnknownLessonError
from workshops.player import saved_models
from workshops.player.backend import set_backend
from workshops.player.outcome import LessonError


def predict(
    name: str, text: str, folder: Path, *, model: str | None, backend: str | None, complain: Complain
) -> int:
    """Print the prediction for ``text`` by a model that ``run --save`` saved."""
    try:
        lesson = catalog.find(name)
        if not lesson.predicts:
            others = ", ".join(each.name for each in catalog.lessons() if each.predicts)
            raise LessonError(f"The lesson {name} cannot predict from a text; these lessons can: {others}.")
        path = saved_models.find(lesson, folder, model)
        set_backend(backend)
        loaded = saved_models.load(path, lesson)
        print(visible(str(importlib.import_module(f"{lesson.package}.run").predict(loaded, text))))
    except (UnknownLessonError, LessonError) as error:
        complain(str(error).rstrip("."))
        return EXIT_USAGE
    return EXIT_OK
