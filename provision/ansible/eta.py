"""How long a playbook will still take: from what its tasks took the last time, else from what is known of them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

SLOW = {
    "nvidia_driver: The packages of the driver are installed": 480.0,
    "nvidia_driver: Headers of every installed kernel are installed": 30.0,
    "environment: The packages are installed": 90.0,
    "The box trains and judges itself": 60.0,
}
"""Tasks that take more than a few seconds, as measured on two cores of a virtual machine."""

_USUAL = 1.0


class Pace:
    """Counts a run down. Tasks are known by their labels; one that comes several times counts each time."""

    def __init__(self, place: Path, slow: bool = True, driver: bool = True) -> None:
        """``slow``: where no earlier run is known, the tasks of ``SLOW`` are to come. ``driver``: its tasks too."""
        self._place = place
        expected = [*SLOW.items()] if slow else []
        self._left = [
            task for task in _read(place) or expected if driver or not task[0].startswith("nvidia_driver: ")
        ]
        self._taken: list[tuple[str, float]] = []
        self._current: tuple[str, float, float] | None = None

    def begin(self, task: str) -> None:
        """The next task starts; the one before has ended."""
        self._end()
        expected = _USUAL
        for index, (name, seconds) in enumerate(self._left):
            if name == task:
                expected = seconds
                # What was to come before it was left out this time; what is slow may still come.
                self._left = [*[x for x in self._left[:index] if x[0] in SLOW], *self._left[index + 1 :]]
                break
        self._current = (task, time.monotonic(), expected)

    @property
    def seconds_left(self) -> float:
        now = 0.0
        if self._current is not None:
            _, since, expected = self._current
            now = max(0.0, expected - (time.monotonic() - since))
        return now + sum(seconds for _, seconds in self._left)

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1."""
        done = sum(seconds for _, seconds in self._taken)
        if self._current is not None:
            done += time.monotonic() - self._current[1]
        total = done + self.seconds_left
        return done / total if total > 0 else 0.0

    def finish(self, keep: bool) -> None:
        """The run has ended; ``keep`` what its tasks took for the next."""
        self._end()
        if keep:
            temporary = self._place.with_name(f"{self._place.name}.{os.getpid()}")
            temporary.write_text(json.dumps(self._taken), encoding="utf-8")
            temporary.replace(self._place)

    def _end(self) -> None:
        if self._current is not None:
            task, since, _ = self._current
            self._taken.append((task, round(time.monotonic() - since, 2)))
            self._current = None


def _read(place: Path) -> list[tuple[str, float]]:
    """The last run's; empty where there is none, or it is not what this wrote."""
    try:
        return [(str(name), float(seconds)) for name, seconds in json.loads(place.read_text("utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def in_words(seconds: float) -> str:
    """ "under a minute left", "about 4 min left"."""
    minutes = round(seconds / 60)
    return f"about {minutes} min left" if minutes else "under a minute left"
