"""Start a lesson on a backend. Keras reads its backend once, at import: nothing may import it before this."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from typing import TextIO

from workshops import catalog, precision, quiet, tuned
from workshops.page import LessonError, Outcome, Page, Settings
from workshops.settings import Setting, SettingsError

BACKENDS = ("tensorflow", "torch", "jax")


class Interrupted(KeyboardInterrupt):
    """The learner stopped the lesson; ``outcome`` has what was measured until then."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


def installed() -> list[str]:
    """The backends this environment has, in the order of preference."""
    return [name for name in BACKENDS if importlib.util.find_spec(name) is not None]


def choose_backend(asked: str | None, stored: str | None = None) -> str:
    """The backend asked for, else KERAS_BACKEND, else ``stored``, else the first installed; raises LessonError."""
    have = installed()
    if not have:
        raise LessonError("No backend is installed: install dlbox with the extra tensorflow, torch or jax.")
    wanted = asked or os.environ.get("KERAS_BACKEND") or (stored if stored in have else have[0])
    if wanted not in have:
        raise LessonError(f"The backend {wanted!r} is not installed here: there is {', '.join(have)}.")
    return wanted


def set_backend(asked: str | None, stored: str | None = None) -> None:
    """Choose the backend for this process and load it; raises LessonError when Keras already runs on another."""
    chosen = choose_backend(asked, stored)
    loaded = sys.modules.get("keras")
    if loaded is not None and loaded.backend.backend() != chosen:
        raise LessonError(
            f"Keras already runs on {loaded.backend.backend()} in this process: start a new one."
        )
    os.environ["KERAS_BACKEND"] = chosen
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    quiet.load_keras()


def _tuned(lesson: str, settings: Settings) -> Setting | None:
    """What is stored for the one model that was asked for; a lesson that trains several has one backend for all."""
    try:
        return tuned.setting(lesson, settings.model or settings.cell or "")
    except SettingsError as error:
        raise LessonError(str(error)) from error


def start(
    name: str,
    settings: Settings,
    *,
    backend: str | None = None,
    out: TextIO | None = None,
    progress: TextIO | None = None,
) -> Outcome:
    """Run lesson ``name``: text to ``out`` (stdout), progress to ``progress`` (stderr).

    Raises UnknownLessonError or LessonError, each one sentence for the learner, and Interrupted on Ctrl-C.
    """
    lesson = catalog.find(name)
    stored = _tuned(name, settings)
    set_backend(backend, stored.backend if stored else None)
    page = Page(lesson, settings, out=out or sys.stdout, progress=progress or sys.stderr)
    counts = stored if stored and stored.backend == os.environ["KERAS_BACKEND"] else None
    with precision.used(counts.precision if counts else None):
        try:
            outcome = importlib.import_module(lesson.module).run(settings, page)
        except KeyboardInterrupt:
            raise Interrupted(page.close(partial=True)) from None
    if not isinstance(outcome, Outcome):
        raise TypeError(f"{lesson.module}.run gave {type(outcome).__name__}, not an Outcome")
    return outcome
