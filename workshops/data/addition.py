"""Generate sums as text: "12+345 " -> "357 ". No sum appears twice, also not with its two numbers exchanged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SYMBOLS = " +0123456789"
"""The position of a symbol in this string is its number. The blank pads short questions and answers."""
_NUMBER = {symbol: i for i, symbol in enumerate(SYMBOLS)}
Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Sums:
    """``questions`` (n, 2 digits + 1) and ``answers`` (n, digits + 1), symbol numbers, padded with blanks."""

    questions: Ids
    answers: Ids
    pairs: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.questions)

    def split(self, held_out: float = 0.1) -> tuple[Sums, Sums]:
        """Return two parts: one for training, and the last sums, a share of ``held_out`` (0 to 1), for
        validation."""
        cut = len(self) - round(len(self) * held_out)
        return self[:cut], self[cut:]

    def __getitem__(self, rows: slice) -> Sums:
        return Sums(self.questions[rows], self.answers[rows], self.pairs[rows])


def make(count: int, *, digits: int = 3, reverse: bool = True, seed: int = 0, distinct: bool = True) -> Sums:
    """``count`` sums of two numbers of 1 to ``digits`` digits; the same seed gives the same sums everywhere.

    The number of digits is uniform on 1..``digits``; each digit is uniform; leading zeros are dropped ("007" is 7).
    ``distinct``: no pair appears twice, in either order. Without it, the second part contains sums a+b that the
    training part contains as b+a. ``reverse``: the whole question is reversed, including its blanks. Raises ValueError
    if there are fewer than ``count`` pairs.
    """
    if digits < 1 or count < 0:
        raise ValueError(f"no sums with {digits} digits and {count} questions")
    pairs_there_are = 10**digits * (10**digits + 1) // 2
    if distinct and count > pairs_there_are // 2:
        raise ValueError(f"{count} distinct sums of {digits} digits: ask for at most {pairs_there_are // 2}")
    rng = np.random.default_rng(seed)
    seen: set[tuple[int, int]] = set()
    pairs: list[tuple[int, int]] = []
    while len(pairs) < count:
        lengths = rng.integers(1, digits + 1, (count, 2))
        numbers = (rng.random((count, 2)) * 10.0**lengths).astype(np.int64)
        for a, b in numbers.tolist():
            key = (min(a, b), max(a, b))
            if distinct and key in seen:
                continue
            seen.add(key)
            pairs.append((a, b))
            if len(pairs) == count:
                break
    questions = [f"{a}+{b}".ljust(2 * digits + 1) for a, b in pairs]
    if reverse:
        questions = [question[::-1] for question in questions]
    answers = [str(a + b).ljust(digits + 1) for a, b in pairs]
    return Sums(_ids(questions, 2 * digits + 1), _ids(answers, digits + 1), np.array(pairs).reshape(-1, 2))


def one_hot(ids: Ids) -> NDArray[np.float32]:
    """One-hot encoding: (n, time) -> (n, time, symbols)."""
    return np.eye(len(SYMBOLS), dtype=np.float32)[ids]


def text(ids: Ids) -> str:
    """Symbol numbers -> characters, blanks included."""
    return "".join(SYMBOLS[i] for i in ids)


def exact(answers: Ids, guesses: Ids) -> float:
    """Share of answers in which every symbol is right."""
    return float(np.mean(np.all(answers == guesses, axis=1)))


def leaked(train: Sums, held_out: Sums) -> float:
    """Share of the validation sums that the training part contains too, in either order of the two numbers."""
    known = {tuple(sorted(pair)) for pair in train.pairs.tolist()}
    return float(np.mean([tuple(sorted(pair)) in known for pair in held_out.pairs.tolist()]))


def _ids(rows: list[str], width: int) -> Ids:
    return np.array([[_NUMBER[c] for c in row] for row in rows], np.int32).reshape(-1, width)
