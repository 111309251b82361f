"""Read and filter the text of a lock file: lines of ``name==version``, each followed by its hashes."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PACKAGE = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")


def packages(text: str) -> dict[str, str]:
    """Name -> version of every package in a lock file."""
    found = (_PACKAGE.match(line) for line in text.splitlines())
    return {match.group(1): match.group(2) for match in found if match}


def without(text: str, left_out: Iterable[str]) -> str:
    """The lock file without these packages and their hashes."""
    names = set(left_out)
    lines, skipping = [], False
    for line in text.splitlines(keepends=True):
        match = _PACKAGE.match(line)
        if match:
            skipping = match.group(1) in names
        if not skipping:
            lines.append(line)
    return "".join(lines)
