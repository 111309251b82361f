"""Start a worker, listen to it, end it: a crash, a hang or a Ctrl-C in here never takes the command along."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import IO, Literal, get_args

import msgspec

from bench.measure import backend as frameworks
from bench.measure.events import Event, Failed, Job
from common import child, ending
from common.pipe_reader import PipeReader

WORKER = (sys.executable, "-P", "-m", "bench.measure.worker.main")
"""-P: a folder named ``bench`` or ``keras`` where the user stands is not ours."""


_NAMES = frozenset(kind.__struct_config__.tag for kind in get_args(Event))


class _Named(msgspec.Struct):
    type: str


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. Start-up covers importing the framework and compiling the first step (minutes where a
    card's code is compiled on the fly); silence is the longest wait for the next word after that."""

    startup: float = 420.0
    silence: float = 120.0
    total: float = 1800.0


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a worker did not finish. ``detail``: the last lines it wrote to stderr."""

    kind: Literal["error", "out-of-memory", "no-backend", "crash", "killed", "hang"]
    message: str
    detail: str = ""


def run(
    job: Job,
    on_event: Callable[[Event], None],
    *,
    command: Sequence[str] = WORKER,
    limits: Limits | None = None,
) -> Problem | None:
    """Do ``job`` in a fresh process, hand each event to ``on_event``, return what went wrong or None.

    The worker and all its children are gone when this returns or raises.
    """
    limits = limits or Limits()
    before = ending.oom_kills()
    with _scratch() as errors:
        process = child.start(
            command,
            frameworks.environment(job.backend),
            stdin=subprocess.PIPE,
            stderr=errors,
        )
        try:
            assert process.stdin is not None  # noqa: S101 - pipes were asked for above
            assert process.stdout is not None  # noqa: S101
            with contextlib.suppress(BrokenPipeError):  # it died at once: its exit says why
                process.stdin.write(msgspec.json.encode(job) + b"\n")
                process.stdin.close()
            problem = _listen(process.stdout, on_event, limits)
            if problem is None:
                problem = _ending(process, before, errors)
        finally:
            child.end(process)
        if problem is None:
            return None
        return msgspec.structs.replace(problem, detail=_tail(errors))


def _scratch() -> IO[bytes]:
    """In memory where no disk has room: a run goes on whatever cannot be kept of it."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return os.fdopen(os.memfd_create("dlbox-stderr"), "w+b")


def _listen(pipe: IO[bytes], on_event: Callable[[Event], None], limits: Limits) -> Problem | None:
    decoder = msgspec.json.Decoder(Event)
    started, heard = time.monotonic(), False
    last = started
    with PipeReader(pipe) as reader:
        while True:
            quiet = limits.silence if heard else limits.startup
            until = min(last + quiet, started + limits.total)
            received = reader.read(until - time.monotonic())
            if not received:
                waited = time.monotonic() - (last if until == last + quiet else started)
                return Problem(kind="hang", message=f"no progress for {waited:.0f} s, the limit; killed")
            if received[0].closed:
                return None
            last = time.monotonic()
            for line in received[0].lines:
                try:
                    event = decoder.decode(line)
                except msgspec.DecodeError as error:
                    if _is_ours(line):
                        return Problem(
                            kind="error", message=f"a message of the worker cannot be used: {error}"
                        )
                    continue  # a library wrote to the pipe past our redirection
                if isinstance(event, Failed):
                    return Problem(kind=event.kind, message=event.message)
                heard = heard or type(event).__name__ == "Block"
                on_event(event)


def _is_ours(line: bytes) -> bool:
    """Whether a line that is no event should have been one: with null for a figure that is no number, say."""
    try:
        return msgspec.json.decode(line, type=_Named).type in _NAMES
    except msgspec.DecodeError:
        return False


def _ending(process: subprocess.Popen[bytes], before: int | None, errors: IO[bytes]) -> Problem | None:
    try:
        code = process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        return Problem(kind="hang", message="the worker did not exit after its final message; killed")
    if code == 0:
        return None
    found = ending.explain(code, before, _tail(errors))
    return Problem(kind=found.kind, message=f"the worker {found.why}")


def _tail(errors: IO[bytes], lines: int = 12) -> str:
    errors.seek(0, os.SEEK_END)
    errors.seek(max(0, errors.tell() - 16384))
    text = errors.read().decode(errors="replace")
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
