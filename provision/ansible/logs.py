"""The log files of the boxes: one file per box and command, for the last ten commands."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TextIO

from common.file_access.files import safe_name

RUNS_KEPT = 10
"""Number of commands whose log of one box is kept: NAME.log is the newest, NAME.log.9 the oldest."""


class HostLogs:
    """The log files of one command. All its playbooks write into the same file per box."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._streams: dict[str, TextIO] = {}
        self._begun: set[str] = set()

    def path(self, name: str) -> Path:
        """The newest log of the box ``name``."""
        return self.folder / f"{safe_name(name)}.log"

    def has(self, name: str) -> bool:
        """Whether this command wrote a log for the box."""
        return name in self._begun

    def write(self, name: str, text: str) -> None:
        """Append to the log of a box; the first text of a command begins a new file. Raises OSError."""
        if name not in self._streams:
            path = self.path(name)
            if name not in self._begun:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _make_space(path)
                path.touch(mode=0o600)  # it may contain the one-time password that the firmware asks for
                self._begun.add(name)
            self._streams[name] = path.open("a", encoding="utf-8")
        self._streams[name].write(text)
        self._streams[name].flush()

    def close(self) -> None:
        """Close the files. ``write`` opens them again."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()


def _make_space(path: Path) -> None:
    """Rename NAME.log to NAME.log.1 and so on; the oldest file is overwritten."""
    names = [path, *(path.with_suffix(f".log.{number}") for number in range(1, RUNS_KEPT))]
    for older, newer in reversed(list(zip(names[1:], names, strict=False))):
        with contextlib.suppress(FileNotFoundError):
            newer.replace(older)
