"""Clean the output of other programs and values from outside before they are shown or logged.

``common.terminal.shown`` filters the characters; this module adds what only provisioning needs.
"""

from __future__ import annotations

import re

from common.terminal.shown import shortened, without_controls

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s\"']+:[^/@\s\"']+(?=@)")


def plain(text: str) -> str:
    """``text`` without colours and control characters, and without the credentials in any URL."""
    return _CREDENTIALS.sub("***", without_controls(text))


def shown(value: object) -> str:
    """A value from outside for use in a message: one line of at most 80 characters, without credentials in a URL."""
    return shortened(_CREDENTIALS.sub("***", value) if isinstance(value, str) else value)
