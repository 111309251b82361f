"""Exit codes of every command, and the type of the function that prints an error."""

from __future__ import annotations

from collections.abc import Callable

EXIT_OK = 0
"""Ready, sound, done."""
EXIT_FAILED = 1
"""Not ready, not sound, not done; or it could not be determined."""
EXIT_USAGE = 2
"""The command line, or a file that it names, cannot be used."""
EXIT_INTERRUPTED = 130
"""Ctrl-C, or a signal that asks the command to end; what was measured until then is stored."""

Complain = Callable[[str], None]
"""Prints one sentence on stderr."""
