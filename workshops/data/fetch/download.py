"""Download a published file once, resume interrupted downloads, check the SHA-256, store the file in the cache folder.

A file in the cache is hashed again at each use. A damaged file is downloaded again. It is kept until the new download
is complete, because without a network it may be the only copy.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import http.client
import os
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

CHUNK = 1 << 20
TIMEOUT_SECONDS = 30.0
ATTEMPTS = 4


class DownloadError(Exception):
    """The file cannot be downloaded. The message is one sentence for the learner."""


@dataclass(frozen=True)
class RemoteFile:
    """A published file. ``sha256``: its hash. ``size_bytes``: its size; 0 means that the size is not known
    beforehand."""

    name: str
    url: str
    sha256: str
    size_bytes: int = 0


def cache_folder() -> Path:
    """Folder of downloaded files (respects XDG_CACHE_HOME)."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("dlbox")) / "data"


def fetch(
    remote: RemoteFile, *, folder: Path | None = None, progress: TextIO | None = None, pause: float = 1.0
) -> Path:
    """Return the path of the file on this machine. Download it if it is missing or damaged. Raises DownloadError.

    A second process that wants the same file waits for the first. ``pause``: seconds before the first retry.
    """
    folder, out = folder or cache_folder(), progress or sys.stderr
    path = folder / remote.name
    try:
        with _alone(folder, remote.name):
            if path.exists():
                if sha256(path) == remote.sha256:
                    return path
                out.write(f"  {path} is damaged: downloading it again\n")
            _Fetch(remote, path, out, pause).run()
            return path
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise DownloadError(f"Cannot store {remote.name} in {folder}: {reason}.") from None


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _BrokeOffError(Exception):
    """The network failed (not the disk). The first argument is the cause."""


class _Fetch:
    """The download of one file, to ``NAME.part``, which is renamed when it is complete."""

    def __init__(self, remote: RemoteFile, path: Path, out: TextIO, pause: float) -> None:
        self.remote, self.path, self.pause = remote, path, pause
        self.part = path.with_name(path.name + ".part")
        self.show = _Progress(out, remote.name)
        self.size, self.resumed = remote.size_bytes, False

    def run(self) -> None:
        """Download, resume after an interruption, retry; raises DownloadError."""
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1))
            try:
                self._get()
            except urllib.error.HTTPError as error:
                error.close()
                reason = f"the server answered {error.code} {error.reason}"
                if error.code < 500 and error.code not in (408, 416, 429):
                    break
                continue
            except (urllib.error.URLError, http.client.HTTPException, _BrokeOffError) as error:
                reason = _reason(error)
                continue
            finally:
                self.show.done()
            if self._have() < self.size:
                reason = "the connection was interrupted"
            elif sha256(self.part) == self.remote.sha256:
                self.part.replace(self.path)
                return
            else:
                reason = "the downloaded file is not the published one (its SHA-256 differs)"
                self.part.unlink()
                if not self.resumed:
                    break  # A retry would have the same result.
        raise DownloadError(self._sentence(reason))

    def _get(self) -> None:
        """Request the missing bytes once and append them to the partial file."""
        have = self._have()
        self.resumed = have > 0
        if self.size and have >= self.size:
            return
        request = urllib.request.Request(self.remote.url, headers={"Accept-Encoding": "identity"})  # noqa: S310
        if have:
            request.add_header("Range", f"bytes={have}-")
        try:
            answer = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310
        except urllib.error.HTTPError as error:
            if (
                error.code == 416
            ):  # The server has no further bytes: the partial file belongs to another file.
                self.part.unlink(missing_ok=True)
            raise
        except urllib.error.URLError:
            raise
        except OSError as error:  # the connection was interrupted
            raise _BrokeOffError(error) from None
        with answer, self.part.open("ab") as file:
            if have and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
                file.truncate(0)  # the server sends the file from the beginning
                have, self.resumed = 0, False
            length = answer.headers.get("Content-Length") or ""
            self.size = self.remote.size_bytes or (have + int(length) if length.isdecimal() else 0)
            self._room(self.size - have)
            self.show.start(have, self.size)
            while piece := _read(answer):
                file.write(piece)
                have += len(piece)
                self.show.at(have)
                if self.size and have > self.size:
                    break  # The data are longer than the published file: the hash will differ.
            file.flush()
            os.fsync(file.fileno())

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _room(self, needed: int) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if needed > free:
            raise DownloadError(
                f"{self.remote.name} needs {megabytes(needed)} MB more in {self.part.parent}, "
                f"where {megabytes(free)} MB are free."
            )

    def _sentence(self, reason: str) -> str:
        host = urllib.parse.urlsplit(self.remote.url).hostname
        stored = (
            f"; {megabytes(self._have())} MB are stored, and the next attempt continues there"
            if self._have()
            else ""
        )
        bad = f"; the damaged {self.path.name} is still there" if self.path.exists() else ""
        return (
            f"Cannot download {self.remote.name} from {host}: {reason}{stored}{bad}. Without a network, put the file "
            f"into {self.path.parent} yourself, or omit --data."
        )


class _Progress:
    """Progress of a download: on a terminal one line that is redrawn, elsewhere one line every 10%."""

    def __init__(self, out: TextIO, name: str) -> None:
        self.out, self.name, self.live = out, name, out.isatty()
        self.size = self.first = self.now = self.tenth = self.width = 0
        self.began = self.drawn = 0.0

    def start(self, have: int, size: int) -> None:
        self.first = self.now = have
        self.size, self.began, self.drawn = size, time.monotonic(), 0.0
        self.tenth = have * 10 // size if size else 0
        again = f", continuing at {megabytes(have)}" if have else ""
        whole = f"{megabytes(size)} MB" if size else "of unknown size"
        self.out.write(f"  downloading {self.name}, {whole}{again}\n")
        self.out.flush()

    def at(self, have: int) -> None:
        self.now = have
        tenth = have * 10 // self.size if self.size else 0
        if self.live and time.monotonic() - self.drawn > 0.2:
            self.drawn = time.monotonic()
            line = f"  {self._text()}"
            self.out.write("\r" + line.ljust(self.width))
            self.width = len(line)
        elif not self.live and tenth > self.tenth:
            self.tenth = tenth
            self.out.write(f"  {self._text()}\n")
        self.out.flush()

    def done(self) -> None:
        if self.live and self.width:
            self.out.write(f"\r{f'  {self._text()}'.ljust(self.width)}\n")
            self.out.flush()
            self.width = 0

    def _text(self) -> str:
        speed = (self.now - self.first) / max(time.monotonic() - self.began, 1e-3)
        text = f"{self.name}: {megabytes(self.now)} MB, {speed / 1e6:.1f} MB/s"
        if not self.size or not speed:
            return text
        left = (self.size - self.now) / speed
        return f"{text}, {self.now / self.size:.0%}, {left:.0f} s left"


def megabytes(count: int) -> str:
    """Number of bytes in MB (10^6), as text."""
    return f"{count / 1e6:,.0f}" if count >= 10_000_000 else f"{count / 1e6:,.2f}"


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read(CHUNK)
    except OSError as error:
        raise _BrokeOffError(error) from None


def _reason(error: Exception) -> str:
    """Short description of the error that urllib's error contains."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, _BrokeOffError):
        inner = inner.args[0]
    if isinstance(inner, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:.0f} s"
    if isinstance(inner, (http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionResetError)):
        return "the connection was interrupted"
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror.lower()
    return " ".join(str(inner).split()) or type(inner).__name__


@contextlib.contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
