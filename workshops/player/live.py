"""Show the progress of training, format numbers and ranges, and store the duration of each lesson."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from common.file_access.files import write_atomically
from workshops.player.expected import Expected

WIDTH = 100
"""Maximum length of a line of text; longer lines are hard to read."""


def columns(out: TextIO, notebook: bool = False) -> int:
    """Maximum line length on ``out``: the terminal's width (or COLUMNS), 20 to WIDTH; WIDTH without a terminal."""
    if notebook:
        return WIDTH
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        wide = int(asked)
    else:
        try:
            wide = os.get_terminal_size(out.fileno()).columns or WIDTH
        except (OSError, ValueError, AttributeError):  # a file, a pipe, a buffer in memory
            wide = WIDTH
    return max(20, min(wide, WIDTH))


class TrainingProgress:
    """Progress of training: on a terminal one line that is redrawn, elsewhere one line per epoch, at most twelve
    lines."""

    def __init__(
        self, out: TextIO, name: str, epochs: int, batches: int, quiet: bool, notebook: bool
    ) -> None:
        self.out, self.name, self.epochs, self.batches = out, name, epochs, batches
        self.live = (out.isatty() or notebook) and not quiet
        self.quiet, self.notebook = quiet, notebook
        self.every = max(1, epochs // 12)
        self.began = self.drawn = time.perf_counter()
        self.epoch, self.width, self.last = 0, 0, ""

    def epoch_begins(self, epoch: int) -> None:
        self.epoch = epoch

    def batch(self, batch: int) -> None:
        now = time.perf_counter()
        if now - self.drawn < 0.2:
            return
        self.drawn = now
        share = (self.epoch + (batch + 1) / self.batches) / self.epochs
        left = (now - self.began) * (1 - share) / share
        self._draw(f"batch {batch + 1}/{self.batches}  {self.last}  {duration(left)} left")

    def epoch_ended(self, epoch: int, logs: Mapping[str, float]) -> None:
        self.last = "  ".join(f"{k} {float(v):.4f}" for k, v in logs.items() if k != "learning_rate")
        if self.quiet:
            return
        if self.live:
            self._draw(self.last)
        elif epoch % self.every == 0 or epoch == self.epochs - 1:
            self.out.write(f"  {self.name} {epoch + 1}/{self.epochs}  {self.last}\n")
            self.out.flush()

    def done(self) -> None:
        if self.live:
            self._draw(self.last)
            self.out.write("\n")
            self.out.flush()

    def _draw(self, text: str) -> None:
        # One column less than the terminal has: a full last column makes many terminals begin a new line.
        line = f"  {self.name} {self.epoch + 1}/{self.epochs}  {text}"[: columns(self.out, self.notebook) - 1]
        self.out.write("\r" + line.ljust(self.width))
        self.width = len(line)
        self.out.flush()


class LessonTimes:
    """The duration in seconds of the last run of each lesson on this machine, stored in a file in the cache folder."""

    @staticmethod
    def _path() -> Path:
        import platformdirs

        return Path(platformdirs.user_cache_dir("dlbox")) / "workshop-times.json"

    @classmethod
    def load(cls) -> dict[str, float]:
        try:
            found = json.loads(cls._path().read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {str(k): float(v) for k, v in found.items() if isinstance(v, (int, float))}

    @classmethod
    def store(cls, key: str, seconds: float) -> None:
        times = cls.load() | {key: round(seconds, 1)}
        with contextlib.suppress(OSError):
            write_atomically(cls._path(), json.dumps(times) + "\n")


def cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def number(value: float) -> str:
    return (
        f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:,.4g}" if abs(value) >= 1000 else f"{value:.4f}"
    )


def expected_range(expected: Expected | None) -> str:
    if expected is None:
        return ""
    unit = f" {expected.unit}" if expected.unit else ""
    if math.isinf(expected.high):
        return f"at least {expected.low:g}{unit}"
    if expected.low in (0.0, -math.inf):
        return f"at most {expected.high:g}{unit}"
    return f"{expected.low:g} to {expected.high:g}{unit}"


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def open_on_desktop(path: Path) -> None:
    """Open a picture in the desktop's viewer. Without a desktop, do nothing."""
    import shutil
    import subprocess

    viewer = shutil.which("xdg-open")
    if viewer and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        subprocess.Popen([viewer, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
