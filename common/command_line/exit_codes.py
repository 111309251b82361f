"""Exit codes of every command, and the type of the function that prints an error."""

from __future__ import annotations

from collections.abc import Callable

EXIT_OK = 0
"""The command completed, and every check passed."""
EXIT_FAILED = 1
"""An action or a check failed, or a result could not be determined."""
EXIT_USAGE = 2
"""The command line or a file that it names is not valid."""
EXIT_INTERRUPTED = 130
"""Ctrl-C or a termination signal stopped the command; results measured before that are stored."""

Complain = Callable[[str], None]
"""Prints one sentence on stderr."""
