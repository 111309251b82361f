"""Extract .zip and .tar archives: no file outside the folder, no incomplete result."""

from __future__ import annotations

import contextlib
import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO


class ArchiveError(Exception):
    """The archive is damaged or unsafe; the message is one sentence for the learner."""


def unpack(archive: Path, folder: Path, *, limit_bytes: int = 20_000_000_000) -> Path:
    """Extract the archive to ``folder``, which must not exist; raises ArchiveError.

    Refused without a result: an absolute name or one with "..", a link, a device, and more than ``limit_bytes`` in
    total.
    """
    if folder.exists():
        raise ArchiveError(f"{folder} already exists.")
    with _in_a_sentence(archive):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            room = limit_bytes
            for name, content in _members(archive):
                target = new / _inside(archive, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with content, target.open("xb") as file:
                    room -= _copy(content, file, room, archive)
            new.rename(folder)
    return folder


def contents(
    archive: Path, wanted: Callable[[str], bool], *, limit_bytes: int = 1 << 20
) -> Iterator[tuple[str, bytes]]:
    """(name, content) of each file that is ``wanted``, one after the other; raises ArchiveError as ``unpack`` does.

    Nothing is written. At most ``limit_bytes`` of each file are read. Damage may be found only after the last file.
    """
    with _in_a_sentence(archive):
        for name, content in _members(archive):
            with content:
                if wanted(str(_inside(archive, name))):
                    yield name, content.read(limit_bytes)


@contextlib.contextmanager
def _in_a_sentence(archive: Path) -> Iterator[None]:
    """Turns every error of reading an archive into an ArchiveError."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        reason = str(error).partition("\n")[0].rstrip(":.")
        raise ArchiveError(f"{archive} is damaged or not an archive: {reason}.") from None
    except (NotImplementedError, RuntimeError) as error:  # unknown compression, or a password
        raise ArchiveError(f"{archive} cannot be extracted: {error}.") from None
    except OSError as error:
        raise ArchiveError(f"Cannot extract {archive}: {error.strerror or error}.") from None


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """(name, content) of every regular file; folders are created as needed."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                kind = info.external_attr >> 16 & 0o170000
                if kind not in (0, 0o100000, 0o040000):
                    raise ArchiveError(
                        f"{archive} contains a link or device ({info.filename!r}): not extracted."
                    )
                if not info.is_dir():
                    yield info.filename, packed.open(info)
        return
    with tarfile.open(archive) as rolled:
        for member in rolled:
            if not (member.isreg() or member.isdir()):
                raise ArchiveError(f"{archive} contains a link or device ({member.name!r}): not extracted.")
            content = rolled.extractfile(member) if member.isreg() else None
            if content is not None:
                yield member.name, content
        while rolled.fileobj is not None and rolled.fileobj.read(1 << 20):
            pass  # to the end, which has the checksum


def _inside(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name or ":" in path.parts[0]:
        raise ArchiveError(f"{archive} contains {name!r}, which points outside: not extracted.")
    return path


def _copy(content: IO[bytes], file: IO[bytes], room: int, archive: Path) -> int:
    shutil.copyfileobj(_Limited(content, room), file, 1 << 20)
    size = file.tell()
    if size > room:
        raise ArchiveError(f"{archive} is much larger than expected after extraction: stopped.")
    return size


class _Limited:
    """Reads at most one byte more than ``room``."""

    def __init__(self, content: IO[bytes], room: int) -> None:
        self.content, self.left = content, room + 1

    def read(self, size: int = -1, /) -> bytes:
        piece = self.content.read(min(size, self.left) if size >= 0 else self.left)
        self.left -= len(piece)
        return piece
