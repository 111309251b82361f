"""What is about to come, beside what is there, and the record of it: run on the box by the role record.

Standard library only, Python 3.8 or later. ``record.py QUESTION`` takes one JSON document: ``record``, its path;
``files`` and ``packages``, those asked for; ``note``, what is to be put down ("files": those that are missing;
"before": the packages that are installed; "came": those that were not there before); ``write``, false in a dry run.
It prints one: ``record`` (null where there is none), of the files and packages those that are ``missing``, and whether
the record ``changed``, or would.
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
    """Raises ValueError where the record is not one."""
    place = Path(question["record"])
    record = None
    with contextlib.suppress(FileNotFoundError):
        record = json.loads(place.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or not isinstance(record.get("files"), list):
            raise ValueError("it is no record")
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
    """The record with one thing more. A run that was cut off left what was there before it: that stays."""
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
    """Whole or not at all, also where the power goes."""
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
    """Packages that are there, half installed ones too; those of another architecture with its name."""
    own = _output(["dpkg", "--print-architecture"], check=True).strip()
    told = _output(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Architecture}\n"], check=True)
    rows = [line.split() for line in told.splitlines()]
    return sorted(
        name if kind in (own, "all") else f"{name}:{kind}"
        for state, name, kind in (row for row in rows if len(row) == 3)
        if state not in ("not-installed", "config-files")
    )


def absent(packages: list[str]) -> list[str]:
    """Those that are not installed; one that is half installed is not."""
    if not packages:
        return []
    told = _output(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *packages])
    there = {line.split()[1] for line in told.splitlines() if line.startswith("installed ")}
    return [name for name in packages if name not in there]


def _output(command: list[str], *, check: bool = False) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and ended.returncode != 0:
        raise OSError(f"{command[0]} says {ended.stderr.strip() or ended.returncode}")
    return ended.stdout


def main(question: str) -> None:
    asked = json.loads(question)
    try:
        json.dump(look(asked), sys.stdout)
    except (OSError, ValueError) as error:
        sys.stderr.write(
            f"{asked['record']}, where dlbox keeps what it changed, cannot be read or written ({error}): give it room, "
            "restore it, or move it away and undo by hand, then run the same command\n"
        )
        raise SystemExit(1) from None


if __name__ == "__main__":
    main(sys.argv[1])
