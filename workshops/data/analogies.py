"""Forty words with known meanings (ten families, two genders, singular and plural), and their context words.

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
    """Family, gender and number of each word: (40, 3)."""
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
    """Draw ``pairs`` pairs from the distribution p(word) p(context | word) and count them.

    log p(c | w) = 2 [c is a cue of a value that w has] + b(c) + constant(w), b ~ Normal(0, 0.5) the same for all
    words; p(word) ~ Dirichlet(5 ... 5). Contexts: 4 cues per family, 6 per gender, 6 per number, and 60 neutral
    contexts.
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
    """Word vectors without a network: positive pointwise mutual information, max(0, ln(n(w,c) N / (n(w) n(c)))), then
    the first columns of U sqrt(S) from its singular value decomposition.
    """
    n = counts.astype(np.float64)
    expected = n.sum(axis=1, keepdims=True) * n.sum(axis=0, keepdims=True) / n.sum()
    with np.errstate(divide="ignore"):
        ppmi = np.maximum(0, np.log(n / np.maximum(expected, 1e-12)))
    u, s, _ = np.linalg.svd(ppmi, full_matrices=False)
    vectors: Vectors = u[:, :dimensions] * np.sqrt(s[:dimensions])
    return vectors


def questions() -> list[tuple[int, int, int, int]]:
    """The 720 questions (A, A', B, B'), such as (man, woman, king, queen), as word numbers. A and B are of
    different families; A' and B' have the other gender, or the other number (singular, plural)."""
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
    """Each row divided by its length, so that its length is 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def score(vectors: Vectors) -> float:
    """Share of questions in which the word nearest to A' - A + B is B'. The words A, A' and B are excluded from the
    answers."""
    v = unit(vectors)
    return _share(v, lambda a, a2, b: v[a2] - v[a] + v[b])


def baseline(vectors: Vectors) -> float:
    """Baseline: the same share if the answer is the word nearest to B. The words of the question are excluded."""
    v = unit(vectors)
    return _share(v, lambda a, a2, b: v[b])


def _share(v: Vectors, ask: Callable[[int, int, int], Vectors]) -> float:
    right = 0
    for a, a2, b, b2 in questions():
        near = v @ ask(a, a2, b)
        near[[a, a2, b]] = -np.inf
        right += int(near.argmax() == b2)
    return right / len(questions())
