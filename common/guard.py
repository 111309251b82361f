"""End what a dead dlbox leaves: its children, their children, and its temporary files.

A process that is killed cannot tidy up, so another one does it: ``python -I -S guard.py IDENTITY FOLDER`` waits until
the process called IDENTITY has ended, however that was, then kills every process that carries its mark and removes
its files from the temporary directory FOLDER. At its start it does the same for dead owners that had no guard.

The mark is in the environment, which children of children inherit, whatever session or group they make for
themselves. Everything is done as this user, to this user's own processes and files. Needs the standard library alone.
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
"""The variable: identities of all who started a process, the outermost first, with ``:`` between them."""

FAREWELL = b"."
"""What the owner writes at an orderly end."""

_LOOK_S = 1.0
_PAUSE_S = 0.1
_EMPTY_LOOKS = 3
"""A process between fork and exec carries no mark yet: after a kill, only several looks without a find are the end."""

_MOST_S = 10.0
_FOREIGN_S = 7 * 86400.0
"""Nobody knows whether an owner in another container or before a reboot is alive: its files are left for a week."""

_NAME = re.compile(r"dlbox-(\d{1,10}-\d{1,20}-[0-9a-f]{4})-")
_IDENTITY = re.compile(r"(\d{1,10}-\d{1,20}-[0-9a-f]{4})(?:\.\d+)?")


def identity(pid: int | None = None) -> str:
    """``PID-START-PLACE`` of a process, of this one without ``pid``; "" where there is no such process.

    START: clock ticks from the boot to its start, so that a process that got the number later is another one. PLACE: a
    digest of the boot and the process number space in which both are valid.
    """
    number = os.getpid() if pid is None else pid
    try:
        fields = Path(f"/proc/{number}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" and pid is not None else f"{number}-{fields[19]}-{_place()}"
    except (OSError, IndexError):
        return f"{number}-0-{_place()}" if pid is None else ""


def prefix() -> str:
    """With which the names of this process' temporary files begin: so a later run knows whose they were."""
    return f"dlbox-{identity()}-"


def _place() -> str:
    parts = []
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:4]


def _alive(owner: str) -> bool:
    """Also where it cannot be known."""
    return not _known(owner) or identity(int(owner.split("-")[0])) == owner


def _known(owner: str) -> bool:
    return owner.rpartition("-")[2] == _place()


def carriers() -> Iterator[tuple[int, list[str]]]:
    """This user's processes that carry a mark, each with the identities in it."""
    wanted = f"{MARK}=".encode()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if entry.stat().st_uid != os.getuid():
                continue
            variables = Path(entry.path, "environ").read_bytes()
        except OSError:
            continue
        if wanted not in variables:
            continue
        for variable in variables.split(b"\0"):
            if variable.startswith(wanted):
                yield int(entry.name), variable[len(wanted) :].decode(errors="replace").split(":")


def end(mark: str) -> int:
    """Kill every process that carries ``mark``; how many there were."""
    return _kill(pid for pid, marks in carriers() if mark in marks)


def end_orphans() -> int:
    """Kill every process one of whose owners is dead."""

    def orphaned(marks: list[str]) -> bool:
        owners = [found[1] for mark in marks if (found := _IDENTITY.fullmatch(mark))]
        return any(not _alive(owner) for owner in owners)

    return _kill(pid for pid, marks in carriers() if orphaned(marks))


def _kill(pids: Iterator[int]) -> int:
    count = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
            count += 1
    return count


def clean(folder: Path, owner: str | None = None) -> None:
    """Remove from ``folder`` what ``owner`` left there; without ``owner``, what any dead owner left."""
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
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with its owner, and never before
    end_orphans()
    clean(folder)
    orderly = _wait(owner)
    deadline, empty = time.monotonic() + _MOST_S, 0
    while empty < (1 if orderly else _EMPTY_LOOKS) and time.monotonic() < deadline:
        empty = 0 if end(owner) else empty + 1
        if empty < _EMPTY_LOOKS and not (orderly and empty):
            time.sleep(_PAUSE_S)
    clean(folder, owner)


def _wait(owner: str) -> bool:
    """Until the owner has ended; whether it said so."""
    while True:
        if select.select([0], [], [], _LOOK_S)[0]:
            return os.read(0, 1) == FAREWELL
        if not _alive(owner):  # a copy of it, forked and not ended yet, still has the pipe
            return False


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
