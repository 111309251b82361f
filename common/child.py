"""Run a child process with a limit on its time and its output, and leave none behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

_OUTPUT_LIMIT = 4 << 20
_TIMES_ITS_START = 20


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
        try:
            self.process: subprocess.Popen[bytes] | None = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **(variables or {})},
                start_new_session=True,
            )
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
                why = _ending(self.process.poll(), timeout_s)
        finally:
            self.stop()
        return Ended(output=output, why=why)

    def stop(self) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)  # a process stuck inside the driver cannot be ended; do not wait for it
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _collect(
        self, process: subprocess.Popen[bytes], timeout_s: float, start_s: float
    ) -> tuple[bytes, str, float]:
        """What was printed, what went wrong, and until when the child may live."""
        deadline = self.started + (start_s or timeout_s)
        assert process.stdout is not None  # noqa: S101  # PIPE was asked for
        output = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    late = "did not start in time" if start_s and not output else "did not answer in time"
                    return bytes(output), f"{late} and was ended", deadline
                chunk = os.read(process.stdout.fileno(), 65536)
                if not chunk:
                    return bytes(output), "", deadline
                if start_s and not output:
                    slow = min(_TIMES_ITS_START * _used(process.pid), start_s)
                    deadline = time.monotonic() + max(timeout_s, slow)
                output += chunk
                if len(output) > _OUTPUT_LIMIT:
                    return bytes(output), "printed without end and was stopped", deadline


def _used(pid: int) -> float:
    """Processor time of a process in seconds; 0 where it cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0


def _ending(code: int | None, timeout_s: float) -> str:
    if code is None:
        return f"did not end within {timeout_s:g} s"
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"crashed ({name})"
    return f"ended with code {code}" if code else ""


def house_variables() -> dict[str, str]:
    """PYTHONPATH under which a child finds the same packages as this process, installed or not."""
    root = str(Path(__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": f"{root}{os.pathsep}{inherited}" if inherited else root}
