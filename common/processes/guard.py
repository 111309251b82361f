"""Clean up after a dlbox process that was killed: its children, their children, and its temporary files.

A killed process cannot clean up, so another process does: ``python -I -S guard.py IDENTITY FOLDER`` waits until the
owner, the process with that identity, has ended for any reason. It then kills every process that carries the owner's
mark and removes the owner's files from the temporary directory FOLDER. At its start it does the same for dead owners
that had no guard.

The mark is an environment variable, which all descendants inherit, even in another session or process group. The guard
runs as this user and affects only processes and files of this user. It needs only the standard library.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

MARK = "DLBOX_RUN"
"""Environment variable: the identities of the dlbox processes above a process, outermost first, joined by ``:``."""

FAREWELL = b"."
"""Message that the owner writes to the guard's stdin when the owner ends normally."""

_POLL_S = 1.0
_PAUSE_S = 0.1
_EMPTY_SCANS = 3
"""Number of empty scans required after a kill: a process between fork and exec does not show its mark yet."""

_LONGEST_CLEAN_UP_S = 10.0
_FOREIGN_S = 7 * 86400.0
"""The state of an owner in another container or from before a reboot is unknown: its files stay for a week."""

_NAME = re.compile(r"dlbox-(\d{1,10}-\d{1,20}-[0-9a-f]{4})-")
_IDENTITY = re.compile(r"(\d{1,10}-\d{1,20}-[0-9a-f]{4})(?:\.\d+)?")


def identity(pid: int | None = None) -> str:
    """``PID-START-NAMESPACE`` of a process, by default of this one; "" if there is no such process.

    START: clock ticks from boot to the start of the process, which distinguishes it from a later process with the same
    id. NAMESPACE: a digest of the boot id and the PID namespace in which both numbers are valid.
    """
    number = os.getpid() if pid is None else pid
    try:
        fields = Path(f"/proc/{number}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" and pid is not None else f"{number}-{fields[19]}-{_place()}"
    except (OSError, IndexError):
        return f"{number}-0-{_place()}" if pid is None else ""


def prefix() -> str:
    """Prefix of the names of this process's temporary files; a later run reads their owner from it."""
    return f"dlbox-{identity()}-"


def _place() -> str:
    parts = []
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:4]


def _alive(owner: str) -> bool:
    """Whether the owner is running; True if this cannot be determined."""
    return not _known(owner) or identity(int(owner.split("-")[0])) == owner


def _known(owner: str) -> bool:
    """Whether the owner ran since this boot and in this PID namespace."""
    return owner.rpartition("-")[2] == _place()


def marked_processes() -> Iterator[tuple[int, list[str]]]:
    """This user's processes that carry a mark, each with the identities in its mark."""
    variable_name = f"{MARK}=".encode()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if entry.stat().st_uid != os.getuid():
                continue
            variables = Path(entry.path, "environ").read_bytes()
        except OSError:
            continue
        if variable_name not in variables:
            continue
        for variable in variables.split(b"\0"):
            if variable.startswith(variable_name):
                yield int(entry.name), variable[len(variable_name) :].decode(errors="replace").split(":")


def end(mark: str) -> int:
    """Kill every process that carries ``mark``; returns how many were killed."""
    return _kill(pid for pid, marks in marked_processes() if mark in marks)


def end_orphans() -> int:
    """Kill every process that has a dead owner; returns how many were killed."""

    def orphaned(marks: list[str]) -> bool:
        owners = [found[1] for mark in marks if (found := _IDENTITY.fullmatch(mark))]
        return any(not _alive(owner) for owner in owners)

    return _kill(pid for pid, marks in marked_processes() if orphaned(marks))


def _kill(pids: Iterator[int]) -> int:
    count = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
            count += 1
    return count


def clean(folder: Path, owner: str | None = None) -> None:
    """Remove the files of ``owner`` from ``folder``; without ``owner``, the files of all dead owners."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        found = _NAME.match(entry.name)
        if found is None:
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        if status.st_uid != os.getuid():
            continue
        if owner is None and _known(found[1]):
            dead = not _alive(found[1])
        elif owner is None:
            dead = time.time() - status.st_mtime > _FOREIGN_S
        else:
            dead = found[1] == owner
        if dead and entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        elif dead:
            with contextlib.suppress(OSError):
                Path(entry.path).unlink()


def main(owner: str, folder: Path) -> None:
    """Wait for the end of ``owner``, then clean up after it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the guard must outlive its owner
    end_orphans()
    clean(folder)
    normal = wait(owner)
    deadline, empty = time.monotonic() + _LONGEST_CLEAN_UP_S, 0
    while empty < (1 if normal else _EMPTY_SCANS) and time.monotonic() < deadline:
        empty = 0 if end(owner) else empty + 1
        if empty < _EMPTY_SCANS and not (normal and empty):
            time.sleep(_PAUSE_S)
    clean(folder, owner)


def wait(owner: str) -> bool:
    """Wait for the end of the owner, whose pipe is stdin; returns whether it ended normally."""
    while True:
        if select.select([0], [], [], _POLL_S)[0]:
            return os.read(0, 1) == FAREWELL
        if not _alive(owner):  # a forked copy of the owner may hold the pipe open
            return False


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
