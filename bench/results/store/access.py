"""Opens the history: in the user's data folder, or in a temporary folder if that cannot be written to."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bench.results.store.history import CorruptHistoryError, History, HistoryError, default_path
from common.file_access.files import reason

WRITE_HERE = "set XDG_DATA_HOME to a folder that you can write to"
MAKE_ROOM = f"free disk space and make the folder writable, or {WRITE_HERE}"
_NAME = "history.sqlite"
BRING_BACK = "restore its runs from an export with `dlbox history import`, or replace the file with a backup"


class HistoryProblem(NamedTuple):
    """A problem of the history, as one sentence, and the next step."""

    message: str
    remedy: str


def open_history() -> tuple[History, list[HistoryProblem]]:
    """A history to write to, and the problems with the usual one.

    A damaged history is renamed, and a new one is created. A history that cannot be written to is not changed; a new
    one in a folder of this user below the temporary directory replaces it.

    Raises HistoryError if that folder cannot be used either.
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
            message = f"the history was damaged: it was renamed to {aside}, and a new history was created."
            return History(path), [HistoryProblem(message, BRING_BACK)]
        except (OSError, HistoryError) as error:
            problem = f"the history {path} is damaged, and a new one cannot be created ({reason(error).rstrip('.')})"
    except HistoryError as error:
        problem = str(error).rstrip(".")
    try:
        found = _temporary_history()
    except (OSError, HistoryError) as error:
        raise HistoryError(
            f"{problem}, and neither can a temporary folder be used ({reason(error).rstrip('.')})."
        ) from error
    return found, [HistoryProblem(f"{problem}; this run is stored in {found.path}: {WRITE_HERE}.", MAKE_ROOM)]


def _temporary_history() -> History:
    """A history below the temporary directory: that of earlier runs if it can be used, else one in a new folder.

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
    """Open a history and check every page: opening alone reads only a few. Raises CorruptHistoryError, HistoryError."""
    history = History(path)
    try:
        history.examine()
    except HistoryError:
        history.close()  # if it stayed open, it would remove the write-ahead log of its replacement
        raise
    return history


def open_history_to_read() -> History | None:
    """The user's history, or None if nothing has been measured yet.

    Every page is checked, because a command may read a part that is intact. Raises CorruptHistoryError, HistoryError.
    """
    path = default_path()
    try:
        if not path.exists():
            return None
    except OSError as error:
        raise HistoryError(f"cannot read the history {path}: {reason(error)}.") from error
    try:
        return _examined(path)
    except CorruptHistoryError:
        raise
    except HistoryError:
        return History(path, read_only=True)


def _private_folder() -> tuple[Path, bool]:
    """A folder below the temporary directory that only this user can access, and whether it is new.

    Its name is predictable, so that the next run finds it. Another user can have created a file, link or folder of this
    name; then a folder with a random name is created. Raises OSError.
    """
    try:
        below = Path(tempfile.gettempdir())
    except FileNotFoundError as error:  # Python found no directory that it can write to
        raise OSError(error.errno, "no temporary directory is writable and has free space") from error
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
