"""Real film reviews (Maas et al. 2011: 25,000 for training, 25,000 for the test), read from their archive.

The archive is read as a stream: nothing of it is written to the disk, and no pickle is loaded. The 50,000 reviews
without a label, whose folder other loaders have read as a third class, are skipped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from common.file_access import inputs
from common.terminal.shown import shortened
from workshops.data.fetch import archive, download
from workshops.data.fetch.download import RemoteFile

ACL_IMDB = RemoteFile(
    "aclImdb_v1.tar.gz",
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
    84_125_825,
)
"""The size and the SHA-256 are those in TensorFlow Datasets, which uses the same address."""
PAD, UNKNOWN = 0, 1
_REVIEW = re.compile(r"(?:^|/)(train|test)/(pos|neg)/[^/]+\.txt$")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_LARGEST = 1 << 20
"""Maximum size of one review in bytes. The longest published review has 14,000."""

Tokens = NDArray[np.int32]


class ReviewsError(Exception):
    """The reviews cannot be read. The message is one sentence for the learner."""


@dataclass(frozen=True)
class Part:
    """``tokens`` (n, length), padded *before* the text; ``labels`` (n,): 1 is a positive review."""

    tokens: Tokens
    labels: NDArray[np.int32]


@dataclass(frozen=True)
class ImdbReviews:
    """``words[i]`` is the word of token i. Token 0 is padding; token 1 stands for every word outside the vocabulary."""

    train: Part
    test: Part
    words: tuple[str, ...]
    mean_words: float


def words_of(text: str) -> list[str]:
    """The words of a text in lower case. An apostrophe inside a word is kept; HTML line breaks are removed."""
    return _WORD.findall(text.lower().replace("<br />", " "))


def load(
    place: Path | None, *, vocabulary: int, length: int, most: int | None, seed: int, progress: TextIO
) -> ImdbReviews:
    """Read the reviews as numbers. The vocabulary is the ``vocabulary`` - 2 most frequent words of the training part;
    of each review the last ``length`` words remain.

    ``place``: an archive or an unpacked folder of the learner. None: the published archive, which is downloaded once.
    ``most``: maximum number of reviews per part, drawn at random. Raises ReviewsError.
    """
    path = place or _fetched(progress)
    progress.write(f"  reading the reviews in {path}\n")
    progress.flush()
    rng = np.random.default_rng(seed)
    found: dict[str, list[tuple[list[str], int]]] = {"train": [], "test": []}
    for name, content in _texts(path):
        match = _REVIEW.search(name)
        assert match is not None  # noqa: S101
        try:
            text = inputs.text_of(content, f"{shortened(name)!r}")
        except inputs.InputError as error:
            raise ReviewsError(f"{path} contains {error}.") from None
        found[match[1]].append((words_of(text), int(match[2] == "pos")))
    for part, reviews in found.items():
        labels = Counter(label for _, label in reviews)
        if min(labels[0], labels[1]) < 1:
            raise ReviewsError(
                f"{path} contains {labels[1]} positive and {labels[0]} negative reviews in {part}/: expected "
                "train/pos, train/neg, test/pos and test/neg with one .txt file per review."
            )
        order = rng.permutation(len(reviews))[:most]
        found[part] = [reviews[i] for i in order]
        if not any(text for text, _ in found[part]):
            raise ReviewsError(f"{path} contains no word in {part}/: its reviews are empty files.")
    counts = Counter(word for text, _ in found["train"] for word in text)
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[: vocabulary - 2]
    words = ("", "[UNK]", *frequent)
    numbers = {word: number for number, word in enumerate(words) if number > UNKNOWN}
    mean = sum(counts.values()) / len(found["train"])
    parts = {
        part: Part(
            np.stack([encode(text, numbers, length) for text, _ in reviews]),
            np.array([label for _, label in reviews], np.int32),
        )
        for part, reviews in found.items()
    }
    return ImdbReviews(parts["train"], parts["test"], words, mean)


def encode(text: Sequence[str], numbers: dict[str, int], length: int) -> Tokens:
    """Words -> tokens (length,), padded before the text. Of a longer text the *last* ``length`` words remain."""
    tokens = np.zeros(length, np.int32)
    ids = [numbers.get(word, UNKNOWN) for word in text[-length:]]
    if ids:
        tokens[-len(ids) :] = ids
    return tokens


def _fetched(progress: TextIO) -> Path:
    try:
        return download.fetch(ACL_IMDB, progress=progress)
    except download.DownloadError as error:
        raise ReviewsError(str(error)) from None


def _texts(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of every labelled review, in the order of the archive, or sorted by name in a folder."""
    if path.is_dir():
        for file in sorted(path.rglob("*.txt")):
            name = file.relative_to(path).as_posix()
            if _REVIEW.search(name):
                try:
                    yield name, inputs.read_bytes(file, _LARGEST)
                except inputs.InputError as error:
                    raise ReviewsError(
                        f"Cannot read {file}: {error.reason}." if error.reason else f"{error}."
                    ) from None
        return
    try:
        yield from archive.contents(path, lambda name: _REVIEW.search(name) is not None, limit_bytes=_LARGEST)
    except archive.ArchiveError as error:
        raise ReviewsError(str(error)) from None
