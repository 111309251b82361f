"""Run a child process with a limit on its time and its output, and leave none behind."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

from common import ending, guard
from common.pipe_reader import PipeReader

_OUTPUT_LIMIT = 4 << 20
_TIMES_ITS_START = 20


_PARENT = "DLBOX_PARENT"
_PR_SET_PDEATHSIG = 1
_PATIENCE_S = 5.0
"""For a process to end that was killed, and for the guard."""


class _Own:
    """Of this process: its guard, and its folder for what its children put into the temporary directory."""

    guard: subprocess.Popen[bytes] | None = None
    folder: Path | None = None
    owner = 0
    """The process number of that: a forked copy of this process has none of it."""
    numbers = itertools.count(1)
    marks: dict[int, str] = {}  # noqa: RUF012 - there is one


def start(
    command: Sequence[str],
    variables: Mapping[str, str] | None = None,
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own that ends when this one does, however this one ends, with all that
    it started itself. ``variables`` are added to the environment. Raises OSError.

    A Ctrl-C on the terminal does not reach it: whoever started it calls ``end``.
    """
    mark = f"{guard.identity()}.{next(_Own.numbers)}"
    process = subprocess.Popen(
        list(command),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment({**os.environ, **(variables or {})}, mark),
        start_new_session=True,
    )
    _Own.marks[process.pid] = mark
    return process


def end(process: subprocess.Popen[bytes], patience_s: float = _PATIENCE_S) -> None:
    """Kill a process that ``start`` started and all that it started itself."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    mark = _Own.marks.pop(process.pid, None)
    if mark is not None:
        guard.end(mark)  # what has made a group of its own
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience_s)  # one that is stuck inside the driver cannot be ended: do not wait for it
    if process.stdout is not None:
        process.stdout.close()


def environment(variables: Mapping[str, str], mark: str | None = None) -> dict[str, str]:
    """``variables`` and what makes a process end with this one: for a child that is started by other means."""
    _guard()
    marks = [variables.get(guard.MARK, ""), guard.identity(), mark or ""]
    new = {**variables, guard.MARK: ":".join(filter(None, marks))}
    new.pop(_PARENT, None)
    if threading.current_thread() is threading.main_thread():
        new[_PARENT] = str(
            os.getpid()
        )  # the kernel's signal comes when the *thread* ends that started a child
    if _Own.folder is not None:
        new["TMPDIR"] = str(_Own.folder)
    return new


def die_with_parent(parent: int = 0) -> None:
    """In a child, first of all: let the kernel kill this process when the one that started it ends.

    ``parent``: its number, where ``start`` was not used. The guard does the same a moment later, for every child and
    theirs; this holds where there is no guard.
    """
    parent = parent or int(os.environ.pop(_PARENT, "") or 0)
    if not parent:
        return
    import ctypes  # most who import this module are no child

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent and not guard.identity(parent):
        os._exit(1)  # it ended before the kernel was asked


def _guard() -> None:
    """Have a guard, and a temporary folder that it will remove; without either, a run goes on."""
    if os.getpid() != _Own.owner:
        _Own.guard, _Own.folder, _Own.owner = None, None, os.getpid()
        atexit.register(_leave, os.getpid())
    if _Own.folder is None or not _Own.folder.is_dir():
        _Own.folder = None
        with contextlib.suppress(OSError):  # no temporary directory has room
            _Own.folder = Path(tempfile.mkdtemp(prefix=guard.prefix()))
    if _Own.guard is not None and _Own.guard.poll() is None:
        return
    below = _Own.folder.parent if _Own.folder is not None else Path("/nowhere")
    with contextlib.suppress(OSError):
        _Own.guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(guard.__file__)), guard.identity(), str(below)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,
        )


def _leave(owner: int) -> None:
    """At an orderly end: when this returns, the guard has tidied up and is gone."""
    process = _Own.guard
    if process is None or owner != os.getpid() or process.stdin is None:
        return
    with contextlib.suppress(OSError, ValueError):
        process.stdin.write(guard.FAREWELL)
        process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        process.wait(_PATIENCE_S)


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a child ended. ``why`` is empty where it ended by itself with code 0."""

    output: bytes
    why: str = ""

    @property
    def lines(self) -> list[bytes]:
        """Whole lines only: a killed child may leave half of one."""
        return self.output.split(b"\n")[:-1]


class Child:
    """A started child; ``finish`` waits for it."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str] | None = None) -> None:
        self.started = time.monotonic()
        self._kills_before = ending.kills()
        try:
            self.process: subprocess.Popen[bytes] | None = start(command, variables)
        except OSError as error:
            self.process = None
            self.failure = f"could not be started: {error.strerror}"

    def finish(self, timeout_s: float, *, start_s: float = 0) -> Ended:
        """Wait until ``timeout_s`` seconds after the start; then end the child's whole process group.

        With ``start_s``, the time counts from the child's first output, for which it has that many seconds: of a
        child that says when it begins, a slow start is no hang. A child that needed much of a processor to start runs
        on a slow one, and gets more time as well: 20 times what its start took, at most ``start_s``.
        """
        if self.process is None:
            return Ended(output=b"", why=self.failure)
        try:
            output, why, deadline = self._collect(self.process, timeout_s, start_s)
            if not why:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(max(0.1, deadline - time.monotonic()))
                code = self.process.poll()
                if code is None:
                    why = f"did not end within {timeout_s:g} s"
                elif code:
                    why = ending.of(code, self._kills_before).why
        finally:
            self.stop()
        return Ended(output=output, why=why)

    def stop(self) -> None:
        if self.process is not None:
            end(self.process, 1)

    def _collect(
        self, process: subprocess.Popen[bytes], timeout_s: float, start_s: float
    ) -> tuple[bytes, str, float]:
        """What was printed, what went wrong, and until when the child may live."""
        deadline = self.started + (start_s or timeout_s)
        assert process.stdout is not None  # noqa: S101  # PIPE was asked for
        output = bytearray()
        with PipeReader(process.stdout) as reader:
            while True:
                left = deadline - time.monotonic()
                received = reader.read(left) if left > 0 else []
                if not received:
                    late = "did not start in time" if start_s and not output else "did not answer in time"
                    return bytes(output), f"{late} and was ended", deadline
                if received[0].closed:
                    return bytes(output), "", deadline
                if start_s and not output:
                    slow = min(_TIMES_ITS_START * _used(process.pid), start_s)
                    deadline = time.monotonic() + max(timeout_s, slow)
                output += received[0].data
                if len(output) > _OUTPUT_LIMIT:
                    return bytes(output), "printed without end and was stopped", deadline


def _used(pid: int) -> float:
    """Processor time of a process in seconds; 0 where it cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0


def house_variables() -> dict[str, str]:
    """PYTHONPATH under which a child finds the same packages as this process, installed or not."""
    root = str(Path(__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": f"{root}{os.pathsep}{inherited}" if inherited else root}
