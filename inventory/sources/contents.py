"""Open a report: a file, a folder, an archive or stdin, as named texts of limited size. Links are never followed.

Nothing is extracted to disk: the members of an archive are read in memory, and only within the limits below.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import re
import stat
import sys
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import msgspec

from common.file_access.inputs import InputError, open_regular
from common.terminal.shown import place

MOST_BYTES = 256 << 20
"""Bytes of all texts together, after decompression. A bug report of NVIDIA has up to 20 MB."""
MOST_FILES = 5_000
_LARGEST_FILE = 64 << 20
"""A longer file is cut: its first half and its last half are read."""
_MOST_NESTED = 2
"""Archives within archives: nvidia-bug-report.log.gz in a tar."""

_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, ValueError, OverflowError)
_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
_ZSTD, _GZIP, _XZ, _BZIP2, _ZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh", b"PK\x03\x04"


class ReportError(ValueError):
    """The report cannot be used; the message is one sentence."""


class NamedText(msgspec.Struct, frozen=True):
    """One text of a report. ``name``: its path within the report, with "/" between the folders."""

    name: str
    text: str


class _Budget:
    """Counts bytes and files, so that a report that expands without end is refused."""

    def __init__(self, shown: str) -> None:
        self.shown, self.bytes, self.files = shown, 0, 0

    def take(self, data: bytes) -> bytes:
        self.bytes += len(data)
        if self.bytes > MOST_BYTES:
            raise ReportError(
                f"{self.shown} contains more than {MOST_BYTES >> 20} MiB of text, the limit for a report"
            )
        return data

    def file(self) -> None:
        self.files += 1
        if self.files > MOST_FILES:
            raise ReportError(f"{self.shown} contains more than {MOST_FILES} files, the limit for a report")


def texts(path: Path) -> list[NamedText]:
    """The texts of the report at ``path``; "-" is stdin. Raises ReportError if it cannot be read or is damaged."""
    shown = "stdin" if str(path) == "-" else place(path)
    budget = _Budget(shown)
    if str(path) == "-":
        return list(_expanded("stdin", budget.take(read_stdin()), budget, 0))
    try:
        if path.is_dir():
            return list(_folder(path, budget))
        with open_regular(path, shown) as file:
            data = _limited(file, budget)
    except InputError as error:
        raise ReportError(str(error)) from None
    except (OSError, ValueError) as error:
        raise ReportError(f"{shown} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return list(_expanded(path.name, data, budget, 0))


def read_stdin() -> bytes:
    """The report on stdin, at most one byte more than the limit. Raises ReportError."""
    try:
        if sys.stdin is None or sys.stdin.isatty():
            raise ReportError("stdin is a terminal: pass a file to --from, or redirect the report to stdin")
        return sys.stdin.buffer.read(MOST_BYTES + 1)
    except (OSError, ValueError, AttributeError) as error:
        if isinstance(error, ReportError):
            raise
        raise ReportError(f"stdin cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _folder(folder: Path, budget: _Budget) -> Iterator[NamedText]:
    """All regular files below ``folder``, by name. Links, pipes and devices are left out."""
    for parent, folders, files in os.walk(folder, followlinks=False):
        folders.sort()
        for name in sorted(files):
            file = Path(parent) / name
            try:
                if not stat.S_ISREG(file.lstat().st_mode):
                    continue
                budget.file()
                with open_regular(file) as opened:
                    data = _limited(opened, budget)
            except (OSError, InputError):
                continue  # a file that this user may not read: the rest of the report counts
            yield from _expanded(file.relative_to(folder).as_posix(), data, budget, 0)


def _limited(file: IO[bytes], budget: _Budget) -> bytes:
    """The content; of a file above the limit only its beginning and its end."""
    data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ReportError(f"{budget.shown} is larger than {MOST_BYTES >> 20} MiB, the limit for a report")
    return data


def _expanded(name: str, data: bytes, budget: _Budget, depth: int) -> Iterator[NamedText]:
    """The texts in ``data``: itself, or what it contains if it is compressed or an archive."""
    if data.startswith(_ZIP):
        raise ReportError(f"{budget.shown} contains a ZIP archive: unpack it and pass the folder")
    if data.startswith((_ZSTD, _GZIP, _XZ, _BZIP2)):
        data = _unpacked(name, data, budget, depth)
    if _is_tar(data):
        yield from _members(name, data, budget, depth)
        return
    yield NamedText(name, decoded(budget.take(_cut(data))))


def _unpacked(name: str, data: bytes, budget: _Budget, depth: int) -> bytes:
    if depth > _MOST_NESTED:
        raise ReportError(
            f"{budget.shown} contains archives within archives within archives: unpack it first"
        )
    try:
        with _decompressor(data, budget) as stream:
            left = MOST_BYTES - budget.bytes
            content = stream.read(left + 1)
    except ReportError:
        raise
    except _ERRORS as error:
        raise ReportError(f"{budget.shown}: {_inner(name, budget)}is damaged: {_reason(error)}") from None
    if len(content) > left:
        raise ReportError(
            f"{budget.shown} contains more than {MOST_BYTES >> 20} MiB of text, the limit for a report"
        )
    return content


def _decompressor(data: bytes, budget: _Budget) -> IO[bytes]:
    stream = io.BytesIO(data)
    if data.startswith(_ZSTD):
        try:
            from compression import zstd  # type: ignore[import-not-found, unused-ignore]  # Python 3.14
        except ImportError:
            raise ReportError(
                f"{budget.shown} is compressed with zstd: unpack it first with `unzstd`"
            ) from None
        opened: IO[bytes] = zstd.open(stream)
        return opened
    if data.startswith(_GZIP):
        return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    if data.startswith(_XZ):
        return lzma.LZMAFile(stream)
    return bz2.BZ2File(stream)


def _is_tar(data: bytes) -> bool:
    return len(data) >= 512 and data[257:262] == b"ustar"


def _members(name: str, data: bytes, budget: _Budget, depth: int) -> Iterator[NamedText]:
    """The regular files of a tar archive. Links, devices and folders are left out; names are never used as paths."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                budget.file()
                if not member.isreg() or member.sparse is not None:
                    continue
                opened = archive.extractfile(member)
                if opened is None:
                    continue
                content = opened.read()
                if len(content) < member.size:
                    raise ReportError(f"{budget.shown}: {_inner(name, budget)}is damaged: it ends too early")
                yield from _expanded(member.name, content, budget, depth + 1)
    except ReportError:
        raise
    except (*_ERRORS, RecursionError) as error:
        raise ReportError(f"{budget.shown}: {_inner(name, budget)}is damaged: {_reason(error)}") from None


def _inner(name: str, budget: _Budget) -> str:
    shown = place(Path(name))
    return "the archive " if budget.shown.endswith(Path(name).name) else f"the file {shown} in it "


def _reason(error: BaseException) -> str:
    text = " ".join(str(getattr(error, "strerror", None) or error).split()).rstrip(".")
    return text[:100] or type(error).__name__


def _cut(data: bytes) -> bytes:
    if len(data) <= _LARGEST_FILE:
        return data
    half = _LARGEST_FILE // 2
    return data[:half] + b"\n" + data[-half:]


def decoded(data: bytes) -> str:
    """``data`` as text with "\\n" line ends, without terminal escapes and NUL: UTF-8, UTF-16 or Latin-1."""
    text = _decoded(data).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    if "\x1b" in text:
        text = _ESCAPE.sub("", text)
    return text.removeprefix("\ufeff").translate(_SPACES)


_SPACES = {
    0xA0: " ",
    0x2007: " ",
    0x202F: " ",
    0x0B: "\n",
    0x0C: "\n",
    0x85: "\n",
    0x2028: "\n",
    0x2029: "\n",
}
"""Spaces of web pages, and characters that end a line."""


def _decoded(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    head = data[:4096]
    if (
        len(head) >= 8 and head.count(0) > len(head) // 4
    ):  # UTF-16 without a mark, as PowerShell's ">" can write
        little = head[1::2].count(0) >= head[::2].count(0)
        return data.decode("utf-16-le" if little else "utf-16-be", "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
