"""What the record says and what is there of what is about to come: run on the box by the role record.

Standard library only, Python 3.8 or later. ``there.py QUESTION`` takes one JSON document (``record``: its path;
``files`` and ``packages``: those asked for) and prints one: ``record`` (null where there is none), and of the files
and packages those that are ``missing``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any


def look(question: dict[str, Any]) -> dict[str, Any]:
    """Raises ValueError where the record is not one."""
    record = None
    try:
        with open(question["record"], encoding="utf-8") as stream:  # noqa: PTH123
            record = json.load(stream)
        if not isinstance(record, dict) or not isinstance(record.get("files"), list):
            raise ValueError("it is no record")
    except FileNotFoundError:
        pass
    missing = [path for path in question.get("files", []) if not os.path.lexists(path)]
    return {"record": record, "missing": missing + absent(question.get("packages", []))}


def absent(packages: list[str]) -> list[str]:
    """Those that are not installed; one that is half installed is not."""
    if not packages:
        return []
    command = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *packages]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    there = {line.split()[1] for line in told.splitlines() if line.startswith("installed ")}
    return [name for name in packages if name not in there]


def main(question: str) -> None:
    asked = json.loads(question)
    try:
        json.dump(look(asked), sys.stdout)
    except (OSError, ValueError) as error:
        sys.stderr.write(
            f"{asked['record']}, where dlbox keeps what it changed, cannot be read ({error}): restore it, "
            "or move it away and undo by hand, then run the same command\n"
        )
        raise SystemExit(1) from None


if __name__ == "__main__":
    main(sys.argv[1])
