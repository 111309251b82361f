"""Communication of this package's commands with the user: questions, progress and messages."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from common.command_line.exit_codes import Complain
from provision.progress import ProgressReporter


class Interaction(NamedTuple):
    """Questions, progress and messages of one command."""

    open_progress: Callable[[], AbstractContextManager[ProgressReporter]]
    """Function that starts the progress display for work with several steps."""
    confirm: Callable[[str], bool] | None
    """Function that asks a question and returns whether the answer is yes; None if nobody can answer, because stdin
    is not a terminal."""
    print_error: Complain
    as_json: bool = False
    """Print one JSON document on stdout instead of text."""

    def agrees(self, question: str) -> bool:
        """Whether the user agrees; False if no question can be asked."""
        return self.confirm is not None and self.confirm(question)
