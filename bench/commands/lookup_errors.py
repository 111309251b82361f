"""Report that the run of a command line argument was not found."""

from __future__ import annotations

from bench.results.store.history import HistoryError
from common.command_line.exit_codes import EXIT_FAILED, EXIT_USAGE, Complain


def lookup_failed(error: Exception, complain: Complain) -> int:
    """Print ``error``, one of ``lookup.ERRORS``; returns the exit code.

    1: the history cannot be read. 2: the argument names no run.
    """
    complain(str(error))
    return EXIT_FAILED if isinstance(error, HistoryError) else EXIT_USAGE
