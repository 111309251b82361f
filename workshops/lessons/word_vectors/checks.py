"""Tests of the exercises of the lesson word-vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from workshops.data import analogies


def check_1_analogy(learner: Any) -> None:
    vectors = analogies.unit(analogies.ppmi_svd(analogies.make().counts))
    asked = analogies.questions()[::24]
    right = np.mean([learner.analogy(vectors.copy(), a, a2, b) == b2 for a, a2, b, b2 in asked])
    assert right > 0.85, f"{right:.0%} of the questions are answered rightly; above 85% is possible"
    vectors = np.array([[1.0, 0, 0], [0.98, 0, 0.2], [0, 1, 0], [0, 0.8, 0.6], [0.6, 0.6, 0.53]])
    got = learner.analogy(vectors, 0, 1, 2)
    assert got not in (0, 1, 2), f"rows 0, 1 and 2 are the question: you answer with row {got} of it"
    assert got == 3, f"0 is to 1 as 2 is to 3, you answer {got}"


def check_2_token_numbers(learner: Any) -> None:
    got = list(learner.token_numbers("love this movie love", ["i", "love", "this", "movie"], 6))
    assert got == [0, 0, 2, 3, 4, 2], f"'love this movie love' is 0 0 2 3 4 2, yours is {got}"
    got = list(learner.token_numbers("i love this movie", ["i", "love", "this", "movie"], 3))
    assert got == [2, 3, 4], f"a text that is too long keeps its last words: 2 3 4, yours is {got}"


def check_3_glove_weight(learner: Any) -> None:
    assert abs(learner.glove_weight(25.0) - 0.5**0.75) < 1e-9, "25 of 50 should weigh 0.5^0.75 = 0.595"
    assert abs(learner.glove_weight(5.0, 10.0) - 0.5**0.75) < 1e-9, "so should 5 of 10"
    got = learner.glove_weight(5000.0)
    assert got == 1.0, f"5000 times should weigh 1, yours weighs {got:.1f}"


def check_4_cosine(learner: Any) -> None:
    a, b = np.array([3.0, 4.0]), np.array([6.0, 8.0])
    assert abs(learner.cosine(a, b) - 1) < 1e-9, f"same direction: cosine 1, yours {learner.cosine(a, b):.1f}"
    assert abs(learner.cosine(a, np.array([-4.0, 3.0]))) < 1e-9, "a right angle: cosine 0"
    assert abs(learner.cosine(a, np.array([-0.3, -0.4])) + 1) < 1e-9, "the opposite direction: cosine -1"


def check_5_baseline(learner: Any) -> None:
    vectors = analogies.unit(np.array([[1.0, 0.1], [1.0, 0.2], [1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]))
    got = learner.baseline(vectors, 0, 1, 2)
    assert got == 3, f"rows 0, 1 and 2 stand in the question: of 3 and 4 row 3 is nearer, you answer {got}"
    got = learner.baseline(vectors, 2, 3, 4)
    assert got == 1, f"rows 2, 3 and 4 stand in the question: of 0 and 1 row 1 is nearer, you answer {got}"


def check_6_ppmi(learner: Any) -> None:
    counts = np.array([[8.0, 0.0, 2.0], [1.0, 9.0, 10.0]])
    with np.errstate(all="ignore"):
        got = np.asarray(learner.ppmi(counts))
    assert got.shape == counts.shape, f"a number for each count: (2, 3), not {got.shape}"
    want = np.log(8 * 30 / (10 * 9))
    assert np.isclose(got[0, 0], want), f"ln(8 x 30 / (10 x 9)) is {want:.4f}, you give {got[0, 0]:.4f}"
    assert got[0, 1] == 0, f"a pair that never met gets 0, you give {got[0, 1]}"
    assert got[0, 2] == 0, f"2 where chance would give 4 gets 0, you give {got[0, 2]:.4f}"
    with np.errstate(all="ignore"):
        even = np.asarray(learner.ppmi(np.array([[2.0, 4.0], [1.0, 2.0], [5.0, 10.0]])))
    assert np.allclose(even, 0), f"where all rows are alike nothing says more than chance: 0, you give {even}"
    want = np.log(9 * 30 / (20 * 9))
    assert np.isclose(got[1, 1], want), f"ln(9 x 30 / (20 x 9)) is {want:.4f}, you give {got[1, 1]:.4f}"
