"""Reserves this machine for one run at a time; the role preflight runs it there.

``/run/dlbox/run.json`` names the run that has reserved the machine. The controller of this run touches the heartbeat
file ``beat-ID`` beside it. A run without a heartbeat for one minute loses its reservation. A reboot removes
these files, because /run is in memory.

Every process of a run on this machine has the id of the run in its environment. What an interrupted run left at work,
such as an apt that nobody waits for, is reported, so that the next run can wait for it.

It needs only the standard library of Python 3.8 or later. It prints one JSON document.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

PLACE = Path("/run/dlbox")
DEAD_S = 60.0
POLL_S = 0.5
MARK = b"DLBOX_PROVISION_RUN="
PROC = Path("/proc")


def beat(place: Path, identity: str) -> Path:
    return place / f"beat-{identity}"


def holder(place: Path) -> dict[str, Any] | None:
    """The record of the run that reserved the machine last; None: there is none, or it cannot be read."""
    try:
        record = json.loads((place / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    wanted = ("id", "name", "who", "since")
    return record if isinstance(record, dict) and all(key in record for key in wanted) else None


def lives(place: Path, identity: str, dead_s: float = DEAD_S) -> bool:
    """Whether the controller of a run is alive. Waits for its heartbeat, at most ``dead_s`` seconds."""
    path = beat(place, identity)
    first = None
    deadline = time.monotonic() + dead_s
    while time.monotonic() < deadline:
        try:
            state = path.stat()
        except OSError:
            return False
        if (
            state.st_size > 0 or time.time() - state.st_mtime > dead_s
        ):  # the run has ended, or its heartbeat is too old
            return False
        first = state.st_mtime_ns if first is None else first
        if state.st_mtime_ns != first:
            return True
        time.sleep(POLL_S)
    return False


def at_work(place: Path, identity: str, proc: Path = PROC) -> list[dict[str, Any]]:
    """The processes that an interrupted earlier run left at work: ``pid`` and ``name`` of each.

    After a run that ended normally, only services are left, which nobody waits for.
    """
    record = holder(place)
    if record is None or record["id"] == identity or not re.match(r"[0-9a-f]{32}$", str(record["id"])):
        return []
    try:
        if beat(place, str(record["id"])).stat().st_size == 1:
            return []
    except OSError:
        pass
    wanted = MARK + str(record["id"]).encode()
    found = []
    for folder in proc.iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(
                    {"pid": int(folder.name), "name": (folder / "comm").read_text(errors="replace").strip()}
                )
        except OSError:
            continue
    return found


def in_the_way(place: Path, identity: str, name: str, dead_s: float = DEAD_S) -> dict[str, Any] | None:
    """The other run that has reserved the machine, or this run under another host name; None: it is free."""
    record = holder(place)
    if record is None or (record["id"], record["name"]) == (identity, name):
        return None
    if not lives(place, str(record["id"]), dead_s):
        return None
    since = float(record["since"])
    return {
        "who": str(record["who"]),
        "since": time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(since)),
        "minutes": max(0, round((time.time() - since) / 60)),
        "twin": str(record["name"]) if record["id"] == identity else None,
    }


def take(
    place: Path, identity: str, name: str, who: str, owner: int, dead_s: float = DEAD_S
) -> dict[str, Any] | None:
    """Reserve the machine for a run whose controller logs in as ``owner`` (a user id).

    Returns the run that has reserved it already; None: it is reserved now.
    """
    place.mkdir(mode=0o755, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        other = in_the_way(place, identity, name, dead_s)
        if other is not None:
            return other
        path = beat(place, identity)
        for old in place.glob("beat-*"):
            if old != path:
                old.unlink()
        path.touch(mode=0o644)
        os.utime(path)
        os.chown(path, owner, -1)
        mine = holder(place)
        if mine is None or mine["id"] != identity:
            mine = {"id": identity, "name": name, "who": who, "since": time.time()}
        temporary = place / "run.json.new"
        temporary.write_text(json.dumps(mine), encoding="utf-8")
        temporary.chmod(0o644)
        temporary.replace(place / "run.json")
    return None


def main(how: str, identity: str, name: str, who: str, patience_s: str = "0") -> None:
    if not re.match(r"[0-9a-f]{32}$", identity):
        raise SystemExit("the id of a run must have 32 hexadecimal digits")
    deadline = time.monotonic() + float(patience_s)
    while True:
        other = in_the_way(PLACE, identity, name)
        left = [] if other else at_work(PLACE, identity)
        if not left or time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    if how == "take" and not other and not left:
        # The heartbeat comes from the user who logs in, and sudo changes the user id.
        other = take(PLACE, identity, name, who, int(os.environ.get("SUDO_UID", os.getuid())))
    json.dump({"in_the_way": other, "at_work": left}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:6])
