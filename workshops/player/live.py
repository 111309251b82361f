"""Show the progress of training, format numbers and ranges, and store the duration of each lesson."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from common.file_access.files import write_atomically
from common.terminal.console import Console
from workshops.player.expected import Expected

if TYPE_CHECKING:
    from rich.progress import Progress

WIDTH = 100
"""Maximum length of a line of text; longer lines are hard to read."""


_BAR_WIDTH = 12
_SECONDS_BETWEEN_DRAWINGS = 0.2


def columns(out: TextIO, notebook: bool = False) -> int:
    """Maximum line length on ``out`` in characters: COLUMNS, else the terminal's width, limited to 20 to WIDTH.

    WIDTH for a notebook, and for a file or pipe without COLUMNS.
    """
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
    """Context manager that shows the progress of training.

    On a terminal rich redraws one line, and the last state of that line stays. A notebook shows one line that is
    overwritten. Elsewhere each epoch has a line, at most twelve in total.
    """

    def __init__(self, out: TextIO, name: str, epochs: int, batches: int, notebook: bool) -> None:
        self.out, self.name, self.epochs, self.batches, self.notebook = out, name, epochs, batches, notebook
        self.every = math.ceil(epochs / 11)  # and one line for the last epoch
        self.epoch, self.last = 0, ""
        self.began = self.drawn = time.perf_counter()
        self._bar = None if notebook else self._make_bar()
        self._task = (
            self._bar.add_task(self._place(), total=epochs * batches, metrics="") if self._bar else None
        )
        self._overwritten = 0

    @property
    def live(self) -> bool:
        """Whether the display changes during an epoch."""
        return self._bar is not None or self.notebook

    def _make_bar(self) -> Progress | None:
        """None: ``out`` is not a terminal, or one that cannot move its cursor."""
        console = Console(file=self.out, width=columns(self.out))
        if not self.out.isatty() or not console.is_terminal or console.is_dumb_terminal:
            return None
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        return Progress(
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=_BAR_WIDTH),
            TimeRemainingColumn(),
            TextColumn(
                "{task.fields[metrics]}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
            ),
            console=console,
            expand=True,
            transient=True,
            auto_refresh=False,  # a thread that redraws would slow the training down
            redirect_stdout=False,  # stdout can be a file
        )

    def __enter__(self) -> TrainingProgress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar:
            self._bar.stop()
            self.out.write(f"{self._line()}\n")
        elif self.live:
            self._overwrite()
            self.out.write("\n")
        self.out.flush()

    def epoch_begins(self, epoch: int) -> None:
        self.epoch = epoch

    def batch(self, batch: int) -> None:
        now = time.perf_counter()
        if now - self.drawn < _SECONDS_BETWEEN_DRAWINGS:
            return
        self.drawn = now
        self._draw(batch + 1)

    def epoch_ended(self, epoch: int, logs: Mapping[str, float]) -> None:
        self.epoch = epoch
        self.last = "  ".join(f"{k} {float(v):.4f}" for k, v in logs.items() if k != "learning_rate")
        if self.live:
            self._draw(self.batches)
        elif epoch % self.every == 0 or epoch == self.epochs - 1:
            self.out.write(f"  {self._place()}  {self.last}\n")
            self.out.flush()

    def _draw(self, batches: int) -> None:
        """Draw the state after ``batches`` batches of the epoch."""
        completed = self.epoch * self.batches + batches
        if self._bar and self._task is not None:
            self._bar.update(
                self._task, description=self._place(), completed=completed, metrics=self.last, refresh=True
            )
        else:
            left = (time.perf_counter() - self.began) * (self.epochs * self.batches / completed - 1)
            self._overwrite(f"batch {batches}/{self.batches}  {duration(left)} left  ")

    def _overwrite(self, progress: str = "") -> None:
        """A notebook understands a carriage return, but not the cursor movements of rich."""
        line = self._line(progress)
        self.out.write("\r" + line.ljust(self._overwritten))
        self._overwritten = len(line)
        self.out.flush()

    def _line(self, progress: str = "") -> str:
        # One column less than the terminal has: a full last column makes many terminals begin a new line.
        return f"  {self._place()}  {progress}{self.last}"[: columns(self.out, self.notebook) - 1]

    def _place(self) -> str:
        return f"{self.name} {self.epoch + 1}/{self.epochs}"


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
