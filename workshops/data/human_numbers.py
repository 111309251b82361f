"""Generate the numbers 1 to 9,999 in words, as one stream: "one . two . three ... nine thousand ...".

The best possible score on this text is known for every context length: see :func:`ceilings`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ONES = "one two three four five six seven eight nine".split()  # noqa: SIM905
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()  # noqa: SIM905
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
WORDS: tuple[str, ...] = (".", *ONES, *TEENS, *TENS, "hundred", "thousand")
"""The 30 words. The position of a word is its token id."""
_ID = {word: i for i, word in enumerate(WORDS)}
Tokens = NDArray[np.int32]


def spell(number: int) -> list[str]:
    """A number of 1..9999 in words, without "and". Raises ValueError for other numbers."""
    if not 1 <= number <= 9999:
        raise ValueError(f"{number} is not in 1..9999")
    words: list[str] = []
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            words += [ONES[number // size - 1], name]
            number %= size
    if number >= 20:
        words.append(TENS[number // 10 - 2])
        number %= 10
    elif number >= 10:
        words.append(TEENS[number - 10])
        number = 0
    if number:
        words.append(ONES[number - 1])
    return words


def stream(first: int = 1, last: int = 9999) -> Tokens:
    """The numbers first..last as token ids, with a full stop between numbers; 63,098 tokens for 1..9999."""
    words: list[str] = []
    for number in range(first, last + 1):
        if words:
            words.append(".")
        words += spell(number)
    return encode(words)


def encode(words: list[str]) -> Tokens:
    """Words -> token ids. Raises KeyError for a word that does not occur in these numbers."""
    return np.array([_ID[word] for word in words], np.int32)


def decode(tokens: Tokens) -> str:
    return " ".join(WORDS[t] for t in tokens)


@dataclass(frozen=True)
class Ceiling:
    """Limits for a model that sees ``context`` tokens: the best accuracy on the whole stream; the remaining entropy
    (nats per token); the accuracy of a table of counts that is built from the first 80% and tested on the last 20%.
    """

    context: int
    accuracy: float
    entropy: float
    table_accuracy: float


def ceilings(tokens: Tokens, longest: int = 7, *, held_out: float = 0.2) -> list[Ceiling]:
    """Row k: limits for every model that reads only the last k tokens. Its accuracy on the whole stream is at most
    ``accuracy``, and its loss at least ``entropy`` (proved by counting)."""
    n, cut = len(WORDS), round(len(tokens) * (1 - held_out))
    rows = []
    context = np.zeros(len(tokens), np.int64)
    for k in range(longest + 1):
        if k:
            context[k:] = context[k:] * n + tokens[: len(tokens) - k]
        seen, nxt = context[k:], tokens[k:]
        _, group = np.unique(seen, return_inverse=True)
        counts = np.zeros((group.max() + 1, n))
        np.add.at(counts, (group, nxt), 1)
        share = counts[group, nxt] / counts.sum(axis=1)[group]
        best_known, found = _table(seen[: cut - k], nxt[: cut - k], seen[cut - k :], n)
        right = np.mean(found & (best_known == nxt[cut - k :]))
        rows.append(
            Ceiling(k, float(counts.max(axis=1).sum() / len(nxt)), float(-np.log(share).mean()), float(right))
        )
    return rows


def _table(
    contexts: NDArray[np.int64], nxt: Tokens, asked: NDArray[np.int64], n: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The most frequent token after each context, and whether the context was seen."""
    known, group = np.unique(contexts, return_inverse=True)
    counts = np.zeros((len(known), n))
    np.add.at(counts, (group, nxt), 1)
    where = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    return counts.argmax(axis=1)[where], known[where] == asked
