"""Word vectors from a file in GloVe's text format ("word 0.1 -0.2 ..."), read as a stream, never as a whole."""

from __future__ import annotations

import gzip
import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


class GloveError(Exception):
    """The file is not what it should be; the message is one sentence for the learner."""


def stream(path: Path) -> Iterator[tuple[str, Vector]]:
    """(word, vector) line by line; also from a .gz file. Raises GloveError with the number of a bad line.

    A word may contain blanks (some of the published sets have such words): the length of the first line's
    vector decides where the numbers begin. A first line "count dimensions", as word2vec writes it, is left out.
    """
    dimensions = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                parts = line.rstrip().split(" ")
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
                    raise GloveError(f"{path}, line {number}: a number is not a number.") from None
                yield " ".join(parts[:-dimensions]), vector
    except (OSError, EOFError) as error:
        raise GloveError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from None
    except UnicodeDecodeError:
        raise GloveError(f"{path} is not text in UTF-8: unpack it first.") from None


def pick(path: Path, words: Iterable[str]) -> dict[str, Vector]:
    """The vectors of these words; stops reading when all are found. Raises GloveError naming those missing."""
    wanted, found = set(words), {}
    for word, vector in stream(path):
        if word in wanted and word not in found:
            found[word] = vector
            if len(found) == len(wanted):
                return found
    raise GloveError(f"{path} has no vector for {', '.join(sorted(wanted - set(found)))}.")


def nearest(
    path: Path, target: Vector, *, leave_out: Iterable[str] = (), count: int = 5
) -> list[tuple[str, float]]:
    """The ``count`` words with the largest cosine to ``target``, best first; one pass over the file."""
    out = set(leave_out)
    length = float(np.linalg.norm(target))
    heap: list[tuple[float, str]] = []
    for word, vector in stream(path):
        if word in out:
            continue
        cosine = float(vector @ target) / max(float(np.linalg.norm(vector)) * length, 1e-12)
        heapq.heappush(heap, (cosine, word))
        if len(heap) > count:
            heapq.heappop(heap)
    return [(word, cosine) for cosine, word in sorted(heap, reverse=True)]


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")
