"""What other programs print, made fit to be shown and kept."""

from __future__ import annotations

import re

_MARKS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s\"']+:[^/@\s\"']+(?=@)")


def plain(text: str) -> str:
    """Without colours, and without the credentials that an address may carry."""
    return _CREDENTIALS.sub("***", _MARKS.sub("", text)).replace("\r", "")
