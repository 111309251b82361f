"""Forty words with known meanings: ten families x gender x number, and the contexts that they occur with.

The counts of (word, context) pairs are drawn from a known distribution, so "king - man + woman" has a right answer
that does not depend on a corpus.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FAMILIES = """
man woman men women
king queen kings queens
prince princess princes princesses
actor actress actors actresses
waiter waitress waiters waitresses
father mother fathers mothers
brother sister brothers sisters
son daughter sons daughters
uncle aunt uncles aunts
nephew niece nephews nieces
"""
WORDS: tuple[str, ...] = tuple(_FAMILIES.split())
"""Word 4 f + 2 n + g has family f, number n (0 singular, 1 plural) and gender g."""
FAMILIES, PER_FAMILY_CUES, PER_VALUE_CUES, NEUTRAL = 10, 4, 6, 60
CONTEXTS = FAMILIES * PER_FAMILY_CUES + 4 * PER_VALUE_CUES + NEUTRAL
Vectors = NDArray[np.float64]


def attributes() -> NDArray[np.int64]:
    """(40, 3): family, gender, number of each word."""
    number = np.arange(len(WORDS))
    return np.stack([number // 4, number % 2, number // 2 % 2], axis=1)


@dataclass(frozen=True)
class Corpus:
    """``counts`` (40, 124): how often each word occurs with each context."""

    counts: NDArray[np.int64]

    @property
    def pairs(self) -> int:
        return int(self.counts.sum())


def make(pairs: int = 200_000, *, seed: int = 0) -> Corpus:
    """``pairs`` draws from p(word) p(context | word).

    log p(c | w) = 2 [c is a cue of a value that w has] + b(c) + constant(w), b ~ Normal(0, 0.5) the same for
    all words; p(word) ~ Dirichlet(5 ... 5). Contexts: 4 cues a family, 6 a gender, 6 a number, 60 neutral.
    """
    rng = np.random.default_rng(seed)
    family, gender, number = attributes().T
    cues = np.concatenate(
        [
            np.repeat(np.eye(FAMILIES)[family], PER_FAMILY_CUES, axis=1),
            np.repeat(np.eye(2)[gender], PER_VALUE_CUES, axis=1),
            np.repeat(np.eye(2)[number], PER_VALUE_CUES, axis=1),
            np.zeros((len(WORDS), NEUTRAL)),
        ],
        axis=1,
    )
    weight = np.exp(2.0 * cues + rng.normal(0, 0.5, CONTEXTS))
    context = weight / weight.sum(axis=1, keepdims=True)
    word = rng.dirichlet(np.full(len(WORDS), 5.0))
    joint = (word[:, None] * context).ravel()
    counts = rng.multinomial(pairs, joint / joint.sum()).reshape(len(WORDS), CONTEXTS)
    return Corpus(counts)


def ppmi_svd(counts: NDArray[np.int64], dimensions: int = 13) -> Vectors:
    """Positive pointwise mutual information, max(0, ln(n(w,c) N / (n(w) n(c)))), and the first columns of
    U sqrt(S) of its singular value decomposition: word vectors without a network.
    """
    n = counts.astype(np.float64)
    expected = n.sum(axis=1, keepdims=True) * n.sum(axis=0, keepdims=True) / n.sum()
    with np.errstate(divide="ignore"):
        ppmi = np.maximum(0, np.log(n / np.maximum(expected, 1e-12)))
    u, s, _ = np.linalg.svd(ppmi, full_matrices=False)
    vectors: Vectors = u[:, :dimensions] * np.sqrt(s[:dimensions])
    return vectors


def questions() -> list[tuple[int, int, int, int]]:
    """(A, A flipped, B, B flipped): 720 of them, every ordered pair of families, gender or number flipped."""
    found = []
    for a in range(FAMILIES):
        for b in range(FAMILIES):
            if a == b:
                continue
            for kind in range(4):
                for flip in (1, 2):
                    found.append((4 * a + kind, 4 * a + (kind ^ flip), 4 * b + kind, 4 * b + (kind ^ flip)))
    return found


def unit(vectors: Vectors) -> Vectors:
    """Every row of length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def score(vectors: Vectors) -> float:
    """Share of questions where the word nearest to A flipped - A + B is B flipped (A, A flipped, B left out)."""
    v = unit(vectors)
    return _share(v, lambda a, a2, b: v[a2] - v[a] + v[b])


def baseline(vectors: Vectors) -> float:
    """Baseline: the same share for the word nearest to B, with the words of the question left out."""
    v = unit(vectors)
    return _share(v, lambda a, a2, b: v[b])


def _share(v: Vectors, ask: Callable[[int, int, int], Vectors]) -> float:
    right = 0
    for a, a2, b, b2 in questions():
        near = v @ ask(a, a2, b)
        near[[a, a2, b]] = -np.inf
        right += int(near.argmax() == b2)
    return right / len(questions())
