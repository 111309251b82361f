"""Start a lesson: in a terminal with ``start``, in a notebook with ``open_page``."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TextIO

from workshops.lessons import catalog
from workshops.player import backend as backends
from workshops.player.expected import Lesson
from workshops.player.outcome import LessonError, LessonOptions, LessonResult
from workshops.player.page import LessonPage
from workshops.speed import precision, tuned
from workshops.speed.settings import Setting, TunedSettingsError


class LessonInterrupted(KeyboardInterrupt):
    """The learner interrupted the lesson. ``result`` has the values that were measured until then."""

    def __init__(self, result: LessonResult) -> None:
        super().__init__()
        self.result = result


def start(
    name: str,
    options: LessonOptions,
    *,
    backend: str | None = None,
    out: TextIO | None = None,
    progress: TextIO | None = None,
) -> LessonResult:
    """Run lesson ``name``: text to ``out`` (stdout), progress to ``progress`` (stderr).

    Raises UnknownLessonError or LessonError, whose messages are one sentence for the learner, and LessonInterrupted on
    Ctrl-C.
    """
    lesson = catalog.find(name)
    stored = _stored_setting(lesson, options)
    backends.set_backend(backend, stored.backend if stored else None)
    page = LessonPage(lesson, options, out=out or sys.stdout, progress=progress or sys.stderr)
    setting = stored if stored and stored.backend == os.environ["KERAS_BACKEND"] else None
    with precision.using(setting.precision if setting else None):
        try:
            result = importlib.import_module(f"{lesson.package}.run").run(page)
        except KeyboardInterrupt:
            raise LessonInterrupted(page.close(partial=True)) from None
    if not isinstance(result, LessonResult):
        raise TypeError(f"{lesson.package}.run.run returned {type(result).__name__}, not a LessonResult")
    return result


def open_page(name: str, *, quick: bool = True, seed: int = 0, data: str = "embedded") -> LessonPage:
    """The page of lesson ``name`` for a notebook: text and pictures appear below the cells."""
    page = LessonPage(
        catalog.find(name),
        LessonOptions(quick=quick, seed=seed, data=data),
        out=sys.stdout,
        progress=sys.stdout,
        notebook=True,
    )
    page.announce()
    return page


def _stored_setting(lesson: Lesson, options: LessonOptions) -> Setting | None:
    """The stored setting of the requested model. None for a lesson with several models, which uses one backend for
    all."""
    try:
        return tuned.stored_setting(lesson.workload(options.model or options.cell or ""))
    except TunedSettingsError as error:
        raise LessonError(str(error)) from error
