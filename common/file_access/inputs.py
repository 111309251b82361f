"""Read a file that the user names: only regular files of limited size, and only text in valid UTF-8."""

from __future__ import annotations

import codecs
import os
import stat
from pathlib import Path
from typing import BinaryIO

from common.terminal.shown import place

_KINDS = (
    (stat.S_ISDIR, "Is a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a disk"),
    (stat.S_ISSOCK, "a socket"),
)
_KERNEL = ("/proc", "/sys")
"""Folders that are refused: files in them have no size, can be endless, or change the computer's state when read."""
_CHUNK = 1 << 20


class InputError(ValueError):
    """The file cannot be used; the message is one sentence that begins with its name.

    ``reason``: why the file could not be read, without its name; "" if it was read but its content cannot be used.
    ``missing``: the file does not exist.
    """

    reason = ""
    missing = False

    @classmethod
    def unread(cls, name: str, reason: str, *, missing: bool = False) -> InputError:
        error = cls(f"{name} cannot be read: {reason}")
        error.reason, error.missing = reason, missing
        return error


def open_regular(path: Path, name: str | None = None) -> BinaryIO:
    """Open a file for reading. Raises InputError if it is missing or not a regular file.

    Pipes and devices are never opened: that could block for ever or have side effects.
    """
    name = name or place(path)
    try:
        _refuse_irregular(path.stat(), name)
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        file = os.fdopen(handle, "rb")
        try:
            _refuse_irregular(os.fstat(handle), name)  # the file may have been replaced meanwhile
            return file
        except BaseException:
            file.close()
            raise
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise InputError.unread(name, error.strerror or str(error), missing=missing) from None
    except InputError:
        raise
    except ValueError:  # the name contains a NUL
        raise InputError.unread(name, "no file can have this name") from None


def read_bytes(path: Path, limit: int, name: str | None = None) -> bytes:
    """Read a whole regular file of at most ``limit`` bytes. Raises InputError."""
    name = name or place(path)
    with open_regular(path, name) as file:
        try:
            content = file.read(limit + 1)
        except OSError as error:
            raise InputError.unread(name, error.strerror or str(error)) from None
    if len(content) > limit:
        raise InputError(f"{name} is larger than {limit >> 20} MiB, the limit for such a file")
    return content


def text_of(content: bytes, name: str) -> str:
    """``content`` as text, without a byte order mark. Raises InputError with the position of the first invalid byte."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"{name} is not text in UTF-8 but in UTF-16: save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(_not_utf8(name, error.start, line)) from None


def read_text(path: Path, limit: int, name: str | None = None) -> str:
    """The text of a regular file of at most ``limit`` bytes. Raises InputError as ``read_bytes`` and ``text_of`` do."""
    name = name or place(path)
    return text_of(read_bytes(path, limit, name), name)


def check_utf8(file: BinaryIO, name: str) -> None:
    """Check that the rest of ``file`` is valid UTF-8; reads it in blocks. Raises InputError as ``text_of`` does."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    start, line = 0, 1
    while True:
        chunk = file.read(_CHUNK)
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            within = max(0, error.start - pending)
            where = start - pending + error.start
            raise InputError(_not_utf8(name, where, line + chunk.count(b"\n", 0, within))) from None
        if not chunk:
            return
        start += len(chunk)
        line += chunk.count(b"\n")


def _not_utf8(name: str, byte: int, line: int) -> str:
    return f"{name} is not text in UTF-8 (byte {byte}, on line {line}): save it as UTF-8"


def _refuse_irregular(found: os.stat_result, name: str) -> None:
    if stat.S_ISREG(found.st_mode):
        if found.st_dev not in _kernel_devices():
            return
        what = "a file that the kernel generates"
    else:
        what = next((word for test, word in _KINDS if test(found.st_mode)), "of another kind")
    raise InputError.unread(name, f"{what}, not a regular file")


def _kernel_devices() -> set[int]:
    found = set()
    for folder in _KERNEL:
        try:
            if os.path.ismount(folder):
                found.add(Path(folder).stat().st_dev)
        except OSError:
            continue
    return found
