"""Where results go: the user's data folder, or a stand-in when that cannot be written to."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bench.results.store.history import CorruptHistoryError, History, HistoryError, default_path
from common.files import reason

WRITE_HERE = "set XDG_DATA_HOME to a folder that you can write to"
MAKE_ROOM = f"make room there and make it writable, or {WRITE_HERE}"
_NAME = "history.sqlite"
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
        found = _stand_in()
    except (OSError, HistoryError) as error:
        raise HistoryError(
            f"{problem}, and nothing stands in for it ({reason(error).rstrip('.')})."
        ) from error
    return found, [Problem(f"{problem}; this run is kept in {found.path}: {WRITE_HERE}.", MAKE_ROOM)]


def _stand_in() -> History:
    """A history below the temporary directory: where earlier runs went if that can be used, else in a new folder.

    Raises OSError, HistoryError.
    """
    folder, fresh = _private_folder()
    try:
        return _examined(folder / _NAME)
    except HistoryError:
        if fresh:
            raise
    return _examined(_fresh_folder(folder.parent) / _NAME)


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


def _private_folder() -> tuple[Path, bool]:
    """A folder below the temporary directory that is this user's and nobody else's, and whether it is a new one.

    Its name can be foreseen, so that the next run finds it, and so another user can have taken it: for a file, a link
    or a folder of their own. Then a new folder is made, whose name cannot be foreseen. Raises OSError.
    """
    try:
        below = Path(tempfile.gettempdir())
    except FileNotFoundError as error:  # Python tries to write to each that it knows of
        raise OSError(error.errno, "no temporary directory has room or can be written to") from error
    folder = below / f"dlbox-{os.geteuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    mine = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    if mine and status.st_mode & 0o777 == 0o700:
        return folder, False
    return _fresh_folder(below), True


def _fresh_folder(below: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix="dlbox-", dir=below))
