"""Estimate the remaining time of a playbook from the task times of the last run, else from ``SLOW``."""

from __future__ import annotations

import json
import time
from pathlib import Path

from common.file_access.files import write_atomically

TRAINING_TASK = "The box trains a model and judges itself"
"""Label of the training task in verify.yml."""

SLOW = {
    "nvidia_driver: The packages of the driver are installed": 480.0,
    "nvidia_driver: Headers of every installed kernel are installed": 30.0,
    "environment: The packages are installed": 90.0,
    TRAINING_TASK: 60.0,
}
"""Duration in seconds of each slow task, measured on a virtual machine with two cores."""

_USUAL_S = 1.0


class TimeEstimate:
    """Estimates the remaining time of a run. A task is identified by its label and may run several times."""

    def __init__(self, path: Path, slow: bool = True, driver: bool = True) -> None:
        """``path``: a JSON file with the times of the last run, ``[[label, seconds], ...]``.

        ``slow``: expect the tasks of ``SLOW`` if there is no such file. ``driver``: expect the driver's tasks too.
        """
        self._path = path
        expected = [*SLOW.items()] if slow else []
        self._left = [
            task for task in _read(path) or expected if driver or not task[0].startswith("nvidia_driver: ")
        ]
        self._taken: list[tuple[str, float]] = []
        self._current: tuple[str, float, float] | None = None

    def begin(self, task: str) -> None:
        """Call this when a task starts, which means that the previous task has ended."""
        self._end()
        expected = _USUAL_S
        for index, (name, seconds) in enumerate(self._left):
            if name == task:
                expected = seconds
                # Tasks expected before this one were skipped; a slow one of them may still come.
                self._left = [*[x for x in self._left[:index] if x[0] in SLOW], *self._left[index + 1 :]]
                break
        self._current = (task, time.monotonic(), expected)

    @property
    def seconds_left(self) -> float:
        """Expected seconds until the end of the run."""
        now = 0.0
        if self._current is not None:
            _, since, expected = self._current
            now = max(0.0, expected - (time.monotonic() - since))
        return now + sum(seconds for _, seconds in self._left)

    @property
    def share(self) -> float:
        """The completed share of the work, from 0 to 1."""
        done = sum(seconds for _, seconds in self._taken)
        if self._current is not None:
            done += time.monotonic() - self._current[1]
        total = done + self.seconds_left
        return done / total if total > 0 else 0.0

    def finish(self, keep: bool) -> None:
        """Call this when the run has ended. ``keep``: store the times of its tasks for the next run. Raises OSError."""
        self._end()
        if keep:
            write_atomically(self._path, json.dumps(self._taken), follow=False)

    def _end(self) -> None:
        if self._current is not None:
            task, since, _ = self._current
            self._taken.append((task, round(time.monotonic() - since, 2)))
            self._current = None


def _read(path: Path) -> list[tuple[str, float]]:
    """Label and seconds of each task of the last run; empty if the file is missing or damaged."""
    try:
        return [(str(name), float(seconds)) for name, seconds in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def in_words(seconds: float) -> str:
    """The remaining time, as in "under a minute left" or "about 4 min left"."""
    minutes = round(seconds / 60)
    return f"about {minutes} min left" if minutes else "under a minute left"
