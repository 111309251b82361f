"""Where results go: the user's data folder, or a stand-in when that cannot be written to."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bench.results.store.history import CorruptHistoryError, History, HistoryError, default_path
from common.files import reason

WRITE_HERE = "set XDG_DATA_HOME to a folder that you can write to"
MAKE_ROOM = f"make room there and make it writable, or {WRITE_HERE}"
BRING_BACK = "bring its runs back with `dlbox history import` from an export, or put a copy in its place"


class Problem(NamedTuple):
    """One sentence, and what helps."""

    message: str
    remedy: str


def open_history() -> tuple[History, list[Problem]]:
    """A store to write to, and what is not as it should be.

    A store that is damaged anywhere is kept under another name and a new one begun; one that cannot be written to is
    left alone, and a folder of this user below the temporary directory stands in for it.

    Raises HistoryError when even that folder cannot be used.
    """
    path = default_path()
    try:
        return _examined(path), []
    except CorruptHistoryError:
        aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        try:
            for suffix in ("-wal", "-shm", ""):
                part = path.with_name(path.name + suffix)
                if part.exists():
                    part.rename(aside.with_name(aside.name + suffix))
            told = f"the history was damaged: it is kept as {aside}, and a new one is begun."
            return History(path), [Problem(told, BRING_BACK)]
        except (OSError, HistoryError) as error:
            problem = (
                f"the history {path} is damaged, and no new one can be begun ({reason(error).rstrip('.')})"
            )
    except HistoryError as error:
        problem = str(error).rstrip(".")
    try:
        stand_in = _private_folder() / "history.sqlite"
        found = _examined(stand_in)
    except (OSError, HistoryError) as error:
        raise HistoryError(
            f"{problem}, and nothing stands in for it ({reason(error).rstrip('.')})."
        ) from error
    return found, [Problem(f"{problem}; this run is kept in {stand_in}: {WRITE_HERE}.", MAKE_ROOM)]


def _examined(path: Path) -> History:
    """Opening reads a few pages, and most runs are on others. Raises CorruptHistoryError, HistoryError."""
    history = History(path)
    try:
        history.examine()
    except HistoryError:
        history.close()  # or it would remove the write-ahead log of the store that comes in its place
        raise
    return history


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
    """A folder below the temporary directory that is this user's and nobody else's. Raises OSError."""
    try:
        below = Path(tempfile.gettempdir())
    except FileNotFoundError as error:  # Python tries to write to each that it knows of
        raise OSError(error.errno, "no temporary directory has room or can be written to") from error
    folder = below / f"dlbox-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077 or folder.is_symlink():
        folder = Path(tempfile.mkdtemp(prefix="dlbox-"))
    return folder
