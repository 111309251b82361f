"""What the ``workshop`` commands do: print, run, give back the exit code. Nothing here imports Keras."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from common.shown import on_terminal, visible
from workshops import catalog, exercise, kept, lines, notebook, start
from workshops.catalog import Lesson, UnknownLessonError
from workshops.live import columns
from workshops.page import LessonError, Settings

EXIT_SOUND, EXIT_NOT, EXIT_USAGE = 0, 1, 2

Complain = Callable[[str], None]
"""Says one sentence on stderr."""


def list_lessons(*, as_json: bool) -> int:
    """The lessons in order, with how long each takes."""
    if as_json:
        print(
            json.dumps(
                {"schema_version": 1, "lessons": [_entry(lesson) for lesson in catalog.LESSONS]}, indent=1
            )
        )
        return EXIT_SOUND
    width, wide = max(len(lesson.name) for lesson in catalog.LESSONS), columns(sys.stdout)
    for lesson in catalog.LESSONS:
        print(lines.beside(lesson.name.ljust(width), lesson.about, wide))
        parts = [f"quick about {lesson.quick_seconds} s, full about {_long(lesson.full_seconds)}"]
        if lesson.models:
            parts.append(f"--model {', '.join(lesson.models)}")
        if lesson.cells:
            parts.append(f"--cell {', '.join(lesson.cells)}")
        if len(lesson.data_choices) > 1:
            parts.append(f"--data {', '.join(lesson.data_choices)}")
        print(lines.beside(" " * width, "; ".join(parts), wide))
    print("\nTimes: two CPU cores with TensorFlow. Start with: dlbox workshop run by-hand")
    return EXIT_SOUND


def run(name: str, settings: Settings, *, backend: str | None, as_json: bool, complain: Complain) -> int:
    """One lesson. With ``--json`` the page goes to stderr and the outcome to stdout."""
    try:
        _possible(catalog.find(name), settings)
        outcome = start.start(name, settings, backend=backend, out=sys.stderr if as_json else sys.stdout)
    except (UnknownLessonError, LessonError) as error:
        complain(str(error).rstrip("."))
        return EXIT_USAGE
    except start.Interrupted as stopped:
        if as_json:
            print(json.dumps(stopped.outcome.document(), indent=1))
        raise
    if as_json:
        print(json.dumps(outcome.document(), indent=1))
    return EXIT_SOUND if outcome.ok else EXIT_NOT


def check(name: str, folder: Path, *, solutions: bool, as_json: bool, complain: Complain) -> int:
    """The exercises of a lesson: hand them out where there are none yet, test them, say what is left."""
    try:
        lesson = catalog.find(name)
        path, new = (exercise.solutions(lesson), False) if solutions else exercise.hand_out(lesson, folder)
        results = exercise.check(lesson, path)
    except UnknownLessonError as error:
        complain(str(error).rstrip("."))
        return EXIT_USAGE
    except LessonError as error:
        complain(str(error).rstrip("."))
        return EXIT_NOT
    solved = sum(result.solved for result in results)
    if as_json:
        checked = [{"name": r.name, "solved": r.solved, "hint": r.hint} for r in results]
        print(
            json.dumps(
                {"schema_version": 1, "lesson": name, "file": str(path), "exercises": checked}, indent=1
            )
        )
    else:
        if new:
            print(visible(f"The exercises are now in {path}: mend them there and run this again.\n"))
        for result in results:
            hint = f": {result.hint}" if result.hint else ""
            print(visible(f"{'solved' if result.solved else 'to do '}  {result.name}{hint}"))
        print(visible(f"\n{solved} of {len(results)} solved ({path})"))
    return EXIT_SOUND if results and solved == len(results) else EXIT_NOT


def write_notebook(name: str, folder: Path, *, force: bool, complain: Complain) -> int:
    """The lesson as ``FOLDER/NAME.ipynb``; ``all`` writes every lesson, but for those that were edited."""
    code = EXIT_SOUND
    try:
        lessons = catalog.LESSONS if name == "all" else (catalog.find(name),)
        for lesson in lessons:
            try:
                print(on_terminal(str(notebook.write(lesson, folder, force=force)), sys.stdout))
            except notebook.EditedError as error:
                complain(str(error).rstrip("."))
                code = EXIT_NOT
    except (UnknownLessonError, LessonError) as error:
        complain(str(error).rstrip("."))
        return EXIT_USAGE
    return code


def open_lab(folder: Path, *, complain: Complain) -> int:
    """JupyterLab on the notebooks, which are written first where they are not there yet."""
    if importlib.util.find_spec("jupyterlab") is None:
        complain("JupyterLab is not installed here: `pip install jupyterlab`, or use `dlbox workshop run`")
        return EXIT_NOT
    try:
        for lesson in catalog.LESSONS:
            if not (folder / f"{lesson.stem}.ipynb").exists():
                notebook.write(lesson, folder)
    except LessonError as error:
        complain(str(error).rstrip("."))
        return EXIT_NOT
    return subprocess.run([sys.executable, "-m", "jupyterlab", str(folder)], check=False).returncode


def predict(
    name: str, text: str, folder: Path, *, model: str | None, backend: str | None, complain: Complain
) -> int:
    """What a model that ``run --save`` kept says to ``text``."""
    try:
        lesson = catalog.find(name)
        if not lesson.predicts:
            able = ", ".join(each.name for each in catalog.LESSONS if each.predicts)
            raise LessonError(f"The lesson {name} has nothing to predict from a text: {able} has.")
        path = kept.find(lesson, folder, model)
        start.set_backend(backend)
        loaded = kept.load(path, lesson)
        print(visible(str(importlib.import_module(lesson.module).predict(loaded, text))))
    except (UnknownLessonError, LessonError) as error:
        complain(str(error).rstrip("."))
        return EXIT_USAGE
    return EXIT_SOUND


def _possible(lesson: Lesson, settings: Settings) -> None:
    """Say at once, before Keras is loaded, what this lesson does not have."""
    if lesson.name == "word-vectors":
        _checked(settings.data)
    choices = {"model": lesson.models, "cell": lesson.cells, "data": lesson.data_choices}
    for what, there_are in choices.items():
        asked = getattr(settings, what)
        if asked is not None and asked not in there_are:
            have = f"there is {', '.join(there_are)}" if there_are else "it takes none"
            raise LessonError(f"The lesson {lesson.name} has no {what} {asked!r}: {have}.")
    if settings.corpus is not None and not lesson.reads_corpus:
        raise LessonError(f"The lesson {lesson.name} reads no --corpus.")


def _checked(data: str) -> None:
    """Say where a published set of word vectors is that cannot be checked, and so is not fetched."""
    from workshops.data import glove

    if data in glove.UNCHECKED:
        raise LessonError(
            f"No SHA-256 of {data} is published, so it is not fetched: get {glove.UNCHECKED[data]} yourself and "
            "give it with --corpus."
        )


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


def _long(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds / 60:.0f} min"
