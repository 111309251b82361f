"""Files that are written whole or not at all: what was there before stays until the new one is complete."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

UNFINISHED = ".unfinished"
"""Folder beside the files for those being written: Keras looks at the ending of a name, so that must stay ".keras"."""
ROOM_BYTES = 64 * 1024
"""So much is tried out before training: a picture."""


def write(path: Path, save: Callable[[Path], object]) -> None:
    """``save(new)`` writes a file, which then takes the place of ``path``; raises OSError, ``path`` as it was."""
    folder = path.parent / UNFINISHED
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{os.getpid()}-{path.name}"
    try:
        save(new)
        with new.open("rb") as file:
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        with suppress(OSError):  # another run may be writing there
            folder.rmdir()


def write_json(path: Path, document: dict[str, Any]) -> None:
    """``document`` as JSON at ``path``; raises OSError."""
    text = json.dumps(document, indent=1) + "\n"
    write(path, lambda new: new.write_text(text, encoding="utf-8"))


def try_out(folder: Path) -> None:
    """Whether a picture could be written to ``folder``, which is made where it is missing; raises OSError."""

    def some(new: Path) -> None:
        with new.open("wb") as file:
            file.write(bytes(ROOM_BYTES))
            file.flush()
            os.fsync(file.fileno())

    try:
        write(folder / "trial", some)
    finally:
        with suppress(OSError):
            (folder / "trial").unlink(missing_ok=True)
