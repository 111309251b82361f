"""Finds the undamaged version of an environment, or the folder for a new one; the role environment runs it.

An environment is undamaged if it has a stamp, its Python starts, and every package of its lock file has the files that
pip recorded, with the recorded sizes. The contents of the files are not read, so that a second run takes seconds.

It needs only the standard library of Python 3.8 or later. ``sound.py look ROOT NAME DIGEST`` prints one JSON document;
``sound.py stamp FOLDER`` records that the environment is complete, and which files already differ from pip's record.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STAMP = ".complete"
LIMIT_S = 60


def look(root: Path, name: str, digest: str) -> dict[str, Any]:
    """A document with the undamaged version (or the folder for a new one) and the other versions. ``damage``: what
    is damaged in a version that was complete before. ``left``: the folder contains an interrupted build.
    ``others``:
    versions that may be removed.
    """
    versions = root / "versions"
    in_use = os.path.realpath(str(root / "venv" / name))
    places = [versions / f"{name}-{digest}", versions / f"{name}-{digest}-b"]
    places.sort(key=lambda place: os.path.realpath(str(place)) != in_use)
    folder, damage = None, None
    for place in places:
        if folder is None and (place / STAMP).is_file():
            wrong = damaged(place)
            folder, damage = (place, None) if wrong is None else (None, damage or wrong)
    whole = folder is not None
    # Never build in the folder of the version in use: it may still work until the new version is complete.
    free = [place for place in places if not (os.path.realpath(str(place)) == in_use and place.is_dir())]
    folder = folder or free[0]
    mine = re.compile(re.escape(name) + r"-[0-9a-f]+(-b)?$")
    others = [
        p for p in versions.glob(f"{name}-*") if mine.match(p.name) and p != folder and not p.is_symlink()
    ]
    return {
        "folder": str(folder),
        "whole": whole,
        "damage": damage,
        "in_use": whole and os.path.realpath(str(folder)) == in_use,
        "left": not whole and folder.exists(),
        "others": sorted(map(str, others)),
    }


def damaged(folder: Path) -> str | None:
    """What is damaged in a version, in a few words; None if it is undamaged."""
    try:
        accepted = set(json.loads((folder / STAMP).read_text(encoding="utf-8"))["disagree"])
    except (OSError, ValueError, KeyError, TypeError):
        accepted = set()
    missing = sorted(wanted(folder) - set(installed(folder)))
    if missing:
        return f"{counted(missing)} not installed"
    wrong = [path for path in disagreeing(folder) if path not in accepted]
    if wrong:
        return f"{counted(wrong)} changed since pip installed it"
    try:
        command = [str(folder / "bin/python"), "-I", "-c", ""]
        ended = subprocess.run(command, capture_output=True, check=False, timeout=LIMIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return "its Python does not start"
    return None if ended.returncode == 0 else "its Python does not start"


def counted(names: list[str]) -> str:
    return f"{names[0]} and {len(names) - 1} more:" if len(names) > 1 else f"{names[0]}:"


def wanted(folder: Path) -> set[str]:
    """The packages named in the lock file, and the package in dlbox's own wheel."""
    place = folder / "share/dlbox"
    lines = text(place / "lock.txt").splitlines()
    found = {
        plain(match[1])
        for match in (re.match(r"([A-Za-z0-9][\w.-]*) *(==|@)", line) for line in lines)
        if match
    }
    wheels = [line.split(" --hash")[0].rsplit("/", 1)[-1] for line in text(place / "wheel.txt").splitlines()]
    return found | {plain(wheel.split("-")[0]) for wheel in wheels}


def installed(folder: Path) -> dict[str, Path]:
    """Name of each installed package -> the list of its files."""
    lists = folder.glob("lib/python3*/site-packages/*.dist-info/RECORD")
    return {plain(path.parent.name.split("-")[0]): path for path in lists}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def disagreeing(folder: Path) -> Iterator[str]:
    """Files, relative to the folder, that are missing or have another size than recorded."""
    for record in installed(folder).values():
        base = str(record.parent.parent)
        with record.open(encoding="utf-8", newline="") as lines:
            for row in csv.reader(lines):
                if len(row) < 3 or row[0].endswith(".pyc"):
                    continue
                path = os.path.join(base, row[0])  # noqa: PTH118 - tens of thousands of them
                try:
                    size = os.stat(path).st_size  # noqa: PTH116
                except OSError:
                    size = -1
                if size != (
                    int(row[2]) if row[2].isdigit() else max(size, 0)
                ):  # the list has no size of its own
                    yield os.path.relpath(path, str(folder))


def stamp(folder: Path) -> None:
    """Record a new environment and its differences: if two packages write the same file, this is not damage."""
    missing = sorted(wanted(folder) - set(installed(folder)))
    if missing:
        raise SystemExit(f"pip left out {missing[0]}: remove {folder}, then run the same command")
    temporary = folder / f"{STAMP}.new"
    temporary.write_text(json.dumps({"disagree": sorted(disagreeing(folder))}), encoding="utf-8")
    temporary.chmod(0o644)
    temporary.replace(folder / STAMP)


def main(how: str, *rest: str) -> None:
    if how == "stamp":
        stamp(Path(rest[0]))
    else:
        json.dump(look(Path(rest[0]), *rest[1:3]), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
