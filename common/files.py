"""Write a file whole or not at all, and know what is no file: stdout, a pipe, a device."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

STANDARD = Path("-")

_DESCRIPTORS = re.compile(r"/proc/(self|thread-self|\d+)(/task/\d+)?/fd/(\d+)")
_MOST_LINKS = 40
"""As many as Linux follows."""


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to a temporary name beside ``path``, flush it to the disk, rename it.

    A link stays one: what it points to is written. "-" and names of this process's open files (/dev/stdout) are
    written to as they are open, pipes and character devices as they are, for there is nothing to rename.

    Raises OSError, also where stdout is full or closed; a file then still has its former content, and nothing else is
    left behind.
    """
    number = descriptor(path)
    if number is not None:
        _to_descriptor(number, text)
        return
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG | 0o644
    if stat.S_ISBLK(mode):
        raise OSError(errno.EINVAL, "a disk is no file to write results to")
    if not stat.S_ISREG(mode):
        _straight(path, text)
        return
    _replace(Path(os.path.realpath(path)), text, stat.S_IMODE(mode))


def _replace(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(_bytes(text))
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _straight(path: Path, text: str) -> None:
    """Never made anew: Linux refuses O_CREAT on another user's pipe in a folder that all may write to."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_NOCTTY), "wb") as out:
        out.write(_bytes(text))


def _to_descriptor(number: int, text: str) -> None:
    if number == 1:
        to_stdout(text)
        return
    with os.fdopen(os.dup(number), "wb") as out:
        out.write(_bytes(text))


def to_stdout(text: str) -> None:
    """What a program reads: as UTF-8, whatever the terminal shows. Raises OSError."""
    sys.stdout.flush()
    sys.stdout.buffer.write(_bytes(text))
    sys.stdout.flush()


def _bytes(text: str) -> bytes:
    """A path in it may be no text: what cannot be UTF-8 becomes a question mark."""
    return text.encode(errors="replace")


def descriptor(path: Path) -> int | None:
    """Of "-", /dev/stdout, /dev/fd/3 and what links to them: the number of this process's open file, else None."""
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
    """Whether what is written to ``path`` comes out on stdout, however it is called."""
    return isinstance(path, Path) and descriptor(path) == 1


def clash(wanted: Iterable[tuple[str, object]], *, taken: str | None) -> str | None:
    """Why stdout cannot hold what was asked for, as one sentence, or None.

    ``wanted``: options with their values. ``taken``: an option that prints there, or None.
    """
    there = [option for option, value in wanted if is_stdout(value)]
    users = [*([taken] if taken else []), *there]
    if there and len(users) > 1:
        return f"only one of {' and '.join(users)} can go to stdout: name a file for the other"
    return None


def told(path: Path) -> str:
    """The path, or "stdout"."""
    return "stdout" if is_stdout(path) else str(path)


def reason(error: BaseException) -> str:
    """ "No space left on device" rather than "[Errno 28] No space left on device: 'x'"."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


UNFINISHED_FOLDER = ".unfinished"
"""Folder for files that are being written: Keras requires the name to end in ".keras", so the name stays the same."""


def write_with(path: Path, save: Callable[[Path], object]) -> None:
    """Call ``save(temporary)``, which writes a file; then put that file in the place of ``path``.

    For libraries that write files themselves. Raises OSError; ``path`` then still has its former content.
    """
    folder = path.parent / UNFINISHED_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{os.getpid()}-{path.name}"
    try:
        save(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another process may be writing there
            folder.rmdir()
