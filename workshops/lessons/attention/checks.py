"""Tests of the exercises of the lesson attention."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_1_looks(learner: Any) -> None:
    rng = np.random.default_rng(0)
    got = np.asarray(learner.looks(rng.normal(size=(3, 4)), rng.normal(size=(5, 4))))
    assert got.shape == (3, 5), f"3 queries and 5 keys: the shape should be (3, 5), not {got.shape}"
    assert np.allclose(got.sum(axis=1), 1), (
        f"each row should sum to 1, yours sum to {np.round(got.sum(axis=1), 2)}"
    )

    assert np.allclose(learner.looks(np.zeros((1, 4)), rng.normal(size=(2, 4))), 0.5), (
        "a query of zeros should give equal weights"
    )
    q = np.array([[2 * np.log(3.0), 0.0], [0.0, 0.0]])
    got = np.asarray(learner.looks(q / np.sqrt(2), np.eye(2)))
    assert np.allclose(got, [[0.75, 0.25], [0.5, 0.5]]), (
        f"scores of ln 3 and 0 should give the weights 3/4 and 1/4; yours are {np.round(got[0], 3)}"
    )


def check_2_masked(learner: Any) -> None:
    got = np.asarray(learner.masked(np.array([1.0, 1.0, 9.0]), np.array([False, False, True])))
    assert got[2] == 0, f"the weight of the padding is {got[2]:.2f}, it should be 0"
    assert np.allclose(got[:2], 0.5), "the two words should have equal weights"
    scores = np.array([0.3, np.log(3.0), -5.0, 0.0, 2.0])
    got = np.asarray(learner.masked(scores, np.array([True, False, True, False, True])))
    assert np.allclose(got, [0, 0.75, 0, 0.25, 0]), (
        f"words with scores of ln 3 and 0 should have the weights 3/4 and 1/4 with any padding; yours are "
        f"{np.round(got, 3)}"
    )


def check_3_scaled(learner: Any) -> None:
    rng = np.random.default_rng(0)
    for d in (4, 64, 1024):
        q, k = rng.normal(size=(80, d)), rng.normal(size=(60, d))
        got = np.asarray(learner.scaled(q, k))
        assert got.shape == (80, 60), f"80 queries and 60 keys: the shape should be (80, 60), not {got.shape}"
        assert 0.9 < np.std(got) < 1.1, (
            f"with d = {d} the standard deviation is {np.std(got):.1f}, it should be 1"
        )
        assert np.allclose(got * (q[0] @ k[0]), (q @ k.T) * got[0, 0]), (
            "the result should be the scores q k times one number"
        )


def check_4_places(learner: Any) -> None:
    got = np.asarray(learner.places(50, 8))
    assert got.shape == (50, 8), f"the shape should be (50, 8), not {got.shape}"
    assert len(np.unique(np.round(got, 9), axis=0)) == 50, "every position needs a different row"
    assert np.allclose(got[1, :2], [np.sin(1), np.cos(1)]), "position 1 should begin with sin 1, cos 1"
    assert np.allclose(got[3, 4:6], [np.sin(0.03), np.cos(0.03)]), (
        "position 3, columns 4 and 5: should be sin and cos of 0.03"
    )
    assert np.asarray(learner.places(7, 4)).shape == (7, 4), (
        "7 positions of width 4: the shape should be (7, 4)"
    )


def check_5_additive(learner: Any) -> None:
    rng = np.random.default_rng(0)
    states, w, b, u = rng.normal(size=(6, 3)), rng.normal(size=(3, 3)), rng.normal(size=3), rng.normal(size=3)
    scores = np.tanh(states @ w + b) @ u
    got = np.asarray(learner.additive(states, w, b, u))
    want = np.exp(scores) / np.exp(scores).sum()
    assert np.allclose(got, want, atol=1e-6), f"expected {np.round(want, 3)}; yours are {np.round(got, 3)}"
    for score in (-100.0, 1000.0):
        with np.errstate(all="ignore"):
            got = np.asarray(learner.additive(states, w * 0, b * 0 + 20, u * 0 + score / 3))
        assert np.allclose(got, 1 / 6), (
            f"six scores of {score:.0f} should give equal weights; yours are {np.round(got, 3)}"
        )


def check_6_ceiling(learner: Any) -> None:
    kinds, clean = np.array([0, 0, 1, 1, 2, 2, 2, 2]), np.array([1, 0, 1, 0, 1, 0, 1, 0])
    labels = clean.copy()
    got = learner.ceiling(kinds, labels, clean, (0, 1, 2))
    assert got == 1, (
        f"if no label is flipped and every kind is read, the accuracy should be 1, yours is {got:.3f}"
    )
    labels[[0, 4]] ^= 1
    got = learner.ceiling(kinds, labels, clean, (0, 1, 2))
    assert got == 0.75, f"if two of eight labels are flipped, the accuracy should be 0.75, yours is {got:.3f}"
    got = learner.ceiling(kinds, labels, clean, (0,))
    assert got == 0.5, (
        f"if one of two read reviews is flipped and six are guessed, the accuracy should be 0.5, yours is {got:.3f}"
    )


def check_7_summary(learner: Any) -> None:
    vectors = np.array([[0.0, 0.0], [3.0, -1.0], [1.0, 2.0], [0.0, 0.0]])
    got = np.asarray(learner.summary(vectors))
    assert got.shape == (2,), f"one number per column: the shape should be (2,), not {got.shape}"
    assert got.tolist() == [3.0, 2.0], (
        f"the largest numbers of the columns are 3 and 2, yours are {got.tolist()}"
    )
    got = np.asarray(learner.summary(-1 - np.arange(12.0).reshape(4, 3)))
    assert got.tolist() == [-1.0, -2.0, -3.0], (
        f"of negative numbers the largest of each column should be -1 -2 -3, yours are {got.tolist()}"
    )
