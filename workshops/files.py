"""Files that are written whole or not at all: what was there before stays until the new one is complete."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

UNFINISHED = ".unfinished"
"""Folder beside the files for those being written: Keras looks at the ending of a name, so that must stay ".keras"."""
ROOM_BYTES = 64 * 1024
"""So much is tried out before training: a picture."""


def write(path: Path, save: Callable[[Path], object], *, private: bool = False) -> None:
    """``save(new)`` writes a file, which then takes the place of ``path``; raises OSError, ``path`` as it was.

    A new file gets the permissions that the umask leaves, an existing one keeps its own. ``private``: for this user
    alone, 0600, and so is each folder that is missing, 0700.
    """
    folder = path.parent / UNFINISHED
    if private:
        for missing in reversed([one for one in (path.parent, *path.parent.parents) if not one.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
    new = folder / f"{os.getpid()}-{path.name}"
    try:
        save(new)
        if private:
            new.chmod(0o600)
        elif path.is_file():
            new.chmod(stat.S_IMODE(path.stat().st_mode))
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
