"""Files that a lesson writes: pictures, saved models, and a JSON file of notes beside each model."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from common.file_access.files import write_with

PICTURE_BYTES = 64 * 1024
"""Size of the test file in bytes: about that of a picture."""


def check_writable(folder: Path) -> None:
    """Check that ``folder`` is writable: create it if it is missing, then write and remove a test file. Raises
    OSError."""

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
