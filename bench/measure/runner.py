"""Start a worker, read its events and stop it. A crash or a hang of the worker does not stop the command."""

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
from bench.measure.events import Event, Failed, TrainingJob
from common.processes import child, exit_reason
from common.processes.pipe_reader import PipeReader

WORKER = (sys.executable, "-P", "-m", "bench.measure.worker.main")
"""With -P, Python does not import a folder named ``bench`` or ``keras`` from the current directory."""


_NAMES = frozenset(kind.__struct_config__.tag for kind in get_args(Event))


class _Named(msgspec.Struct):
    type: str


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Time limits in seconds. ``startup``: until the first block, which includes the import of the framework and the
    compilation of the first step (minutes if code for the card is compiled at run time). ``silence``: between two
    events after that."""

    startup: float = 420.0
    silence: float = 120.0
    total: float = 1800.0


class WorkerProblem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a worker did not finish. ``detail``: its last lines on stderr."""

    kind: Literal["error", "out-of-memory", "no-backend", "crash", "killed", "hang"]
    message: str
    detail: str = ""


def run(
    job: TrainingJob,
    on_event: Callable[[Event], None],
    *,
    command: Sequence[str] = WORKER,
    limits: Limits | None = None,
) -> WorkerProblem | None:
    """Run ``job`` in a new process and pass each event to ``on_event``. Return the problem, or None.

    The worker and all its child processes have ended when this function returns or raises.
    """
    limits = limits or Limits()
    before = exit_reason.oom_kills()
    with _temporary_file() as errors:
        process = child.start(
            command,
            frameworks.environment(job.backend),
            stdin=subprocess.PIPE,
            stderr=errors,
        )
        try:
            assert process.stdin is not None  # noqa: S101 - start() was called with pipes
            assert process.stdout is not None  # noqa: S101
            with contextlib.suppress(
                BrokenPipeError
            ):  # the worker died at once; its exit code has the reason
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


def _temporary_file() -> IO[bytes]:
    """A temporary file, in memory if the disk is full: a full disk does not stop a run."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return os.fdopen(os.memfd_create("dlbox-stderr"), "w+b")


def _listen(pipe: IO[bytes], on_event: Callable[[Event], None], limits: Limits) -> WorkerProblem | None:
    decoder = msgspec.json.Decoder(Event)
    started, has_block = time.monotonic(), False
    last = started
    with PipeReader(pipe) as reader:
        while True:
            limit = limits.silence if has_block else limits.startup
            until = min(last + limit, started + limits.total)
            received = reader.read(until - time.monotonic())
            if not received:
                waited = time.monotonic() - (last if until == last + limit else started)
                return WorkerProblem(
                    kind="hang", message=f"no progress within the limit of {waited:.0f} s; killed"
                )
            if received[0].closed:
                return None
            last = time.monotonic()
            for line in received[0].lines:
                try:
                    event = decoder.decode(line)
                except msgspec.DecodeError as error:
                    if _is_event(line):
                        return WorkerProblem(
                            kind="error", message=f"the worker sent an invalid message: {error}"
                        )
                    continue  # a library wrote to the pipe directly
                if isinstance(event, Failed):
                    return WorkerProblem(kind=event.kind, message=event.message)
                has_block = has_block or type(event).__name__ == "Block"
                on_event(event)


def _is_event(line: bytes) -> bool:
    """Whether an invalid line is meant as an event, for example one with null instead of NaN."""
    try:
        return msgspec.json.decode(line, type=_Named).type in _NAMES
    except msgspec.DecodeError:
        return False


def _ending(process: subprocess.Popen[bytes], before: int | None, errors: IO[bytes]) -> WorkerProblem | None:
    try:
        code = process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        return WorkerProblem(kind="hang", message="the worker did not exit after its final message; killed")
    if code == 0:
        return None
    found = exit_reason.explain(code, before, _tail(errors))
    return WorkerProblem(kind=found.kind, message=f"the worker {found.why}")


def _tail(errors: IO[bytes], lines: int = 12) -> str:
    errors.seek(0, os.SEEK_END)
    errors.seek(max(0, errors.tell() - 16384))
    text = errors.read().decode(errors="replace")
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
