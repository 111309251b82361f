"""`dlbox workshop list`."""

from __future__ import annotations

import sys

from common.command_line.exit_codes import EXIT_OK
from common.command_line.json_output import print_json
from workshops.lessons import catalog
from workshops.player import lines
from workshops.player.expected import Lesson
from workshops.player.live import columns, duration


def list_lessons(*, as_json: bool) -> int:
    """Print the lessons in order with their options and durations."""
    lessons = catalog.lessons()
    if as_json:
        print_json("workshop list", {"lessons": [_entry(lesson) for lesson in lessons]})
        return EXIT_OK
    name_width, width = max(len(lesson.name) for lesson in lessons), columns(sys.stdout)
    for lesson in lessons:
        print(lines.beside(lesson.name.ljust(name_width), lesson.about, width))
        parts = [f"quick about {lesson.quick_seconds} s, full about {duration(lesson.full_seconds)}"]
        if lesson.models:
            parts.append(f"--model {', '.join(lesson.models)}")
        if lesson.cells:
            parts.append(f"--cell {', '.join(lesson.cells)}")
        if len(lesson.data_choices) > 1:
            parts.append(f"--data {', '.join(lesson.data_choices)}")
        print(lines.beside(" " * name_width, "; ".join(parts), width))
    print("\nTimes: on two CPU cores with TensorFlow. Start with: dlbox workshop run by-hand")
    return EXIT_OK


def _entry(lesson: Lesson) -> dict[str, object]:
    return {
        "name": lesson.name,
        "title": lesson.title,
        "about": lesson.about,
        "data": lesson.data,
        "models": list(lesson.models),
        "cells": list(lesson.cells),
        "data_choices": list(lesson.data_choices),
        "quick_seconds": lesson.quick_seconds,
        "full_seconds": lesson.full_seconds,
    }
