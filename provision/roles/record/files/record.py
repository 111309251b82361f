"""Records which packages and files a run adds to the machine; the role record runs it there.

It needs only the standard library of Python 3.8 or later. ``record.py QUESTION`` takes one JSON document: ``record``
(the path of the record), ``files`` and ``packages`` (those that the caller needs), ``note`` (what to record: "files":
the missing files; "before": the installed packages; "came": the packages that are new since "before") and ``write``
(false in a dry run). It prints one JSON document: ``record`` (null if there is none), ``missing`` (the missing
files and packages) and ``changed`` (whether the record changed, or would change in a dry run).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

EMPTY: dict[str, Any] = {"schema_version": 1, "installed": [], "files": [], "before": None}


def look(question: dict[str, Any]) -> dict[str, Any]:
    """Do what the request in ``asked`` says, and return the document to print. Raises ValueError if the file is not
    a record."""
    place = Path(question["record"])
    record = None
    with contextlib.suppress(FileNotFoundError):
        record = json.loads(place.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or not isinstance(record.get("files"), list):
            raise ValueError("it is not a record")
    missing = [path for path in question.get("files", []) if not os.path.lexists(path)]
    if question.get("note"):
        told = noted(question["note"], record or EMPTY, missing)
        changed = told != (record or EMPTY)
        if changed and question["write"]:
            write(place, told)
            record = told
    else:
        changed = False
    return {"record": record, "missing": missing + absent(question.get("packages", [])), "changed": changed}


def noted(what: str, record: dict[str, Any], missing: list[str]) -> dict[str, Any]:
    """The record with one additional note. The "before" note of an interrupted run is kept."""
    if what == "files":
        return {
            **record,
            "files": record["files"] + [path for path in missing if path not in record["files"]],
        }
    before = record["before"] or present()
    if what == "before":
        return {**record, "before": before}
    return {
        **record,
        "installed": sorted({*record["installed"], *(set(present()) - set(before))}),
        "before": None,
    }


def write(place: Path, record: dict[str, Any]) -> None:
    """Write the file completely or not at all, even if the power fails."""
    place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = place.with_name(f".{place.name}.new")
    with new.open("w", encoding="utf-8") as stream:
        os.fchmod(stream.fileno(), 0o644)
        json.dump(record, stream, indent=4, sort_keys=True)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(place)


def present() -> list[str]:
    """The names of installed and half installed packages. A name of another architecture ends with ":ARCHITECTURE"."""
    own = _output(["dpkg", "--print-architecture"], check=True).strip()
    told = _output(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Architecture}\n"], check=True)
    rows = [line.split() for line in told.splitlines()]
    return sorted(
        name if kind in (own, "all") else f"{name}:{kind}"
        for state, name, kind in (row for row in rows if len(row) == 3)
        if state not in ("not-installed", "config-files")
    )


def absent(packages: list[str]) -> list[str]:
    """The packages that are not installed; a half installed package counts as not installed."""
    if not packages:
        return []
    told = _output(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *packages])
    there = {line.split()[1] for line in told.splitlines() if line.startswith("installed ")}
    return [name for name in packages if name not in there]


def _output(command: list[str], *, check: bool = False) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and ended.returncode != 0:
        raise OSError(f"{command[0]} failed: {ended.stderr.strip() or ended.returncode}")
    return ended.stdout


def main(question: str) -> None:
    asked = json.loads(question)
    try:
        json.dump(look(asked), sys.stdout)
    except (OSError, ValueError) as error:
        sys.stderr.write(
            f"{asked['record']}, the record of the changes by dlbox, cannot be read or written ({error}): "
            "free space or restore the file, or move it away and undo the changes by hand, then run the same command\n"
        )
        raise SystemExit(1) from None


if __name__ == "__main__":
    main(sys.argv[1])
