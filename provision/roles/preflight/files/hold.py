"""Who works on this box: one run at a time. Run on the box itself by the role preflight.

``/run/dlbox/run.json`` says who; ``beat-ID`` beside it is touched by that run's controller as long as it lives. A run
that says nothing for a minute is dead, and its place is taken; a boot forgets it all, since /run is in memory.

Standard library only, Python 3.8 or later: it must run on any bare system. Prints one JSON document.
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


def beat(place: Path, identity: str) -> Path:
    return place / f"beat-{identity}"


def holder(place: Path) -> dict[str, Any] | None:
    """The record of the run that took the box last; None where none did, or it is not a record."""
    try:
        record = json.loads((place / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    wanted = ("id", "name", "who", "since")
    return record if isinstance(record, dict) and all(key in record for key in wanted) else None


def lives(place: Path, identity: str, dead_s: float = DEAD_S) -> bool:
    """Whether that run's controller gives a sign. Waits for one, at most until the run counts as dead."""
    path = beat(place, identity)
    first = None
    deadline = time.monotonic() + dead_s
    while time.monotonic() < deadline:
        try:
            state = path.stat()
        except OSError:
            return False
        if state.st_size > 0 or time.time() - state.st_mtime > dead_s:  # said that it ended, or long silent
            return False
        first = state.st_mtime_ns if first is None else first
        if state.st_mtime_ns != first:
            return True
        time.sleep(POLL_S)
    return False


def in_the_way(place: Path, identity: str, name: str, dead_s: float = DEAD_S) -> dict[str, Any] | None:
    """Another run that holds the box, or this very run under another name of the box; None where it is free."""
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
    """Take the box for a run whose controller works as the user ``owner``; who is in the way, where it is not free."""
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


def main(how: str, identity: str, name: str, who: str) -> None:
    if not re.match(r"[0-9a-f]{32}$", identity):
        raise SystemExit("the name of a run has 32 hexadecimal digits")
    if how == "look":
        other = in_the_way(PLACE, identity, name)
    else:
        # Signs of life come from the user who logs in, who is not the one that sudo made of him.
        other = take(PLACE, identity, name, who, int(os.environ.get("SUDO_UID", os.getuid())))
    json.dump({"in_the_way": other}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:5])
