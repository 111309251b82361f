"""Tests of the exercises of the lesson word-vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from workshops.data import analogies


def check_1_analogy(learner: Any) -> None:
    vectors = analogies.unit(analogies.ppmi_svd(analogies.make().counts))
    asked = analogies.questions()[::24]
    right = np.mean([learner.analogy(vectors.copy(), a, a2, b) == b2 for a, a2, b, b2 in asked])
    assert right > 0.85, f"{right:.0%} of the answers are right; more than 85% is possible"
    vectors = np.array([[1.0, 0, 0], [0.98, 0, 0.2], [0, 1, 0], [0, 0.8, 0.6], [0.6, 0.6, 0.53]])
    got = learner.analogy(vectors, 0, 1, 2)
    assert got not in (0, 1, 2), f"rows 0, 1 and 2 are words of the question; your answer is row {got}"
    assert got == 3, f"0 is to 1 as 2 is to 3; your answer is {got}"


def check_2_token_numbers(learner: Any) -> None:
    got = list(learner.token_numbers("love this movie love", ["i", "love", "this", "movie"], 6))
    assert got == [0, 0, 2, 3, 4, 2], f"'love this movie love' should become 0 0 2 3 4 2, yours is {got}"
    got = list(learner.token_numbers("i love this movie", ["i", "love", "this", "movie"], 3))
    assert got == [2, 3, 4], f"of a text that is too long the last words remain: expected 2 3 4, got {got}"


def check_3_glove_weight(learner: Any) -> None:
    assert abs(learner.glove_weight(25.0) - 0.5**0.75) < 1e-9, (
        "the weight of a count of 25 with cap 50 should be 0.5^0.75 = 0.595"
    )
    assert abs(learner.glove_weight(5.0, 10.0) - 0.5**0.75) < 1e-9, (
        "the weight of a count of 5 with cap 10 should be 0.595"
    )
    got = learner.glove_weight(5000.0)
    assert got == 1.0, f"the weight of a count of 5000 should be 1, yours is {got:.1f}"


def check_4_cosine(learner: Any) -> None:
    a, b = np.array([3.0, 4.0]), np.array([6.0, 8.0])
    assert abs(learner.cosine(a, b) - 1) < 1e-9, (
        f"same direction: expected cosine 1, got {learner.cosine(a, b):.1f}"
    )
    assert abs(learner.cosine(a, np.array([-4.0, 3.0]))) < 1e-9, "a right angle: expected cosine 0"
    assert abs(learner.cosine(a, np.array([-0.3, -0.4])) + 1) < 1e-9, (
        "the opposite direction: expected cosine -1"
    )


def check_5_baseline(learner: Any) -> None:
    vectors = analogies.unit(np.array([[1.0, 0.1], [1.0, 0.2], [1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]))
    got = learner.baseline(vectors, 0, 1, 2)
    assert got == 3, (
        f"rows 0, 1 and 2 are in the question; of rows 3 and 4, row 3 is nearer; your answer is {got}"
    )
    got = learner.baseline(vectors, 2, 3, 4)
    assert got == 1, (
        f"rows 2, 3 and 4 are in the question; of rows 0 and 1, row 1 is nearer; your answer is {got}"
    )


def check_6_ppmi(learner: Any) -> None:
    counts = np.array([[8.0, 0.0, 2.0], [1.0, 9.0, 10.0]])
    with np.errstate(all="ignore"):
        got = np.asarray(learner.ppmi(counts))
    assert got.shape == counts.shape, (
        f"one number for each count: the shape should be (2, 3), not {got.shape}"
    )
    want = np.log(8 * 30 / (10 * 9))
    assert np.isclose(got[0, 0], want), f"ln(8 x 30 / (10 x 9)) is {want:.4f}, got {got[0, 0]:.4f}"
    assert got[0, 1] == 0, f"a pair that never occurs has the value 0, got {got[0, 1]}"
    assert got[0, 2] == 0, f"a count of 2 where 4 are expected by chance has the value 0, got {got[0, 2]:.4f}"
    with np.errstate(all="ignore"):
        even = np.asarray(learner.ppmi(np.array([[2.0, 4.0], [1.0, 2.0], [5.0, 10.0]])))
    assert np.allclose(even, 0), f"if all rows are proportional, every value is 0; got {even}"
    want = np.log(9 * 30 / (20 * 9))
    assert np.isclose(got[1, 1], want), f"ln(9 x 30 / (20 x 9)) is {want:.4f}, got {got[1, 1]:.4f}"
