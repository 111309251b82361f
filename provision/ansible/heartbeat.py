"""Signs of life of a run: without them, a box that it took is free after a minute (roles/preflight/files/hold.py).

They go over the connections that Ansible has open, as the user who logged in, and to this machine by its own files.
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

EVERY_S = 10.0
_LIMIT_S = 5.0
PLACE = Path("/run/dlbox")


class Holding:
    """A context manager: inside, every box that this run took hears of it; after, it hears that the run has ended."""

    def __init__(self, sockets: Path) -> None:
        """``sockets``: the folder of SSH's shared connections."""
        self.identity = uuid.uuid4().hex
        self._sockets = sockets
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)

    @property
    def told(self) -> dict[str, str]:
        """What the playbooks are told of this run."""
        return {"id": self.identity, "who": who()}

    def __enter__(self) -> Holding:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            os.truncate(self._beat, 1)
        self._everywhere(["truncate", "-c", "-s", "1", str(self._beat)])

    @property
    def _beat(self) -> Path:
        return PLACE / f"beat-{self.identity}"

    def _live(self) -> None:
        while not self._ended.wait(EVERY_S):
            with contextlib.suppress(OSError):
                os.utime(self._beat)
            self._everywhere(["touch", "-c", str(self._beat)])

    def _everywhere(self, command: list[str]) -> None:
        """At once, over what is open; a connection that is gone is not opened again."""
        started = [_over(path, command) for path in _entries(self._sockets)]
        for process in started:
            try:
                process.wait(_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def who() -> str:
    """The person and the machine that a run is started by, as others know them."""
    try:
        person = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        person = f"user {os.getuid()}"
    return f"{person}@{socket.gethostname()}"


def _over(connection: Path, command: list[str]) -> subprocess.Popen[bytes]:
    options = ["-o", f"ControlPath={connection}", "-o", "ProxyCommand=false", "-o", "BatchMode=yes"]
    return subprocess.Popen(
        ["ssh", *options, "open-already", *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_socket())
    except OSError:
        return []
