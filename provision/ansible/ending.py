"""End a run of Ansible and clean up after it, also when its controller was killed.

A controller that is killed (SIGKILL, or sudo after its terminal was closed) cannot end Ansible: the workers of Ansible
run in sessions of their own and continue. ``EndWatcher`` therefore starts a process that waits for the end of the
controller and then does what Ctrl-C does: it ends Ansible, tells the boxes that the run was interrupted, and removes
the temporary files. It sends heartbeats until all processes of the run have ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import psutil

from common.processes import guard
from provision import PROVISION_DIR
from provision.ansible import heartbeat

_GRACE_S = 5.0
"""Seconds that Ansible has to exit after SIGINT before it is killed."""
_LONGEST_S = 15.0
_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)


class EndWatcher:
    """Context manager: while it is open, a process watches for the end of this one."""

    def __init__(self, folder: Path, run: str) -> None:
        """``folder``: the temporary folder of the run. ``run``: the id in its heartbeats."""
        self._command = [
            sys.executable, "-m", "provision.ansible.ending",
            guard.identity(), str(folder), tempfile.gettempdir(), run, str(heartbeat.FOLDER),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> EndWatcher:
        path = os.pathsep.join(filter(None, (str(PROVISION_DIR.parent), os.environ.get("PYTHONPATH"))))
        variables = {**os.environ, "PYTHONPATH": path}
        variables.pop(guard.MARK, None)  # the guard of this process must not kill it
        with contextlib.suppress(OSError):  # without processes left, the run itself will fail
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                cwd="/", env=variables, start_new_session=True,
            )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(OSError):
            self._process.stdin.write(guard.FAREWELL)
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)


def end_ansible(folder: Path, before: frozenset[int] | None = None) -> None:
    """End every process of the run whose temporary folder is ``folder``.

    ``before``: in the controller, the children that it had before the run; all others are ended too.
    Ansible gets SIGINT, as from Ctrl-C on its own terminal; what still runs after the grace period is killed.
    """
    first = True
    deadline, last = time.monotonic() + _GRACE_S, time.monotonic() + _LONGEST_S
    every = list(_family(folder, before))
    while every and time.monotonic() < last:
        if first:
            for process in every:
                if _is_ansible(process):
                    _send(process, signal.SIGINT)
            first = False
        if time.monotonic() > deadline:
            for process in every:
                _send(process, signal.SIGKILL)
        time.sleep(0.1)
        # A worker leaves its module behind, and a process between fork and exec shows no environment yet.
        found = {process.pid: process for process in (*every, *_family(folder, before))}
        every = [process for process in found.values() if _runs(process) and _may_signal(process)]


def _family(folder: Path, before: frozenset[int] | None) -> Iterator[psutil.Process]:
    """The processes of a run: Ansible's configuration is in the run's folder, and every child inherits its path."""
    wanted = str(folder / "ansible.cfg")
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("ANSIBLE_CONFIG") == wanted and not _is_shared_connection(process):
                yield process
    if before is not None:
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if child.pid not in before and heartbeat.OPEN_ALREADY not in child.cmdline():
                    yield child


def _is_ansible(process: psutil.Process) -> bool:
    try:
        return any("ansible-playbook" in word for word in process.cmdline()[:3])
    except psutil.Error:
        return False


def _is_shared_connection(process: psutil.Process) -> bool:
    """SSH's process for a shared connection: the last heartbeat needs it, and ``close_connections`` ends it."""
    return any(word.endswith("[mux]") for word in process.cmdline()[:1])


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)


def _may_signal(process: psutil.Process) -> bool:
    """False for a process of root below sudo. The box sees that it still works: roles/preflight/files/hold.py."""
    try:
        os.kill(process.pid, 0)
    except OSError:
        return False
    return True


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@contextlib.contextmanager
def signals_ignored() -> Iterator[None]:
    """Ignore further signals: a closing terminal sends several, and none of them may interrupt the clean-up."""
    earlier = {}
    with contextlib.suppress(ValueError):  # not the main thread
        for number in _SIGNALS:
            earlier[number] = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def close_connections(folder: Path) -> None:
    """Close SSH's shared connections, which would stay open for a minute after the playbook."""
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["ssh", "-o", f"ControlPath={path}", "-O", "exit", "any-host"],
                capture_output=True, timeout=5, check=False,
            )  # fmt: skip


def main(owner: str, folder: Path, temporary: Path, run: str, beats: Path) -> None:
    """Wait for the end of the controller ``owner``; unless it ended normally, clean up after it."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if guard.wait(owner):
        return
    heartbeat.FOLDER = beats
    with contextlib.suppress(InterruptedError), heartbeat.Heartbeat(folder / "ssh", run):
        end_ansible(folder)
        raise InterruptedError  # tells the boxes that the run did not end normally
    close_connections(folder / "ssh")
    guard.clean(temporary, owner)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], Path(sys.argv[5]))
