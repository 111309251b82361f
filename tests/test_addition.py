from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshops.data import addition


@given(
    count=st.integers(0, 60),
    digits=st.integers(1, 5),
    reverse=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_questions_and_answers_say_the_same_sum(count: int, digits: int, reverse: bool, seed: int) -> None:
    if digits == 1:
        count = min(count, 27)
    sums = addition.make(count, digits=digits, reverse=reverse, seed=seed)
    assert sums.questions.shape == (count, 2 * digits + 1)
    assert sums.answers.shape == (count, digits + 1)
    for question, answer, (a, b) in zip(sums.questions, sums.answers, sums.pairs, strict=True):
        text = addition.text(question)
        assert (text[::-1] if reverse else text).rstrip() == f"{a}+{b}"
        assert int(addition.text(answer)) == a + b
    known = {tuple(sorted(pair)) for pair in sums.pairs.tolist()}
    assert len(known) == count


def test_same_seed_same_sums() -> None:
    a, b = addition.make(500, seed=3), addition.make(500, seed=3)
    assert np.array_equal(a.questions, b.questions)
    assert not np.array_equal(a.questions, addition.make(500, seed=4).questions)


def test_lengths_of_the_numbers_are_even() -> None:
    """Before repeats are dropped, a third each has one, two and three digits (007 counts as 7)."""
    numbers = addition.make(30_000, distinct=False).pairs.ravel()
    three = np.mean(numbers >= 100)
    assert three == pytest.approx(0.3, abs=0.01)  # a third, less a tenth that starts with 0


def test_careless_drawing_leaks_and_careful_does_not() -> None:
    assert addition.leaked(*addition.make(5000, distinct=False).split()) > 0.3
    assert addition.leaked(*addition.make(5000).split()) == 0


def test_split_keeps_every_row_once() -> None:
    sums = addition.make(1234)
    train, held_out = sums.split()
    assert (len(train), len(held_out)) == (1111, 123)
    assert np.array_equal(np.concatenate([train.pairs, held_out.pairs]), sums.pairs)


def test_exact_counts_whole_answers() -> None:
    answers = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], np.int32)
    guesses = np.array([[1, 2], [3, 0], [5, 6], [0, 0]], np.int32)
    assert addition.exact(answers, guesses) == 0.5


@pytest.mark.parametrize(("count", "digits"), [(40, 1), (-1, 3), (5, 0)])
def test_impossible_requests_are_refused(count: int, digits: int) -> None:
    with pytest.raises(ValueError, match=r"sums"):
        addition.make(count, digits=digits)


def test_blanks_among_the_answers() -> None:
    """The share a model gets right for nothing; 26% and 21.7% in sets of 10,000 and 50,000."""
    assert np.mean(addition.make(50_000).answers == 0) == pytest.approx(0.217, abs=0.01)
