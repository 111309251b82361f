"""Files of a lesson: its pictures, saved models and the notes beside them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from common.file_access.files import write_with

PICTURE_BYTES = 64 * 1024
"""Size of the test file: about that of a picture."""


def check_writable(folder: Path) -> None:
    """Write and remove a test file in ``folder``, which is created if it is missing. Raises OSError."""

    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.write(bytes(PICTURE_BYTES))
            file.flush()
            os.fsync(file.fileno())

    trial = folder / "trial"
    try:
        write_with(trial, write)
    finally:
        with contextlib.suppress(OSError):
            trial.unlink(missing_ok=True)
