"""Word vectors from a file in GloVe's text format ("word 0.1 -0.2 ..."), read line by line."""

from __future__ import annotations

import contextlib
import gzip
import heapq
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from common.file_access import inputs
from workshops.data.fetch import archive

Vector = NDArray[np.float32]
_LARGEST_BYTES = 64 << 30
"""Maximum size of the extracted content of an archive. The content is read line by line."""
LONGEST_LINE = 1 << 18
"""Maximum length of a line in bytes; 300 numbers need about 3,000. A file without line ends would fill the memory."""


class GloveError(Exception):
    """The file cannot be used. The message is one sentence for the learner."""


def stream(
    path: Path, watch: Callable[[int], None] | None = None, odd: Callable[[int], None] | None = None
) -> Iterator[tuple[str, Vector]]:
    """Yield (word, vector) line by line from a text file, a .gz file, or the smallest .txt file in a .zip archive.

    Raises GloveError with the number of a bad line. A word may contain blanks, as some words of the published sets
    do: the length of the vector in the first line defines where the numbers begin. A first line "count dimensions",
    as word2vec writes it, is skipped. ``watch`` is called with the line number from time to time. A word that is not
    valid UTF-8 (published sets contain some) is skipped; ``odd`` is called with its line number.
    """
    dimensions = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
                if watch and number % 100_000 == 0:
                    watch(number)
                if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                    raise GloveError(f"{path}, line {number}: too long for a word and its vector.")
                parts = _decoded(path, number, line, dimensions)
                if number == 1 and len(parts) == 2 and all(part.isdecimal() for part in parts):
                    continue
                if not dimensions:
                    dimensions = len(parts) - 1
                if dimensions < 2 or len(parts) <= dimensions:
                    raise GloveError(
                        f"{path}, line {number}: expected a word and {max(dimensions, 2)} numbers."
                    )
                try:
                    vector = np.array(parts[-dimensions:], np.float32)
                except ValueError:
                    raise GloveError(
                        f"{path}, line {number}: a value of the vector is not a number."
                    ) from None
                if not np.isfinite(vector).all():
                    raise GloveError(f"{path}, line {number}: a value of the vector is infinite or NaN.")
                word = " ".join(parts[:-dimensions])
                if not word.isascii() and _INVALID.search(word):
                    if odd:
                        odd(number)
                    continue
                yield word, vector
    except inputs.InputError as error:
        raise GloveError(f"Cannot read {path}: {error.reason}.") from None
    except archive.ArchiveError as error:
        raise GloveError(f"Cannot read {path}: {error}") from None
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise GloveError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from None
    except (NotImplementedError, RuntimeError) as error:  # unknown compression, or a password
        raise GloveError(f"Cannot decompress {path}: {error}.") from None


_INVALID = re.compile("[\udc80-\udcff]")
"""Matches bytes that are not valid UTF-8, as the error handler ``surrogateescape`` decodes them."""


def _decoded(path: Path, number: int, line: bytes, dimensions: int) -> list[str]:
    """The parts of a line. Bytes of a word that are not valid UTF-8 become lone surrogates.

    Raises GloveError if the numbers are not text.
    """
    try:
        return line.decode("utf-8").rstrip().split(" ")
    except UnicodeDecodeError as error:
        parts = line.rstrip().split(b" ")
        numbers = b" ".join(parts[-dimensions:] if dimensions else parts[1:])
        if not numbers.isascii() or number == 1:
            raise GloveError(
                f"{path}, line {number}: byte {error.start} is not UTF-8; decompress a compressed file first."
            ) from None
        return [part.decode("utf-8", "surrogateescape") for part in parts]


def pick(path: Path, words: Collection[str], more: Collection[str] = ()) -> dict[str, Vector]:
    """The vectors of ``words``, and those of ``more`` that the file contains. Reading stops when all are found.

    Raises GloveError that lists the missing words if the file lacks any of ``words``.
    """
    wanted = set(words) | set(more)
    found: dict[str, Vector] = {}
    for word, vector in stream(path):
        if word in wanted and word not in found:
            found[word] = vector
            if len(found) == len(wanted):
                break
    missing = sorted(set(words) - set(found))
    if missing:
        raise GloveError(f"{path} has no vector for {', '.join(missing)}.")
    return found


def nearest(
    path: Path,
    targets: Sequence[Vector],
    leave_out: Sequence[Collection[str]],
    count: int = 3,
    watch: Callable[[int], None] | None = None,
    odd: Callable[[int], None] | None = None,
) -> list[list[tuple[str, float]]]:
    """For each target, the ``count`` words with the largest cosine, largest first. The file is read once.

    ``leave_out``: for each target, the words to exclude.
    """
    directions = np.stack([unit(target) for target in targets])
    heaps: list[list[tuple[float, str]]] = [[] for _ in targets]
    for word, vector in stream(path, watch, odd):
        for heap, out, cosine in zip(heaps, leave_out, (directions @ unit(vector)).tolist(), strict=True):
            if len(heap) < count or cosine > heap[0][0]:
                if word in out:
                    continue
                heapq.heappush(heap, (cosine, word))
                if len(heap) > count:
                    heapq.heappop(heap)
    return [[(word, cosine) for cosine, word in sorted(heap, reverse=True)] for heap in heaps]


def unit(vector: Vector) -> Vector:
    """The vector scaled to length 1; a vector of zeros stays as it is."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)


def label(path: Path) -> str:
    """Name of the file that ``stream`` reads: the file itself, or the file in an archive."""
    try:
        with inputs.open_regular(path) as file:
            if zipfile.is_zipfile(file):
                with _zip(file) as packed:
                    return Path(_smallest(path, packed)).name
    except inputs.InputError as error:
        if error.missing:
            return path.name
        raise GloveError(f"Cannot read {path}: {error.reason}.") from None
    except archive.ArchiveError as error:
        raise GloveError(f"Cannot read {path}: {error}") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise GloveError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from None
    return path.name


def _smallest(path: Path, packed: zipfile.ZipFile) -> str:
    texts = [info for info in packed.infolist() if info.filename.endswith(".txt")]
    if not texts:
        raise GloveError(f"{path} contains no .txt file.")
    return min(texts, key=lambda info: info.file_size).filename


@contextlib.contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    with inputs.open_regular(path) as file:
        if zipfile.is_zipfile(file):
            with _zip(file) as packed, packed.open(_smallest(path, packed)) as inside:
                yield cast("IO[bytes]", io.BufferedReader(cast("io.RawIOBase", inside), 1 << 20))
            return
        file.seek(0)
        if path.suffix == ".gz":
            with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
                yield cast("IO[bytes]", unpacked)
        else:
            yield file


def _zip(file: BinaryIO) -> zipfile.ZipFile:
    return archive.open_zip(file, "it", _LARGEST_BYTES)
