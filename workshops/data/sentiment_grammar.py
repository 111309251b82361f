"""Generate film reviews for which the best possible accuracy of each family of models is known.

A review consists of *clauses* ("the plot was superb") and of *fillers*, neutral words around them. There are three
kinds of reviews:

- ``word``: one clause decides; counting words is enough.
- ``phrase``: "superb and not dull" or "dull and not superb", with the same words; only a model that sees
  neighbouring words can decide.
- ``order``: two clauses joined by "but", of which the second decides. No short n-gram spans both clauses, so only a
  model that reads the words in order can decide.

At the end a share of the labels is flipped at random, which no model can predict. The best possible accuracy (the
ceiling) of each family follows by counting: see :meth:`Mixture.ceilings`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

POSITIVE = ("superb", "charming", "gripping", "tender", "witty", "radiant")
NEGATIVE = ("dull", "clumsy", "tedious", "hollow", "bland", "grating")
SUBJECTS = ("plot", "acting", "music", "camera", "script", "ending")
NEUTRAL = tuple(
    "we watched it on a rainy evening in town with some friends after dinner until very late indeed".split()  # noqa: SIM905
)
GLUE = ("the", "was", "not", "but", "and")
OFFSETS = 6
"""Number of positions in the neutral phrase at which a filler can start."""

PAD, UNKNOWN = 0, 1
WORDS: tuple[str, ...] = (
    "[PAD]",
    "[UNK]",
    *dict.fromkeys((*GLUE, *SUBJECTS, *POSITIVE, *NEGATIVE, *NEUTRAL)),
)
"""The position of a word is its token id."""
_ID = {word: i for i, word in enumerate(WORDS)}

Kind = Literal["word", "phrase", "order"]
KINDS: tuple[Kind, ...] = ("word", "phrase", "order")
Tokens = NDArray[np.int32]
Labels = NDArray[np.int32]


@dataclass(frozen=True)
class Mixture:
    """Shares of the three kinds (they sum to 1), share of flipped labels, and words per filler."""

    word: float = 0.4
    phrase: float = 0.3
    order: float = 0.3
    label_noise: float = 0.05
    filler_words: int = 6

    def __post_init__(self) -> None:
        shares = (self.word, self.phrase, self.order)
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
            raise ValueError(f"the shares of word, phrase and order reviews must sum to 1, got {shares}")
        if not 0 <= self.label_noise < 0.5:
            raise ValueError(f"label_noise must be in [0, 0.5), got {self.label_noise}")
        if not 1 <= self.filler_words <= len(NEUTRAL):
            raise ValueError(f"filler_words must be in 1..{len(NEUTRAL)}, got {self.filler_words}")

    def ceilings(self) -> dict[str, float]:
        """Best expected accuracy of each family of models.

        ``bag-of-words`` solves the ``word`` reviews and guesses the rest. ``n-gram`` (2 <= n <=
        filler_words + 1) solves ``phrase`` too: swapping the clauses of an ``order`` review leaves every
        bag of such n-grams unchanged. ``sequence`` solves all. No family predicts a flipped label.
        """
        clean = 1 - self.label_noise
        return {
            "bag-of-words": self.word * clean + (self.phrase + self.order) / 2,
            "n-gram": (self.word + self.phrase) * clean + self.order / 2,
            "sequence": clean,
        }

    @property
    def longest(self) -> int:
        """Number of tokens in the longest review, which is of kind ``order``."""
        return 4 * self.filler_words + 9


@dataclass(frozen=True)
class GeneratedReviews:
    """``tokens`` (n, length) padded *before* the text, ``labels`` (n,) of 0 and 1, and how they were generated."""

    tokens: Tokens
    labels: Labels
    clean_labels: Labels
    kinds: NDArray[np.int8]

    def realised_ceiling(self) -> float:
        """Share of labels that were not flipped: the best possible accuracy on these reviews."""
        return float(np.mean(self.labels == self.clean_labels))

    def text(self, row: int) -> str:
        """Review number ``row`` as text."""
        return decode(self.tokens[row])


def decode(tokens: Tokens) -> str:
    """Token ids -> words, without the padding."""
    return " ".join(WORDS[t] if 0 <= t < len(WORDS) else "[UNK]" for t in tokens if t != PAD)


def encode(text: str, length: int) -> Tokens:
    """Words -> token ids (length,), padded before the text. Of a longer text the *last* ``length`` words remain."""
    ids = [_ID.get(word, UNKNOWN) for word in text.lower().split()][-length:]
    out = np.zeros(length, np.int32)
    if ids:
        out[-len(ids) :] = ids
    return out


def make(count: int, *, length: int = 300, seed: int = 0, mixture: Mixture | None = None) -> GeneratedReviews:
    """``count`` reviews of ``length`` tokens; the same seed gives the same reviews on every machine.

    Raises ValueError when ``length`` is too small for the longest review or ``count`` is negative.
    """
    mixture = mixture or Mixture()
    if count < 0:
        raise ValueError(f"count must not be negative, got {count}")
    if length < mixture.longest:
        raise ValueError(f"length {length} is too small for a review of {mixture.longest} tokens")
    rng = np.random.default_rng(seed)
    clean = rng.integers(0, 2, count, dtype=np.int32)
    kinds = rng.choice(3, count, p=[mixture.word, mixture.phrase, mixture.order]).astype(np.int8)
    tokens = np.zeros((count, length), np.int32)
    for kind, compose in enumerate((_word, _phrase, _order)):
        rows = np.flatnonzero(kinds == kind)
        text = compose(rng, clean[rows], mixture.filler_words)
        tokens[rows, length - text.shape[1] :] = text
    flipped = rng.random(count) < mixture.label_noise
    labels = np.where(flipped, 1 - clean, clean).astype(np.int32)
    return GeneratedReviews(tokens, labels, clean, kinds)


def _ids(words: tuple[str, ...] | list[str]) -> Tokens:
    return np.array([_ID[word] for word in words], np.int32)


def _adjectives(rng: np.random.Generator, positive: NDArray[np.bool_]) -> Tokens:
    both = np.stack([_ids(NEGATIVE), _ids(POSITIVE)])
    picked: Tokens = both[positive.astype(int), rng.integers(0, len(POSITIVE), len(positive))]
    return picked


def _filler(rng: np.random.Generator, rows: int, words: int) -> Tokens:
    start = rng.integers(0, OFFSETS, rows)
    where = (start[:, None] + np.arange(words)) % len(NEUTRAL)
    filler: Tokens = _ids(NEUTRAL)[where]
    return filler


def _columns(rows: int, *parts: Tokens | str) -> Tokens:
    """Concatenate the columns from left to right: arrays (rows, k), arrays (rows,) and single words."""
    blocks = []
    for part in parts:
        if isinstance(part, str):
            blocks.append(np.full((rows, 1), _ID[part], np.int32))
        else:
            blocks.append(part[:, None] if part.ndim == 1 else part)
    return np.concatenate(blocks, axis=1)


def _clause(rng: np.random.Generator, positive: NDArray[np.bool_]) -> Tokens:
    rows = len(positive)
    subject = _ids(SUBJECTS)[rng.integers(0, len(SUBJECTS), rows)]
    return _columns(rows, "the", subject, "was", _adjectives(rng, positive))


def _word(rng: np.random.Generator, label: Labels, m: int) -> Tokens:
    rows = len(label)
    before, after = _filler(rng, rows, m), _filler(rng, rows, m)
    return _columns(rows, before, _clause(rng, label == 1), after)


def _phrase(rng: np.random.Generator, label: Labels, m: int) -> Tokens:
    rows, filler = len(label), _filler(rng, len(label), m)
    subject = _ids(SUBJECTS)[rng.integers(0, len(SUBJECTS), rows)]
    first, second = _adjectives(rng, label == 1), _adjectives(rng, label == 0)
    return _columns(rows, filler, "the", subject, "was", first, "and", "not", second, filler)


def _order(rng: np.random.Generator, label: Labels, m: int) -> Tokens:
    rows, filler = len(label), _filler(rng, len(label), m)
    first, second = _clause(rng, label == 0), _clause(rng, label == 1)
    return _columns(rows, filler, first, filler, "but", filler, second, filler)
