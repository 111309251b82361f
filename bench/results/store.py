"""Where results go: the user's data folder, or a stand-in when that cannot be written to."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from bench.results.files import reason
from bench.results.history import CorruptHistoryError, History, HistoryError, default_path

WRITE_HERE = "set XDG_DATA_HOME to a folder that you can write to"


def open_history() -> tuple[History, list[str]]:
    """A store to write to, and one sentence for each thing that is not as it should be.

    A damaged store is kept under another name and a new one begun; one that cannot be written to is
    left alone, and a folder of this user below the temporary directory stands in for it.

    Raises HistoryError when even that folder cannot be used.
    """
    path = default_path()
    try:
        return History(path), []
    except CorruptHistoryError:
        aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        try:
            for suffix in ("-wal", "-shm", ""):
                part = path.with_name(path.name + suffix)
                if part.exists():
                    part.rename(aside.with_name(aside.name + suffix))
            return History(path), [f"the history was damaged: it is kept as {aside}, and a new one is begun."]
        except OSError as error:
            problem = f"the history {path} is damaged and cannot be moved away ({reason(error)})"
    except HistoryError as error:
        problem = str(error).rstrip(".")
    stand_in = _private_folder() / "history.sqlite"
    return History(stand_in), [f"{problem}; this run is kept in {stand_in}: {WRITE_HERE}."]


def open_history_to_read() -> History | None:
    """The user's store, or None where nothing has been measured yet. Raises HistoryError."""
    path = default_path()
    try:
        if not path.exists():
            return None
    except OSError as error:
        raise HistoryError(f"cannot read the history {path}: {reason(error)}.") from error
    try:
        return History(path)
    except CorruptHistoryError:
        raise
    except HistoryError:
        return History(path, read_only=True)


def _private_folder() -> Path:
    """A folder below the temporary directory that is this user's and nobody else's."""
    folder = Path(tempfile.gettempdir()) / f"dlbox-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if status.st_uid != os.getuid() or status.st_mode & 0o077 or folder.is_symlink():
            folder = Path(tempfile.mkdtemp(prefix="dlbox-"))
    except OSError as error:
        raise HistoryError(
            f"no folder to keep results in: {folder}: {reason(error)}; {WRITE_HERE}."
        ) from error
    return folder
