"""The interface of a progress display; ``common.terminal.progress`` implements it."""

from __future__ import annotations

from typing import Protocol


class ProgressReporter(Protocol):
    """Shows the user how much of the work is done."""

    def begin(self, label: str, doing: str) -> None:
        """Start a piece of work: its name and its first step."""

    def update(self, doing: str, share: float | None = None, rate: str = "") -> None:
        """Show the current step; ``share`` is the completed part, from 0 to 1; None if it is unknown."""

    def done(self, outcome: str) -> None:
        """End the piece of work with one line about its outcome."""
