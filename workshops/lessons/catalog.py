"""Find the lessons: every folder beside this file that has an expected.py. This module imports no framework."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil

from common.command_line.suggestions import did_you_mean
from workshops import lessons as folders
from workshops.player.expected import Lesson


class UnknownLessonError(ValueError):
    """There is no lesson of that name. The message is one sentence that lists the lessons."""


def lessons() -> tuple[Lesson, ...]:
    """All lessons in order."""
    found = []
    for module in pkgutil.iter_modules(folders.__path__, f"{folders.__name__}."):
        if module.ispkg and importlib.util.find_spec(f"{module.name}.expected"):
            lesson: Lesson = importlib.import_module(f"{module.name}.expected").LESSON
            found.append(lesson)
    return tuple(sorted(found, key=lambda lesson: (lesson.order, lesson.name)))


def find(name: str) -> Lesson:
    """The lesson called ``name``; raises UnknownLessonError."""
    there_are = {lesson.name: lesson for lesson in lessons()}
    if name in there_are:
        return there_are[name]
    hint = did_you_mean(name, there_are)
    raise UnknownLessonError(f"There is no lesson {name!r}{hint}; the lessons are {', '.join(there_are)}.")
