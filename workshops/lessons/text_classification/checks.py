"""Tests of the exercises of the lesson text-classification."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_1_word_numbers(learner: Any) -> None:
    got = list(learner.word_numbers(False, [4, 2, 4], 6))
    assert got == [4, 2, 4], f"the input of an Embedding should be the word numbers 4 2 4, yours is {got}"
    got = list(learner.word_numbers(False, [1, 3], 4))
    assert got == [1, 3], f"the input of an Embedding should be the word numbers 1 3, yours is {got}"
    assert list(learner.word_numbers(True, [4, 2, 4], 6)) == [0, 0, 1, 0, 1, 0], (
        "the input of a Dense layer should be the bag of words"
    )


def check_2_cut(learner: Any) -> None:
    assert list(learner.cut([5, 6], 4)) == [0, 0, 5, 6], "a short text should be padded before it"
    got = list(learner.cut([1, 2, 3, 4, 5], 3))
    assert got == [3, 4, 5], f"the last three numbers of 1 2 3 4 5 are 3 4 5, yours are {got}"


def check_3_last_state(learner: Any) -> None:
    states = np.arange(12.0).reshape(6, 2)
    got = np.asarray(learner.last_state(states, np.array([7, 3, 9, 0, 0, 0])))
    assert got.tolist() == [4.0, 5.0], (
        f"the last word is the third, so the state should be 4 5, yours is {got}"
    )
    got = np.asarray(learner.last_state(states, np.array([7, 3, 9, 5, 2, 0])))
    assert got.tolist() == [8.0, 9.0], (
        f"the last word is the fifth, so the state should be 8 9, yours is {got}"
    )


def check_4_split(learner: Any) -> None:
    train, test = learner.split(["a", "b", "c", "a", "d", "b", "e", "c"], 2)
    both = set(train) & set(test)
    assert not both, f"{sorted(both)} are in both parts"
    assert len(test) == 2, f"the test part should have 2 reviews, yours has {len(test)}"
    assert set(train) | set(test) == set("abcde"), "every different review should be in one part"
    train, test = learner.split(["f", "g", "f", "h"], 1)
    assert (list(train), list(test)) == (["f", "g"], ["h"]), (
        f"the reviews f g f h with a test part of 1 should become f g (training) and h (test), not {train} and {test}"
    )
