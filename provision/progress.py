"""What the long steps of this package need of a progress display; ``common.terminal.progress`` has one."""

from __future__ import annotations

from typing import Protocol


class ProgressReporter(Protocol):
    """Shows a person how far the work is."""

    def begin(self, label: str, doing: str) -> None:
        """Start a piece of work: its name and its first step."""

    def update(self, doing: str, share: float | None = None, rate: str = "") -> None:
        """Show the current step; ``share`` is the part that is done, from 0 to 1, None where it is unknown."""

    def done(self, outcome: str) -> None:
        """End the piece of work with one line about its outcome."""
