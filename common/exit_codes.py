"""Exit codes of every command."""

SOUND = 0
"""The command did its work and everything that it judged is right."""
NOT_SOUND = 1
"""Something failed, is not right, or could not be determined."""
USAGE = 2
"""The command line is wrong."""
INTERRUPTED = 130
"""Stopped with Ctrl-C; what was measured until then is stored."""
