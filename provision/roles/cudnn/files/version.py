"""Loads cuDNN from the environment of this Python and prints its version, such as 9.10.2. Exit code 1: not loaded."""

from __future__ import annotations

import ctypes
import sysconfig
from pathlib import Path


def version(packages: Path) -> str:
    """The version that the library reports. Raises OSError if it does not exist or cannot be loaded."""
    folder = packages / "nvidia" / "cudnn" / "lib"
    found = sorted(folder.glob("libcudnn.so.*"))
    if not found:
        raise OSError(f"there is no libcudnn in {folder}")
    ask = ctypes.CDLL(str(found[-1])).cudnnGetVersion
    ask.restype = ctypes.c_size_t
    number = int(ask())
    # From cuDNN 9 on the number has five digits or more, before it had four.
    major = number // 10000 if number >= 90000 else number // 1000
    return f"{major}.{number // 100 % (100 if number >= 90000 else 10)}.{number % 100}"


if __name__ == "__main__":
    try:
        print(version(Path(sysconfig.get_path("purelib"))))
    except OSError as error:
        raise SystemExit(str(error)) from None
