"""One file of certificates, the box's own and the company's: run on the box by the role network.

Standard library only, Python 3.8 or later. ``trusted.py look|make FILE COMPANY BOX SHA256``: FILE is to hold what the
files BOX (where there is one) and COMPANY hold; SHA256 is that of COMPANY on the controller. It prints ``right``, or
``wrong`` where something is to be done; ``make`` does it.
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
