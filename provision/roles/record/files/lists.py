"""Reports which configured apt sources have no package lists on this machine; the role record runs it there.

A folder of lists that is new or was just cleaned looks fresh, so only its content counts. A source whose release file
is there was read, even if it has no packages for this machine. It needs only the standard library of Python 3.8 or
later. It prints one JSON document: ``unread``, the addresses of the sources that were never read, and ``sources``, the
number of sources.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

FORMAT = "$(FILENAME)\t$(METAKEY)\t$(REPO_URI)"
SUFFIXES = ("", ".lz4", ".zst", ".xz", ".gz", ".bz2", ".lzma")


def look(listed: str) -> dict[str, Any]:
    """``listed``: the output of ``apt-get indextargets``, one line per list that apt would read."""
    read: dict[str, bool] = {}
    for line in listed.splitlines():
        fields = line.split("\t")
        if len(fields) != 3 or fields[2].startswith("cdrom:"):  # apt update does not read discs
            continue
        place, key, address = fields
        read[address] = read.get(address, False) or present(place, key)
    return {"unread": sorted(shown(address) for address in read if not read[address]), "sources": len(read)}


def present(place: str, key: str) -> bool:
    """Whether the list ``place`` exists, or the release file of its source."""
    for suffix in SUFFIXES:
        try:
            if Path(place + suffix).stat().st_size > 0:
                return True
        except OSError:
            continue
    end = key.replace("/", "_")
    if not place.endswith(end):
        return False
    return any(Path(place[: -len(end)] + name).exists() for name in ("InRelease", "Release"))


def shown(address: str) -> str:
    """The address without the user and the password that it may contain."""
    return re.sub(r"//[^/@]*@", "//", address)


def main() -> None:
    # Without --no-release-info, apt-get lists only the sources that it has read.
    command = ["apt-get", "indextargets", "--no-release-info", "--format", FORMAT, "Created-By: Packages"]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    json.dump(look(ended.stdout if ended.returncode == 0 else ""), sys.stdout)


if __name__ == "__main__":
    main()
