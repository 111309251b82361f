"""Estimate the remaining time of a playbook from the task times of earlier runs on this machine, else from ``SLOW``."""

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
_JUDGED_S = 10.0
"""Tasks that are expected to take at least this time, in seconds, show how fast this run is."""
_SLOWEST, _FASTEST = 8.0, 0.25
_FORGET = 0.7
"""Share of a stored duration that remains after a run in which the task was faster or did not run."""
_OVERDUE_SHARE = 0.25
"""A task that takes longer than expected is expected to take this share of its time so far in addition."""


_MOST_WHILE_RUNNING = 0.99
"""The completed share is at most this as long as a task runs."""


class TimeEstimate:
    """Estimates the remaining time of a run. A task is identified by its label and may run several times.

    Tasks that have ended show whether this run is slower or faster than expected, and correct the estimate.
    """

    def __init__(self, path: Path, slow: bool = True, driver: bool = True) -> None:
        """``path``: a JSON file with the times of earlier runs, ``[[label, seconds], ...]``.

        ``slow``: expect the tasks of ``SLOW`` if there is no such file. ``driver``: expect the driver's tasks too.
        """
        self._path = path
        self._stored = _read(path)
        expected = [*SLOW.items()] if slow else []
        self._left = [
            task for task in self._stored or expected if driver or not task[0].startswith("nvidia_driver: ")
        ]
        self._taken: list[tuple[str, float]] = []
        self._current: tuple[str, float, float] | None = None
        self._judged_expected = self._judged_taken = 0.0

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
    def pace(self) -> float:
        """Time that the tasks took in relation to the expected time: above 1 for a slow run."""
        expected, taken = self._judged_expected, self._judged_taken
        if self._current is not None and self._current[2] >= _JUDGED_S:
            since = time.monotonic() - self._current[1]
            if since > self._current[2]:
                expected, taken = expected + self._current[2], taken + since
        return min(_SLOWEST, max(_FASTEST, taken / expected)) if expected > 0 else 1.0

    @property
    def seconds_left(self) -> float:
        """Expected seconds until the end of the run."""
        now = 0.0
        if self._current is not None:
            _, since, expected = self._current
            taken = time.monotonic() - since
            now = max(
                expected * min(self.pace, 1.0) - taken, _OVERDUE_SHARE * taken if taken > expected else 0.0
            )
        return max(now, 0.0) + self.pace * sum(seconds for _, seconds in self._left)

    @property
    def share(self) -> float:
        """The completed share of the work, from 0 to 1."""
        done = sum(seconds for _, seconds in self._taken)
        if self._current is not None:
            done += time.monotonic() - self._current[1]
        total = done + self.seconds_left
        share = done / total if total > 0 else 0.0
        return share if self._current is None else min(share, _MOST_WHILE_RUNNING)

    def finish(self, keep: bool) -> None:
        """Call this when the run has ended. ``keep``: store the times of its tasks for later runs. Raises OSError."""
        self._end()
        if keep:
            write_atomically(self._path, json.dumps(learned(self._stored, self._taken)), follow=False)

    def _end(self) -> None:
        if self._current is not None:
            task, since, expected = self._current
            taken = time.monotonic() - since
            self._taken.append((task, round(taken, 2)))
            if expected >= _JUDGED_S:
                self._judged_expected += expected
                self._judged_taken += taken
            self._current = None


def learned(stored: list[tuple[str, float]], taken: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """The times to store after a run: those of the run, and what remains of the stored times.

    A run in which nothing was left to do must not make the next installation look short: a time that was longer before
    shrinks slowly, and a slow task that did not run keeps most of its time.
    """
    found: list[tuple[str, float]] = []
    rest = list(stored)
    for task, seconds in taken:
        index = next((i for i, (name, _) in enumerate(rest) if name == task), None)
        if index is None:
            found.append((task, seconds))
            continue
        found += [(name, round(_FORGET * old, 2)) for name, old in rest[:index] if _FORGET * old >= _JUDGED_S]
        before = rest[index][1]
        rest = rest[index + 1 :]
        slower = max(seconds, before * _FORGET + seconds * (1 - _FORGET)) if before >= _JUDGED_S else seconds
        found.append((task, round(slower, 2)))
    return [*found, *((name, round(_FORGET * old, 2)) for name, old in rest if _FORGET * old >= _JUDGED_S)]


def _read(path: Path) -> list[tuple[str, float]]:
    """Label and seconds of each task of earlier runs; empty if the file is missing or damaged."""
    try:
        found = [(str(name), float(seconds)) for name, seconds in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError):
        return []
    return found if all(0 <= seconds < float("inf") for _, seconds in found) else []


def in_words(seconds: float) -> str:
    """The remaining time, as in "under a minute left" or "about 4 min left"."""
    minutes = round(seconds / 60)
    return f"about {minutes} min left" if minutes else "under a minute left"
