"""Tests of the exercises of the lesson seq2seq."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_1_distinct(learner: Any) -> None:
    got = list(learner.distinct([(2, 3), (7, 1), (3, 2), (2, 3), (1, 7), (5, 5)]))
    assert got == [(2, 3), (7, 1), (5, 5)], (
        f"2+3 and 3+2 are one sum: expected (2, 3), (7, 1), (5, 5), got {got}"
    )
    got = list(learner.distinct([(40, 2), (2, 40), (1, 41)]))
    assert got == [(40, 2), (1, 41)], f"40+2 and 1+41 are two questions: expected (40, 2), (1, 41), got {got}"


def check_2_sums_right(learner: Any) -> None:
    answers = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9], [1, 1, 1]])
    guesses = np.array([[1, 2, 3], [4, 5, 0], [0, 8, 9], [1, 1, 1]])
    got = learner.sums_right(answers, guesses)
    assert got == 0.5, f"two of these four sums are right in every symbol: expected 0.5, got {got:.3f}"
    got = learner.sums_right(answers, np.zeros_like(answers))
    assert got == 0, f"no sum is right if only zeros are written: expected 0, got {got:.3f}"


def check_3_decoder_input(learner: Any) -> None:
    answers = np.array([[3, 5, 7], [8, 1, 0]])
    got = np.asarray(learner.decoder_input(answers, 12))
    assert got.shape == answers.shape, (
        f"the shape should be that of the answer, {answers.shape}, not {got.shape}"
    )
    assert got.tolist() == [[12, 3, 5], [12, 8, 1]], (
        f"for 3 5 7 the input should be 12 3 5, yours is {got[0]}"
    )
    got = np.asarray(learner.decoder_input(np.array([[4, 4, 2, 6]]), 0))
    assert got.tolist() == [[0, 4, 4, 2]], (
        f"for 4 4 2 6 with start 0 the input should be 0 4 4 2, yours is {got[0]}"
    )


def check_4_question(learner: Any) -> None:
    got = learner.question("1+20", 7)
    assert got == "   02+1", f"'1+20' should become '   02+1', yours is {got!r}"
    assert learner.question("123+456", 7) == "654+321", "a question of full length is only reversed"
