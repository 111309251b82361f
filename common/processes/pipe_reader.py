"""Read the output of child processes without delay, and never wait longer than a time limit."""

from __future__ import annotations

import os
import selectors
from types import TracebackType
from typing import IO, NamedTuple

_CHUNK = 65536
"""Maximum number of bytes per read: the default capacity of a pipe."""


class PipeOutput(NamedTuple):
    """What one read of one pipe returned."""

    pipe: IO[bytes]
    data: bytes
    """The bytes as they were read; empty once the other side has closed the pipe."""
    lines: tuple[bytes, ...]
    """The lines that are complete with these bytes, without line ends."""

    @property
    def closed(self) -> bool:
        """Whether the other side has closed the pipe; the rest of an unfinished line is discarded."""
        return not self.data


class PipeReader:
    """Reads one or several pipes and splits their output into lines. Use it as a context manager."""

    def __init__(self, *pipes: IO[bytes]) -> None:
        self._selector = selectors.DefaultSelector()
        self._unfinished: dict[IO[bytes], bytes] = {}
        for pipe in pipes:
            self._selector.register(pipe, selectors.EVENT_READ, pipe)
            self._unfinished[pipe] = b""

    def __enter__(self) -> PipeReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._selector.close()

    def read(self, timeout_s: float) -> list[PipeOutput]:
        """Read every pipe that has output; wait at most ``timeout_s`` seconds (0 or less: not at all) for the first.

        Returns an empty list at the time limit. Reports a closed pipe once. Raises OSError if a pipe cannot be read.
        """
        found = []
        for key, _ in self._selector.select(max(0.0, timeout_s)):
            pipe: IO[bytes] = key.data
            data = os.read(pipe.fileno(), _CHUNK)
            if not data:
                self._selector.unregister(pipe)
            *lines, self._unfinished[pipe] = (self._unfinished[pipe] + data).split(b"\n")
            found.append(PipeOutput(pipe, data, tuple(lines)))
        return found
