"""Write a file whole or not at all, and know what is no file: stdout, a pipe, a device."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from common.shown import on_terminal

STANDARD = Path("-")

_DESCRIPTORS = re.compile(r"/proc/(self|thread-self|\d+)(/task/\d+)?/fd/(\d+)")
_MOST_LINKS = 40
"""As many as Linux follows."""


def write_atomically(path: Path, content: str | bytes, *, private: bool = False, follow: bool = True) -> None:
    """Write ``content`` (text as UTF-8) to a temporary name beside ``path``, flush it to the disk, rename it.

    A new file gets the permissions that the umask leaves, an existing one keeps its own. ``private``: for this user
    alone (0600, missing folders 0700) whatever the umask. A link stays one: what it points to is written. "-" and
    names of this process's open files (/dev/stdout) are written to as they are open, pipes and character devices as
    they are, for there is nothing to rename. ``follow`` False is for names that dlbox made: a link, pipe or device
    there is replaced, so nothing beyond the folder of ``path`` is written.

    Raises OSError, also where stdout is full or closed; a file then still has its former content, and nothing else is
    left behind.
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
            raise OSError(errno.EINVAL, "a disk is no file to write results to")
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
    """``permissions`` None: those of a new file, which the kernel takes from the umask."""
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


def private_folder(path: Path) -> None:
    """Make ``path`` and the folders that are missing above it, for this user alone. Raises OSError."""
    missing = []
    for folder in (path, *path.parents):
        if folder.exists():
            break
        missing.append(folder)
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    if not path.is_dir():
        path.mkdir()  # says what is wrong with it


def for_owner_only(path: Path) -> None:
    """Take the rights of group and others from a file or folder of this user; any other is left as it is."""
    with contextlib.suppress(OSError):
        status = path.stat()
        if status.st_uid == os.geteuid() and status.st_mode & 0o077:
            path.chmod(stat.S_IMODE(status.st_mode) & ~0o077)


def safe_name(*parts: object, most: int = 100) -> str:
    """One file name made of ``parts``, joined by dashes: ASCII letters, digits, "_", "-" and single dots inside.

    It is never empty, hidden or longer than ``most`` characters. Where characters were replaced or cut off, a part of
    the SHA-256 of the whole keeps two names apart.
    """
    wanted = "-".join(text for text in map(str, parts) if text)
    made = re.sub(r"\.{2,}", "_", re.sub(r"[^A-Za-z0-9_.-]", "_", wanted)).strip(".")
    if made == wanted and 0 < len(made) <= most and not made.startswith("-"):
        return made
    mark = hashlib.sha256(wanted.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{made[: most - 9].strip('.-') or 'unnamed'}-{mark}"


def inside(folder: Path, *names: str) -> Path:
    """``folder``/``names``, each as ``safe_name`` makes it. Raises OSError where a link below ``folder`` leads out."""
    path = folder.joinpath(*(safe_name(name) for name in names))
    if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(folder)):
        raise OSError(errno.ELOOP, f"a link below {folder} leads to another folder")
    return path


def _straight(path: Path, data: bytes) -> None:
    """Never made anew: Linux refuses O_CREAT on another user's pipe in a folder that all may write to."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_NOCTTY), "wb") as out:
        out.write(data)


def _to_descriptor(number: int, data: bytes) -> None:
    if number == 1:
        _to_stdout(data)
        return
    with os.fdopen(os.dup(number), "wb") as out:
        out.write(data)


def to_stdout(text: str) -> None:
    """What a program reads: as UTF-8, whatever the terminal shows. Raises OSError."""
    _to_stdout(_bytes(on_terminal(text, sys.stdout)))


def _to_stdout(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
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
