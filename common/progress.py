"""What a person sees on stderr while the machine works: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from common.console import Console

SECONDS_BETWEEN_LINES = 10.0
"""Where there is no terminal to redraw, a line now and then shows that work goes on."""
_BAR = 20
_BESIDE = len("⠋ ") + _BAR + len("  0:00:00 ") + 1
"""Columns of the spinner, the bar, the time and the gaps."""
_LEAST = 16
_NEARLY = 0.99


class Watcher:
    """Speaks to a person while work goes on. Redraws twice a second at most: the bar must not cost speed."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._label = ""
        self._spoke = 0.0
        if self.console.is_terminal:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=_BAR),
                TextColumn("{task.fields[rate]}", markup=False),
                TimeElapsedColumn(),
                console=self.console,
                transient=True,
                refresh_per_second=2,
            )

    def __enter__(self) -> Watcher:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def say(self, sentence: str) -> None:
        """One line that stays."""
        self._spoke = time.monotonic()
        self.console.print(sentence, soft_wrap=True)

    def begin(self, label: str, doing: str) -> None:
        """A piece of work starts: "lstm on tensorflow (1 of 3)", "starting"."""
        self._label = label
        if self._bar:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(f"{label}: {doing}", total=1.0, rate="")
        else:
            self.say(f"{label}: {doing}")

    def update(self, doing: str, share: float | None = None, rate: str = "") -> None:
        """What it is at, how much of it is done (0 to 1), and how fast it goes. Only ``done`` says that all is."""
        share = min(share, _NEARLY) if share else share  # a bar that is full stops its clock
        if self._bar is None and time.monotonic() - self._spoke >= SECONDS_BETWEEN_LINES:
            told = ", ".join([doing, *([f"{share:.0%}"] if share else []), *([rate] if rate else [])])
            self.say(f"{self._label}: {told}")
        if self._bar and self._task is not None:
            self._bar.update(
                self._task,
                description=self._shortened(f"{self._label}: {doing}", rate),
                completed=share if share else 0.0,
                rate=rate,
            )

    def _shortened(self, words: str, rate: str) -> str:
        """Where a line is too short for all, what it is at gives way, not the time left."""
        room = max(_LEAST, self.console.width - _BESIDE - len(rate))
        return words if len(words) <= room else f"{words[: room - 1]}…"

    def done(self, outcome: str) -> None:
        """The piece of work has ended; the line stays."""
        if self._bar and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        self.say(f"{self._label}: {outcome}")


def quiet() -> Watcher:
    """A watcher that says nothing, for callers that only want the document."""
    return Watcher(Console(quiet=True))
