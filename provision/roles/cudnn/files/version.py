"""Loads cuDNN from this Python's environment and prints the version that it says, as in 9.10.2; 1 where it cannot."""

from __future__ import annotations

import ctypes
import sysconfig
from pathlib import Path


def version(packages: Path) -> str:
    """Raises OSError where there is none, or it does not load."""
    folder = packages / "nvidia" / "cudnn" / "lib"
    found = sorted(folder.glob("libcudnn.so.*"))
    if not found:
        raise OSError(f"there is no libcudnn in {folder}")
    ask = ctypes.CDLL(str(found[-1])).cudnnGetVersion
    ask.restype = ctypes.c_size_t
    number = int(ask())
    # From release 9 on a major release has five digits, before four.
    major = number // 10000 if number >= 90000 else number // 1000
    return f"{major}.{number // 100 % (100 if number >= 90000 else 10)}.{number % 100}"


if __name__ == "__main__":
    try:
        print(version(Path(sysconfig.get_path("purelib"))))
    except OSError as error:
        raise SystemExit(str(error)) from None
