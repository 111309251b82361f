"""Progress on stderr: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

from rich.console import RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from common.terminal.console import Console
from common.terminal.shown import cut

Details = Callable[[], Sequence[str]]
"""Returns the lines below the bar, the most important first."""

SECONDS_BETWEEN_LINES = 10.0
"""Without a terminal, a line at this interval shows that the work continues."""
_BAR_WIDTH = 20
_OTHER_COLUMNS = len("⠋ ") + _BAR_WIDTH + len("  0:00:00 ") + 1
"""Width of the spinner, the bar, the time and the gaps, in characters."""
_LEAST_TEXT_WIDTH = 16
_LARGEST_SHARE = 0.99
"""The bar shows at most this share until the work has ended, because rich stops the clock of a full bar."""


_ROWS_BESIDE = 4
"""Rows of the terminal that the lines below the bar leave free."""


class _BarWithDetails(Progress):
    """A bar with lines below it, as many as the terminal has rows for."""

    details: Details | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.details is not None and self.tasks:
            lines = self.details()[: max(0, self.console.height - _ROWS_BESIDE)]
            yield from (Text(f"  {line}", no_wrap=True, overflow="ellipsis") for line in lines)


class ProgressDisplay:
    """Shows the progress of work. Redraws at most twice a second, so that it does not slow the work down."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._bar: _BarWithDetails | None = None
        self._task: TaskID | None = None
        self._label = ""
        self._last_line_at = 0.0
        if self.console.is_terminal:
            self._bar = _BarWithDetails(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=_BAR_WIDTH),
                TextColumn("{task.fields[rate]}", markup=False),
                TimeElapsedColumn(),
                console=self.console,
                transient=True,
                refresh_per_second=2,
            )

    def __enter__(self) -> ProgressDisplay:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def show_details(self, details: Details | None) -> None:
        """Show the lines that ``details`` returns below the bar, read at each redraw; only on a terminal."""
        if self._bar:
            self._bar.details = details

    def say(self, sentence: str) -> None:
        """Print one permanent line."""
        self._last_line_at = time.monotonic()
        self.console.print(sentence, soft_wrap=True)

    def begin(self, label: str, doing: str) -> None:
        """Start a piece of work, for example "lstm on tensorflow (1 of 3)" with its first step "starting"."""
        self._label = label
        if self._bar:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(f"{label}: {doing}", total=1.0, rate="")
        else:
            self.say(f"{label}: {doing}")

    def update(self, doing: str, share: float | None = None, rate: str = "") -> None:
        """Show the current step, the completed share (0 to 1) and the speed. Only ``done`` shows 100 %."""
        share = min(share, _LARGEST_SHARE) if share else share
        if self._bar is None and time.monotonic() - self._last_line_at >= SECONDS_BETWEEN_LINES:
            parts = [doing, *([f"{share:.0%}"] if share else []), *([rate] if rate else [])]
            self.say(f"{self._label}: {', '.join(parts)}")
        if self._bar and self._task is not None:
            self._bar.update(
                self._task,
                description=self._shortened(f"{self._label}: {doing}", rate),
                completed=share if share else 0.0,
                rate=rate,
            )

    def _shortened(self, text: str, rate: str) -> str:
        """On a narrow terminal the current step is cut off, not the remaining time."""
        return cut(text, max(_LEAST_TEXT_WIDTH, self.console.width - _OTHER_COLUMNS - len(rate)))

    def done(self, outcome: str) -> None:
        """End the piece of work and print its outcome on a permanent line."""
        if self._bar and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        self.say(f"{self._label}: {outcome}")


def quiet() -> ProgressDisplay:
    """A display that prints nothing, for callers that only need the result."""
    return ProgressDisplay(Console(quiet=True))
