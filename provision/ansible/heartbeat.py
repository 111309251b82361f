"""Heartbeat of a run. After a minute without it, another run may use the box (roles/preflight/files/hold.py).

It is sent as the login user, over the SSH connections that Ansible has open; on this machine it touches a file.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import subprocess
import threading
import uuid
from pathlib import Path
from types import TracebackType

from provision.ansible import phases

EVERY_S = 10.0
_LIMIT_S = 5.0
FOLDER = Path("/run/dlbox")
OPEN_ALREADY = "open-already"
"""The host name for SSH in a heartbeat: it must use an open connection, and never connect."""


class Heartbeat:
    """Context manager: sends heartbeats to every box of this run and, at exit, the message that the run has ended.

    The message is the size of the file: 1 byte if the run ended normally, 2 bytes if an exception ended it. After an
    interrupted run, processes of it may still work on the box.
    """

    def __init__(self, sockets: Path, identity: str = "") -> None:
        """``sockets``: the folder with the control sockets of SSH's shared connections. ``identity``: of an earlier
        process of the same run."""
        self.identity = identity or uuid.uuid4().hex
        self._sockets = sockets
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self.phase = ""
        """What the boxes do now, such as "unpacking" (phases.py); "" if it is not known."""

    @property
    def variables(self) -> dict[str, str]:
        """The playbooks' variable ``dlbox_run``: the id of the run, and who started it."""
        return {"id": self.identity, "who": who()}

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        size = 1 if kind is None else 2
        with contextlib.suppress(OSError):
            Path(self.remote_folder).rmdir()
        self._on_all_boxes(["rmdir", self.remote_folder])
        with contextlib.suppress(OSError):
            os.truncate(self._file, size)
        self._on_all_boxes(["truncate", "-c", "-s", str(size), str(self._file)])

    @property
    def remote_folder(self) -> str:
        """The folder on a box for Ansible's temporary files; the default in the user's home would stay."""
        return f"/tmp/dlbox-ansible-{self.identity}"  # noqa: S108 - its name is random, and Ansible makes it with mode 0700

    @property
    def _file(self) -> Path:
        return FOLDER / f"beat-{self.identity}"

    def _beat(self) -> None:
        while not self._ended.wait(EVERY_S):
            with contextlib.suppress(OSError):
                os.utime(self._file)
            sockets = _open_sockets(self._sockets)
            self._on_all_boxes(["touch", "-c", str(self._file)])
            found = self._on_all_boxes(list(phases.COMMAND)) if sockets else _output(list(phases.COMMAND))
            self.phase = phases.phase(found)

    def _on_all_boxes(self, command: list[str]) -> str:
        """Run the command on all boxes in parallel, over open connections only. Returns what it prints there."""
        started = [_start_over(path, command) for path in _open_sockets(self._sockets)]
        return "\n".join(_printed(process) for process in started)


def who() -> str:
    """USER@HOST of the person who started this run; with sudo, the user who called sudo."""
    try:
        person = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        person = f"user {os.getuid()}"
    return f"{person}@{socket.gethostname()}"


def _output(command: list[str]) -> str:
    """What a command prints on this machine; "" if it cannot be started."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError:
        return ""
    return _printed(process)


def _printed(process: subprocess.Popen[bytes]) -> str:
    try:
        return process.communicate(timeout=_LIMIT_S)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return ""


def _start_over(connection: Path, command: list[str]) -> subprocess.Popen[bytes]:
    options = ["-o", f"ControlPath={connection}", "-o", "ProxyCommand=false", "-o", "BatchMode=yes"]
    return subprocess.Popen(
        ["ssh", *options, OPEN_ALREADY, *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _open_sockets(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_socket())
    except OSError:
        return []
