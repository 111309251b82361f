"""Write files atomically; recognise paths that are not regular files: stdout, pipes, devices."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from common.terminal.shown import on_terminal

STANDARD = Path("-")

STALE_S = 3600.0
"""A temporary file to which nobody has written for this many seconds belongs to a killed process. Writing the largest
file of dlbox takes seconds."""
_TEMPORARY = re.compile(r"\.dlbox-[0-9a-f]{16}")
"""Names of the temporary files of ``write_atomically``."""
_UNFINISHED = re.compile(r"\d+-.+", re.DOTALL)
"""Names of the temporary files of ``write_with``: the id of the process, then the name of the file."""

_DESCRIPTORS = re.compile(r"/proc/(self|thread-self|\d+)(/task/\d+)?/fd/(\d+)")
_MOST_LINKS = 40
"""Maximum number of symbolic links to follow; the limit of Linux is the same."""


def write_atomically(path: Path, content: str | bytes, *, private: bool = False, follow: bool = True) -> None:
    """Write ``content`` (text as UTF-8) to a temporary file beside ``path``, flush it to the disk, rename it.

    A new file gets its permissions from the umask; an existing file keeps its permissions. ``private`` restricts the
    file to this user (0600, missing folders 0700) whatever the umask is. A symbolic link stays: its target is written.
    "-" and names of this process's open files (/dev/stdout) are written directly, as are pipes and character devices,
    because they cannot be renamed. Use ``follow`` False for names that dlbox made: a link, pipe or device of that name
    is replaced, so that nothing outside the folder of ``path`` is written.

    Raises OSError, also if stdout is full or closed. After an error a file has its former content, and no temporary
    file remains. A process that was killed can leave one; the next write to the same folder after ``STALE_S`` removes
    it.
    """
    data = content if isinstance(content, bytes) else _bytes(content)
    number = descriptor(path) if follow else None
    if number is not None:
        _to_descriptor(number, data)
        return
    mode = None
    with contextlib.suppress(FileNotFoundError):
        mode = path.stat().st_mode if follow else path.lstat().st_mode
    if follow:
        if mode is not None and stat.S_ISBLK(mode):
            raise OSError(errno.EINVAL, "a disk cannot be a result file")
        if mode is not None and not stat.S_ISREG(mode):
            _straight(path, data)
            return
        path = Path(os.path.realpath(path))
    permissions = stat.S_IMODE(mode) if mode is not None and stat.S_ISREG(mode) else None
    if private:
        private_folder(path.parent)
        permissions = 0o600
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, data, permissions)


def _replace(path: Path, data: bytes, permissions: int | None) -> None:
    """``permissions``: None lets the kernel derive them from the umask."""
    _remove_stale(path.parent, _TEMPORARY)
    temporary = path.parent / f".dlbox-{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    handle = os.open(temporary, flags, 0o666 if permissions is None else 0o600)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            if permissions is not None:
                os.fchmod(out.fileno(), permissions)
            os.fsync(out.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _remove_stale(folder: Path, names: re.Pattern[str]) -> None:
    """Remove this user's regular files in ``folder`` whose whole name matches and that nobody has written to for
    ``STALE_S``. Errors are ignored, because the write that follows does not depend on it."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not names.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
                continue
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if status.st_uid == os.geteuid() and time.time() - status.st_mtime > STALE_S:
                    Path(entry.path).unlink()


def private_folder(path: Path) -> None:
    """Make ``path`` and its missing parent folders, accessible to this user only. Raises OSError."""
    missing = []
    for folder in (path, *path.parents):
        if folder.exists():
            break
        missing.append(folder)
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    if not path.is_dir():
        path.mkdir()  # raises the error that explains why


def for_owner_only(path: Path) -> None:
    """Remove the permissions of group and others from a file or folder if it belongs to this user."""
    with contextlib.suppress(OSError):
        status = path.stat()
        if status.st_uid == os.geteuid() and status.st_mode & 0o077:
            path.chmod(stat.S_IMODE(status.st_mode) & ~0o077)


def safe_name(*parts: object, most: int = 100) -> str:
    """One file name made of ``parts``, joined by dashes: ASCII letters, digits, "_", "-" and single dots inside.

    The name is never empty, hidden or longer than ``most`` characters. If characters were replaced or cut off, eight
    digits of the SHA-256 of the original are appended, so that different originals get different names.
    """
    wanted = "-".join(text for text in map(str, parts) if text)
    made = re.sub(r"\.{2,}", "_", re.sub(r"[^A-Za-z0-9_.-]", "_", wanted)).strip(".")
    if made == wanted and 0 < len(made) <= most and not made.startswith("-"):
        return made
    mark = hashlib.sha256(wanted.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{made[: most - 9].strip('.-') or 'unnamed'}-{mark}"


def inside(folder: Path, *names: str) -> Path:
    """``folder``/``names``, each made safe by ``safe_name``. Raises OSError if a link leads out of ``folder``."""
    path = folder.joinpath(*(safe_name(name) for name in names))
    if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(folder)):
        raise OSError(errno.ELOOP, f"a link below {folder} leads to another folder")
    return path


def _straight(path: Path, data: bytes) -> None:
    """Write without replacing the file. O_CREAT is not used: Linux refuses it for another user's pipe in /tmp."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_NOCTTY), "wb") as out:
        out.write(data)


def _to_descriptor(number: int, data: bytes) -> None:
    if number == 1:
        _to_stdout(data)
        return
    with os.fdopen(os.dup(number), "wb") as out:
        out.write(data)


def to_stdout(text: str) -> None:
    """Write text for programs to stdout as UTF-8, whatever encoding the terminal has. Raises OSError."""
    _to_stdout(_bytes(on_terminal(text, sys.stdout)))


def _to_stdout(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def _bytes(text: str) -> bytes:
    """Encode as UTF-8. A path may contain bytes that are not UTF-8; each becomes a question mark."""
    return text.encode(errors="replace")


def descriptor(path: Path) -> int | None:
    """File descriptor of this process that the path means ("-", /dev/stdout, /dev/fd/3, a link to them), or None."""
    if path == STANDARD:
        return 1
    for _ in range(_MOST_LINKS):
        path = Path(os.path.realpath(path.parent)) / path.name
        found = _DESCRIPTORS.fullmatch(str(path))
        if found and found[1] in ("self", "thread-self", str(os.getpid())):
            return int(found[3])
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None


def is_stdout(path: object) -> bool:
    """Whether ``path`` means this process's stdout, such as "-" or /dev/stdout."""
    return isinstance(path, Path) and descriptor(path) == 1


def clash(outputs: Iterable[tuple[str, object]], *, taken: str | None) -> str | None:
    """One sentence if more than one option writes to stdout, else None.

    ``outputs``: output options with their paths. ``taken``: an option that always prints to stdout, or None.
    """
    there = [option for option, value in outputs if is_stdout(value)]
    users = [*([taken] if taken else []), *there]
    if there and len(users) > 1:
        return f"only one of {' and '.join(users)} can go to stdout: name a file for the other"
    return None


def display_name(path: Path) -> str:
    """The path for a message; "stdout" for every name of stdout."""
    return "stdout" if is_stdout(path) else str(path)


def reason(error: BaseException) -> str:
    """The error without its number and file name: "No space left on device", not "[Errno 28] No space ...: 'x'"."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


UNFINISHED_FOLDER = ".unfinished"
"""Folder for unfinished files. Keras requires names that end in ".keras", so only the folder differs."""


def write_with(path: Path, save: Callable[[Path], object]) -> None:
    """Call ``save(temporary)``, which writes a file; then put that file in the place of ``path``.

    For libraries that write files themselves. A new file gets its permissions from the umask; an existing file keeps
    its permissions. Raises OSError; ``path`` then still has its former content.
    """
    folder = path.parent / UNFINISHED_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder, _UNFINISHED)
    temporary = folder / f"{os.getpid()}-{path.name}"
    try:
        save(temporary)
        if path.is_file():
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another process may be writing there
            folder.rmdir()
