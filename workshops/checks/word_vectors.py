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


def check_2_token_numbers(learner: Any) -> None:
    got = list(learner.token_numbers("love this movie love", ["i", "love", "this", "movie"], 6))
    assert got == [0, 0, 2, 3, 4, 2], f"'love this movie love' is 0 0 2 3 4 2, yours is {got}"
    got = list(learner.token_numbers("i love this movie", ["i", "love", "this", "movie"], 3))
    assert got == [2, 3, 4], f"a text that is too long keeps its last words: 2 3 4, yours is {got}"


def check_3_glove_weight(learner: Any) -> None:
    assert abs(learner.glove_weight(25.0) - 0.5**0.75) < 1e-9, "25 of 50 should weigh 0.5^0.75 = 0.595"
    got = learner.glove_weight(5000.0)
    assert got == 1.0, f"5000 times should weigh 1, yours weighs {got:.1f}"


def check_4_cosine(learner: Any) -> None:
    a, b = np.array([3.0, 4.0]), np.array([6.0, 8.0])
    assert abs(learner.cosine(a, b) - 1) < 1e-9, f"same direction: cosine 1, yours {learner.cosine(a, b):.1f}"
    assert abs(learner.cosine(a, np.array([-4.0, 3.0]))) < 1e-9, "a right angle: cosine 0"
