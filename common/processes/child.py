"""Run a child process with limits on its run time and its output; no child outlives this process."""

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

from common.processes import exit_reason, guard
from common.processes.pipe_reader import PipeReader

_OUTPUT_LIMIT = 4 << 20
"""Maximum size in bytes of the output that is read from a child."""
_START_FACTOR = 20
"""The time limit of a child is at least this multiple of the processor time that its start used."""


_PARENT = "DLBOX_PARENT"
_PR_SET_PDEATHSIG = 1
_EXIT_WAIT_S = 5.0
"""Longest wait for the exit of a killed process, and of the guard."""


class _ProcessState:
    """State of this process: its guard process, and the temporary folder of its children."""

    guard: subprocess.Popen[bytes] | None = None
    folder: Path | None = None
    owner = 0
    """Process id of the owner of guard and folder; a forked copy of this process needs its own guard and folder."""
    numbers = itertools.count(1)
    marks: dict[int, str] = {}  # noqa: RUF012 - the class is used as a single object


def start(
    command: Sequence[str],
    variables: Mapping[str, str] | None = None,
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a process in its own session. When this process ends for any reason, the child and the processes that it
    started are killed. ``variables`` are added to the environment. Raises OSError.

    Ctrl-C on the terminal does not reach the child: the caller must call ``end``.
    """
    mark = f"{guard.identity()}.{next(_ProcessState.numbers)}"
    process = subprocess.Popen(
        list(command),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment({**os.environ, **(variables or {})}, mark),
        start_new_session=True,
    )
    _ProcessState.marks[process.pid] = mark
    return process


def end(process: subprocess.Popen[bytes], timeout_s: float = _EXIT_WAIT_S) -> None:
    """Kill a process that ``start`` started, and the processes that it started; wait ``timeout_s`` for its exit."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    mark = _ProcessState.marks.pop(process.pid, None)
    if mark is not None:
        guard.end(mark)  # processes that made their own process group
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout_s)  # a process that hangs in the driver cannot be killed: stop waiting for it
    if process.stdout is not None:
        process.stdout.close()


def environment(variables: Mapping[str, str], mark: str | None = None) -> dict[str, str]:
    """``variables``, plus the variables that make a child end together with this process.

    Use this for a child that is not started with ``start``.
    """
    _ensure_guard()
    marks = [variables.get(guard.MARK, ""), guard.identity(), mark or ""]
    new = {**variables, guard.MARK: ":".join(filter(None, marks))}
    new.pop(_PARENT, None)
    if threading.current_thread() is threading.main_thread():
        # The kernel sends its signal when the *thread* that started the child ends.
        new[_PARENT] = str(os.getpid())
    if _ProcessState.folder is not None:
        new["TMPDIR"] = str(_ProcessState.folder)
    return new


def die_with_parent(parent: int = 0) -> None:
    """Let the kernel kill this process when its parent ends. A child calls this before anything else.

    ``parent``: the process id of the parent, needed if ``start`` was not used. The guard also kills the children of
    a dead process, a moment later; this call works without a guard.
    """
    parent = parent or int(os.environ.pop(_PARENT, "") or 0)
    if not parent:
        return
    import ctypes  # only child processes need it

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent and not guard.identity(parent):
        os._exit(1)  # the parent ended before prctl was called


def _ensure_guard() -> None:
    """Start the guard, and make the temporary folder that it will remove; a run continues without either."""
    if os.getpid() != _ProcessState.owner:
        _ProcessState.guard, _ProcessState.folder, _ProcessState.owner = None, None, os.getpid()
        atexit.register(_stop_guard, os.getpid())
    if _ProcessState.folder is None or not _ProcessState.folder.is_dir():
        _ProcessState.folder = None
        with contextlib.suppress(OSError):  # no temporary directory has space left
            _ProcessState.folder = Path(tempfile.mkdtemp(prefix=guard.prefix()))
    if _ProcessState.guard is not None and _ProcessState.guard.poll() is None:
        return
    below = _ProcessState.folder.parent if _ProcessState.folder is not None else Path("/nowhere")
    with contextlib.suppress(OSError):
        _ProcessState.guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(guard.__file__)), guard.identity(), str(below)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,
        )


def _stop_guard(owner: int) -> None:
    """Tell the guard that this process ends normally; when this returns, the guard has cleaned up and exited."""
    process = _ProcessState.guard
    if process is None or owner != os.getpid() or process.stdin is None:
        return
    with contextlib.suppress(OSError, ValueError):
        process.stdin.write(guard.FAREWELL)
        process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        process.wait(_EXIT_WAIT_S)


class ChildResult(msgspec.Struct, frozen=True, kw_only=True):
    """The output of a child, and why it failed; ``why`` is empty if it exited with code 0."""

    output: bytes
    why: str = ""

    @property
    def lines(self) -> list[bytes]:
        """The complete lines: a killed child may leave an unfinished one."""
        return self.output.split(b"\n")[:-1]


class Child:
    """A started child process; ``finish`` waits for its exit."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str] | None = None) -> None:
        self.started = time.monotonic()
        self._kills_before = exit_reason.oom_kills()
        try:
            self.process: subprocess.Popen[bytes] | None = start(command, variables)
        except OSError as error:
            self.process = None
            self.failure = f"could not be started: {error.strerror}"

    def finish(self, timeout_s: float, *, start_s: float = 0) -> ChildResult:
        """Wait until ``timeout_s`` seconds after the start, then kill the child's whole process group.

        With ``start_s``, the time limit counts from the child's first output, for which it has ``start_s`` seconds: a
        slow start is then not taken for a hang. If the start used much processor time, the machine is slow, and the
        limit rises to 20 times that processor time, at most to ``start_s``.
        """
        if self.process is None:
            return ChildResult(output=b"", why=self.failure)
        try:
            output, why, deadline = self._collect(self.process, timeout_s, start_s)
            if not why:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(max(0.1, deadline - time.monotonic()))
                code = self.process.poll()
                if code is None:
                    why = f"did not exit within {timeout_s:g} s"
                elif code:
                    why = exit_reason.explain(code, self._kills_before).why
        finally:
            self.stop()
        return ChildResult(output=output, why=why)

    def stop(self) -> None:
        if self.process is not None:
            end(self.process, 1)

    def _collect(
        self, process: subprocess.Popen[bytes], timeout_s: float, start_s: float
    ) -> tuple[bytes, str, float]:
        """The output, an error message (empty if there was no error), and the deadline for the child's exit."""
        deadline = self.started + (start_s or timeout_s)
        assert process.stdout is not None  # noqa: S101  # ``start`` requested a pipe
        output = bytearray()
        with PipeReader(process.stdout) as reader:
            while True:
                left = deadline - time.monotonic()
                received = reader.read(left) if left > 0 else []
                if not received:
                    late = "did not start in time" if start_s and not output else "did not answer in time"
                    return bytes(output), f"{late} and was killed", deadline
                if received[0].closed:
                    return bytes(output), "", deadline
                if start_s and not output:
                    slow = min(_START_FACTOR * _cpu_seconds(process.pid), start_s)
                    deadline = time.monotonic() + max(timeout_s, slow)
                output += received[0].data
                if len(output) > _OUTPUT_LIMIT:
                    return bytes(output), "printed too much output and was killed", deadline


def _cpu_seconds(pid: int) -> float:
    """Processor time of a process in seconds; 0 if it cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0


def python_path_variables() -> dict[str, str]:
    """The variable PYTHONPATH with which a child imports the same packages as this process, installed or not."""
    root = str(Path(__file__).resolve().parents[__name__.count(".")])
    inherited = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": f"{root}{os.pathsep}{inherited}" if inherited else root}
