"""Extract .zip and .tar archives. No file is written outside the folder, and a failure leaves no partial result."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from common.file_access import inputs
from common.terminal.shown import shortened

MOST_MEMBERS = 200_000
"""Maximum number of files in an archive. The archive of the published film reviews has 100,000 files."""
_LARGEST_DIRECTORY = 64 << 20
_LONGEST_END = 65_535 + 22 + 20 + 56
"""Maximum size in bytes of the end record of a zip archive, including the longest comment and the Zip64 records."""
_LARGEST_PIECE = 4 << 20
_TAR_HEADERS = 256 << 20
"""Bytes allowed for the headers of a tar archive: about 1,024 for each file."""


class ArchiveError(Exception):
    """The archive is damaged or unsafe. The message is one sentence for the learner."""


def unpack(archive: Path, folder: Path, *, limit_bytes: int = 20_000_000_000) -> Path:
    """Extract the archive to ``folder``, which must not exist; raises ArchiveError.

    The whole archive is refused if it contains an absolute name, a name with "..", a link or a device, or if its files
    have more than ``limit_bytes`` in total.
    """
    if folder.exists():
        raise ArchiveError(f"{folder} already exists.")
    with _in_a_sentence(archive):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            room = limit_bytes
            for name, content in _members(archive, limit_bytes):
                target = new / _inside(archive, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with content, target.open("xb") as file:
                    room -= _copy(content, file, room, archive)
            new.rename(folder)
    return folder


def contents(
    archive: Path, wanted: Callable[[str], bool], *, limit_bytes: int = 1 << 20, total_bytes: int = 1 << 30
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of each file for which ``wanted`` is true. Raises ArchiveError as ``unpack`` does.

    Nothing is written to the disk. A wanted file of more than ``limit_bytes`` and an archive with more than
    ``total_bytes`` of extracted content are refused. Damage may be found only after the last file.
    """
    with _in_a_sentence(archive):
        for name, content in _members(archive, total_bytes):
            with content:
                if wanted(str(_inside(archive, name))):
                    text = content.read(limit_bytes + 1)
                    if len(text) > limit_bytes:
                        raise ArchiveError(
                            f"{archive} contains {shortened(name)!r} of more than {limit_bytes:,} bytes."
                        )
                    yield name, text


@contextlib.contextmanager
def _in_a_sentence(archive: Path) -> Iterator[None]:
    """Turn every error that reading an archive can raise into an ArchiveError."""
    try:
        yield
    except inputs.InputError as error:
        raise ArchiveError(f"Cannot extract {archive}: {error.reason}.") from None
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        reason = str(error).partition("\n")[0].rstrip(":.")
        raise ArchiveError(f"{archive} is damaged or not an archive: {reason}.") from None
    except (NotImplementedError, RuntimeError) as error:  # unknown compression, or a password
        raise ArchiveError(f"{archive} cannot be extracted: {error}.") from None
    except OSError as error:
        raise ArchiveError(f"Cannot extract {archive}: {error.strerror or error}.") from None


def _members(archive: Path, limit_bytes: int) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield (name, content) of every regular file. Folders are created as needed.

    The sizes in the directory of a zip archive are added up before anything is extracted.
    """
    with inputs.open_regular(archive) as file:
        if zipfile.is_zipfile(file):
            with open_zip(file, str(archive), limit_bytes) as packed:
                for info in packed.infolist():
                    kind = info.external_attr >> 16 & 0o170000
                    if kind not in (0, 0o100000, 0o040000):
                        raise ArchiveError(
                            f"{archive} contains a link or device ({shortened(info.filename)!r}): not extracted."
                        )
                    if not info.is_dir():
                        yield info.filename, packed.open(info)
            return
        file.seek(0)
        with _decompressed(file) as plain:
            bounded = cast("IO[bytes]", _BoundedStream(plain, limit_bytes, archive))
            with tarfile.open(fileobj=bounded, mode="r:") as rolled:
                yield from _tar_members(archive, rolled)
                while bounded.read(1 << 20):
                    pass  # Read to the end, where the checksum is.


def _tar_members(archive: Path, rolled: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for count, member in enumerate(rolled, 1):
        if count > MOST_MEMBERS:
            raise ArchiveError(f"{archive} contains more than {MOST_MEMBERS:,} files: not extracted.")
        if not (member.isreg() or member.isdir()):
            raise ArchiveError(
                f"{archive} contains a link or device ({shortened(member.name)!r}): not extracted."
            )
        content = rolled.extractfile(member) if member.isreg() else None
        if content is not None:
            yield member.name, content


def open_zip(file: BinaryIO, name: str, limit_bytes: int) -> zipfile.ZipFile:
    """Open a zip archive if its directory has a limited size and lists files of at most ``limit_bytes`` in total.

    zipfile reads at most as many bytes of a file as the directory lists. Raises ArchiveError, zipfile.BadZipFile,
    OSError.
    """
    size = _directory_bytes(file)
    if size > _LARGEST_DIRECTORY:
        raise ArchiveError(f"{name} has a directory of {size:,} bytes: not extracted.")
    packed = zipfile.ZipFile(file)
    infos = packed.infolist()
    total = sum(info.file_size for info in infos)
    problem = ""
    if len(infos) > MOST_MEMBERS:
        problem = f"contains {len(infos):,} files (at most {MOST_MEMBERS:,} are allowed)"
    elif total > limit_bytes:
        problem = f"contains {total:,} bytes when extracted (at most {limit_bytes:,} are allowed)"
    if problem:
        packed.close()
        raise ArchiveError(f"{name} {problem}: not extracted.")
    return packed


def _directory_bytes(file: BinaryIO) -> int:
    """Size of a zip archive's directory in bytes, from its end record (APPNOTE 4.3.14 and 4.3.16); 0 without one."""
    end = file.seek(0, io.SEEK_END)
    start = max(0, end - _LONGEST_END)
    file.seek(start)
    tail = file.read(_LONGEST_END)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 16:
        return 0
    size = int.from_bytes(tail[at + 12 : at + 16], "little")
    if size < 0xFFFFFFFF:
        return size
    at = tail.rfind(b"PK\x06\x06")
    return int.from_bytes(tail[at + 40 : at + 48], "little") if at >= 0 else size


def _decompressed(file: BinaryIO) -> IO[bytes]:
    """The decompressed stream of a tar archive."""
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file, mode="rb"))
    if start.startswith(b"BZh"):
        return cast("IO[bytes]", bz2.BZ2File(file))
    if start.startswith(b"\xfd7zXZ\0"):
        return cast("IO[bytes]", lzma.LZMAFile(file))
    return file


class _BoundedStream:
    """A stream that raises ArchiveError after ``limit`` bytes, or if one read asks for more than 4 MiB."""

    def __init__(self, stream: IO[bytes], limit: int, archive: Path) -> None:
        self._stream, self._archive = stream, archive
        self._limit = limit + _TAR_HEADERS

    def _check(self, position: int) -> None:
        if position > self._limit:
            raise ArchiveError(f"{self._archive} is far larger than expected when extracted: stopped.")

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _LARGEST_PIECE:  # a header with an impossible size
            raise ArchiveError(f"{self._archive} is far larger than expected when extracted: stopped.")
        self._check(self._stream.tell())
        return self._stream.read(size)

    def seek(self, position: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_SET:
            self._check(position)
        return self._stream.seek(position, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        """Do nothing: the code that opened the stream closes it."""


def _inside(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name or ":" in path.parts[0]:
        raise ArchiveError(f"{archive} contains {shortened(name)!r}, which points outside: not extracted.")
    return path


def _copy(content: IO[bytes], file: IO[bytes], room: int, archive: Path) -> int:
    shutil.copyfileobj(_Limited(content, room), file, 1 << 20)
    size = file.tell()
    if size > room:
        raise ArchiveError(f"{archive} is much larger than expected after extraction: stopped.")
    return size


class _Limited:
    """Read at most ``limit`` + 1 bytes."""

    def __init__(self, content: IO[bytes], limit: int) -> None:
        self.content, self.left = content, limit + 1

    def read(self, size: int = -1, /) -> bytes:
        piece = self.content.read(min(size, self.left) if size >= 0 else self.left)
        self.left -= len(piece)
        return piece
