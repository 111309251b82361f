"""Unpack .zip and .tar archives so that nothing leaves the folder and nothing half-done stays behind."""

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

from common import inputs
from common.shown import shortened

MOST_MEMBERS = 200_000
"""Files in one archive; the published film reviews are 100,000."""
_LARGEST_DIRECTORY = 64 << 20
_LONGEST_END = 65_535 + 22 + 20 + 56
"""Bytes of the end of a zip archive with the longest comment and its 64 bit form."""
_LARGEST_PIECE = 4 << 20
_TAR_ROOM = 256 << 20
"""Bytes of a tar archive's headers beside the files: 1,024 at most for each of so many."""


class ArchiveError(Exception):
    """The archive is broken or not to be trusted; the message is one sentence for the learner."""


def unpack(archive: Path, folder: Path, *, limit_bytes: int = 20_000_000_000) -> Path:
    """Every file of the archive below ``folder``, which must not exist yet; raises ArchiveError.

    Refused, before anything is at its place: a name that is absolute or climbs out with "..", a link, a
    device, and more than ``limit_bytes`` in all.
    """
    if folder.exists():
        raise ArchiveError(f"{folder} is there already.")
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
    """(name, content) of each file that is ``wanted``, one after the other; raises ArchiveError as ``unpack`` does.

    Nothing is written. Refused are a wanted file of more than ``limit_bytes`` and an archive that unpacks to more than
    ``total_bytes``. Damage may show only after the last file.
    """
    with _in_a_sentence(archive):
        for name, content in _members(archive, total_bytes):
            with content:
                if wanted(str(_inside(archive, name))):
                    text = content.read(limit_bytes + 1)
                    if len(text) > limit_bytes:
                        raise ArchiveError(
                            f"{archive} holds {shortened(name)!r}, which unpacks to more than {limit_bytes:,} bytes."
                        )
                    yield name, text


@contextlib.contextmanager
def _in_a_sentence(archive: Path) -> Iterator[None]:
    """Whatever reading an archive can end with becomes an ArchiveError."""
    try:
        yield
    except inputs.InputError as error:
        raise ArchiveError(f"Cannot unpack {archive}: {error.reason}.") from None
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        reason = str(error).partition("\n")[0].rstrip(":.")
        raise ArchiveError(f"{archive} is damaged or no archive: {reason}.") from None
    except (NotImplementedError, RuntimeError) as error:  # an unknown method, a password
        raise ArchiveError(f"{archive} cannot be unpacked: {error}.") from None
    except OSError as error:
        raise ArchiveError(f"Cannot unpack {archive}: {error.strerror or error}.") from None


def _members(archive: Path, limit_bytes: int) -> Iterator[tuple[str, IO[bytes]]]:
    """(name, content) of every regular file; folders are made as they are needed.

    What the archive says of its sizes is added up before anything is unpacked.
    """
    with inputs.open_regular(archive) as file:
        if zipfile.is_zipfile(file):
            with open_zip(file, str(archive), limit_bytes) as packed:
                for info in packed.infolist():
                    kind = info.external_attr >> 16 & 0o170000
                    if kind not in (0, 0o100000, 0o040000):
                        raise ArchiveError(
                            f"{archive} holds a link or device ({shortened(info.filename)!r}): not unpacked."
                        )
                    if not info.is_dir():
                        yield info.filename, packed.open(info)
            return
        file.seek(0)
        with _unrolled(file) as plain:
            bounded = cast("IO[bytes]", _Bounded(plain, limit_bytes, archive))
            with tarfile.open(fileobj=bounded, mode="r:") as rolled:
                yield from _rolled(archive, rolled)
                while bounded.read(1 << 20):
                    pass  # to the end, where the checksum of the whole stands


def _rolled(archive: Path, rolled: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for count, member in enumerate(rolled, 1):
        if count > MOST_MEMBERS:
            raise ArchiveError(f"{archive} holds more than {MOST_MEMBERS:,} files: not unpacked.")
        if not (member.isreg() or member.isdir()):
            raise ArchiveError(
                f"{archive} holds a link or device ({shortened(member.name)!r}): not unpacked."
            )
        content = rolled.extractfile(member) if member.isreg() else None
        if content is not None:
            yield member.name, content


def open_zip(file: BinaryIO, name: str, limit_bytes: int) -> zipfile.ZipFile:
    """A zip archive whose directory is of bounded size, and whose files unpack to ``limit_bytes`` at most by it.

    Of a file in it zipfile reads no more than the directory says. Raises ArchiveError, zipfile.BadZipFile, OSError.
    """
    size = _directory_bytes(file)
    if size > _LARGEST_DIRECTORY:
        raise ArchiveError(f"{name} has a directory of {size:,} bytes: not unpacked.")
    packed = zipfile.ZipFile(file)
    infos = packed.infolist()
    total = sum(info.file_size for info in infos)
    problem = ""
    if len(infos) > MOST_MEMBERS:
        problem = f"holds {len(infos):,} files, and {MOST_MEMBERS:,} are the most"
    elif total > limit_bytes:
        problem = f"unpacks to far more than it should ({total:,} bytes, and {limit_bytes:,} are the most)"
    if problem:
        packed.close()
        raise ArchiveError(f"{name} {problem}: not unpacked.")
    return packed


def _directory_bytes(file: BinaryIO) -> int:
    """What the end of a zip archive says of its directory's size (APPNOTE 4.3.14 and 4.3.16); 0 where it has no end."""
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


def _unrolled(file: BinaryIO) -> IO[bytes]:
    """A tar archive without its compression."""
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file, mode="rb"))
    if start.startswith(b"BZh"):
        return cast("IO[bytes]", bz2.BZ2File(file))
    if start.startswith(b"\xfd7zXZ\0"):
        return cast("IO[bytes]", lzma.LZMAFile(file))
    return file


class _Bounded:
    """A stream that ends with an ArchiveError where it goes past ``limit`` bytes, or is asked for a huge piece."""

    def __init__(self, stream: IO[bytes], limit: int, archive: Path) -> None:
        self._stream, self._archive = stream, archive
        self._limit = limit + _TAR_ROOM

    def _check(self, position: int) -> None:
        if position > self._limit:
            raise ArchiveError(f"{self._archive} unpacks to far more than it should: stopped.")

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _LARGEST_PIECE:  # a header that is larger than any
            raise ArchiveError(f"{self._archive} unpacks to far more than it should: stopped.")
        self._check(self._stream.tell())
        return self._stream.read(size)

    def seek(self, position: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_SET:
            self._check(position)
        return self._stream.seek(position, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        """The stream is its opener's to close."""


def _inside(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name or ":" in path.parts[0]:
        raise ArchiveError(f"{archive} holds {shortened(name)!r}, which points outside: not unpacked.")
    return path


def _copy(content: IO[bytes], file: IO[bytes], room: int, archive: Path) -> int:
    shutil.copyfileobj(_Limited(content, room), file, 1 << 20)
    size = file.tell()
    if size > room:
        raise ArchiveError(f"{archive} unpacks to far more than it should: stopped.")
    return size


class _Limited:
    """Reads at most one byte more than ``room``."""

    def __init__(self, content: IO[bytes], room: int) -> None:
        self.content, self.left = content, room + 1

    def read(self, size: int = -1, /) -> bytes:
        piece = self.content.read(min(size, self.left) if size >= 0 else self.left)
        self.left -= len(piece)
        return piece
