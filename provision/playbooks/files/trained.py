"""Report whether this installation has trained a model since the box booted. verify.yml runs this script on the box.

Standard library only, Python 3.8 or later. ``trained.py STAMP`` prints one JSON document: ``boot``, the id of this
boot, and ``earlier``, the content of the file STAMP, which is empty if that file is missing or damaged.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def look(stamp: Path, boot: Path = Path("/proc/sys/kernel/random/boot_id")) -> dict[str, Any]:
    try:
        earlier = json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        earlier = None
    return {
        "boot": boot.read_text(encoding="utf-8").strip(),
        "earlier": earlier if isinstance(earlier, dict) else {},
    }


if __name__ == "__main__":
    json.dump(look(Path(sys.argv[1])), sys.stdout)
