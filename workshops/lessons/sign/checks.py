"""Tests of the exercises of the lesson sign."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_1_letter(learner: Any) -> None:
    got = "".join(learner.letter(place) for place in range(24))
    assert got == "ABCDEFGHIKLMNOPQRSTUVWXY", f"position 9 is K and position 23 is Y; yours are {got}"


def check_2_softmax(learner: Any) -> None:
    with np.errstate(all="ignore"):
        large = np.asarray(learner.softmax(np.array([[1000.0, 1001.0], [-2000.0, -2000.0]])))
    small = np.asarray(learner.softmax(np.array([[0.0, np.log(3.0)]])))
    assert np.allclose(small, [[0.25, 0.75]]), (
        f"scores of 0 and log 3 should give 1/4 and 3/4, not {small[0]}"
    )
    assert np.isfinite(large).all(), f"scores of 1000 and 1001 become {large[0]}: exp overflows"
    assert np.allclose(large, [[0.26894142, 0.73105858], [0.5, 0.5]]), (
        f"scores of 1000 and 1001 should give the same as 0 and 1, not {large[0]}"
    )


def check_3_loss(learner: Any) -> None:
    shares = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    got = learner.loss(shares, np.array([0, 1]))
    want = -(np.log(0.5) + np.log(0.1)) / 2
    assert np.isclose(got, want), (
        f"probabilities of 0.5 and 0.1 for the right letters: expected {want:.4f}, got {got:.4f}"
    )
    got = learner.loss(np.array([[0.25, 0.5, 0.25]]), np.array([1]))
    assert np.isclose(got, np.log(2)), (
        f"a probability of 0.5 for the right letter: expected 0.6931, got {got:.4f}"
    )


def check_4_prepare(learner: Any) -> None:
    got = np.asarray(learner.prepare(np.full((1, 28, 28), 102, np.uint8)))
    assert got.shape == (1, 28, 28, 1), (
        f"one channel at the end: the shape should be (1, 28, 28, 1), not {got.shape}"
    )
    assert np.allclose(got, 0.4), f"a pixel of 102 should become 0.4, yours is {got.ravel()[0]}"
    images = np.zeros((2, 28, 28), np.uint8)
    images[1, 3, 4], images[1, 5, 6] = 255, 51
    got = np.asarray(learner.prepare(images))
    assert got.shape == (2, 28, 28, 1), (
        f"one channel at the end: the shape should be (2, 28, 28, 1), not {got.shape}"
    )
    assert got.dtype == np.float32, f"the type should be float32, not {got.dtype}"
    assert np.isclose(got[1, 3, 4, 0], 1), f"a pixel of 255 should become 1, yours is {got[1, 3, 4, 0]}"
    assert np.isclose(got[1, 5, 6, 0], 0.2), f"a pixel of 51 should become 0.2, yours is {got[1, 5, 6, 0]}"


def check_5_score_to_report(learner: Any) -> None:
    validation, test = np.array([0.6, 0.9, 0.8]), np.array([0.7, 0.82, 0.88])
    got = learner.score_to_report(validation, test)
    assert got == 0.82, f"validation chooses the second epoch, and its test score is 0.82, not {got}"
    got = learner.score_to_report(np.array([0.7, 0.5]), np.array([0.61, 0.9]))
    assert got == 0.61, f"validation chooses the first epoch, and its test score is 0.61, not {got}"


def check_6_convolve(learner: Any) -> None:
    image = np.array([[0.0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]])
    got = np.asarray(learner.convolve(image, np.array([[-1.0, 1.0]])))
    assert got.shape == (3, 3), (
        f"a 1 x 2 kernel has 3 positions in 4 columns: expected the shape (3, 3), got {got.shape}"
    )
    assert np.array_equal(got[0], [0, 1, 0]), (
        f"the kernel -1 1 gives 1 at an edge from dark to light: the result should be 0 1 0, yours is {got[0]}"
    )
    rng = np.random.default_rng(0)
    image, kernel = rng.normal(size=(5, 4)), rng.normal(size=(3, 2))
    got = np.asarray(learner.convolve(image, kernel))
    assert got.shape == (3, 3), (
        f"a 3 x 2 kernel has 3 x 3 positions in 5 x 4 pixels: expected the shape (3, 3), got {got.shape}"
    )
    want = np.sum(image[2:5, 1:3] * kernel)
    assert np.isclose(got[2, 1], want), f"row 2, column 1: expected {want:.3f}, got {got[2, 1]:.3f}"
    want = np.sum(image[:3, :2] * kernel)
    assert np.isclose(got[0, 0], want), f"row 0, column 0: expected {want:.3f}, got {got[0, 0]:.3f}"
