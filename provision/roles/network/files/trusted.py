"""Joins the certificates of the machine and of the company in one file; the role network runs it on the machine.

It needs only the standard library of Python 3.8 or later. ``trusted.py look|make FILE COMPANY BOX SHA256``: FILE must
contain the files BOX (if it exists) and COMPANY; SHA256 is the digest of COMPANY on the controller. It prints ``right``
if FILE is correct and ``wrong`` otherwise; ``make`` then also writes FILE.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path


def main(how: str, file: str, company: str, box: str, digest: str) -> None:
    place = Path(file)
    came = read(Path(company))
    every = read(Path(box)).rstrip(b"\n") + b"\n\n" + came
    right = hashlib.sha256(came).hexdigest() == digest and read(place) == every
    if how == "make" and not right:
        new = place.with_name(f"{place.name}.new")
        new.write_bytes(every)
        new.chmod(0o644)
        new.replace(place)
    sys.stdout.write("right\n" if right else "wrong\n")


def read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


if __name__ == "__main__":
    main(*sys.argv[1:])
