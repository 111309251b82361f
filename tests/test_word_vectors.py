from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshops.data import analogies, glove


def test_words_and_attributes_agree() -> None:
    by_name = dict(zip(analogies.WORDS, analogies.attributes().tolist(), strict=True))
    assert len(by_name) == 40
    assert by_name["king"] == [1, 0, 0]
    assert by_name["queens"] == [1, 1, 1]
    assert by_name["men"] == [0, 0, 1]
    assert by_name["niece"] == [9, 1, 0]


def test_questions_flip_one_attribute_of_both() -> None:
    told = analogies.attributes()
    asked = analogies.questions()
    assert len(asked) == len(set(asked)) == 720
    for a, a2, b, b2 in asked:
        assert told[a][0] == told[a2][0] != told[b][0] == told[b2][0]
        assert np.array_equal(told[a2] - told[a], told[b2] - told[b])
        assert np.abs(told[a2] - told[a]).sum() == 1


@given(st.integers(0, 10**6), st.integers(0, 2**32 - 1))
def test_counts_add_up(pairs: int, seed: int) -> None:
    corpus = analogies.make(pairs, seed=seed)
    assert corpus.counts.shape == (40, 124)
    assert corpus.pairs == pairs
    assert corpus.counts.min() >= 0


@pytest.mark.parametrize(
    ("pairs", "low", "high"), [(5_000, 0.15, 0.35), (20_000, 0.75, 0.9), (200_000, 0.93, 1)]
)
def test_more_counts_more_analogies(pairs: int, low: float, high: float) -> None:
    """Means over five seeds as in the published design: 0.25, 0.83 and 0.964."""
    vectors = [analogies.ppmi_svd(analogies.make(pairs, seed=seed).counts) for seed in range(5)]
    assert low <= np.mean([analogies.score(v) for v in vectors]) <= high
    if pairs == 200_000:
        assert np.mean([analogies.baseline(v) for v in vectors]) == pytest.approx(0.5, abs=0.01)


def test_perfect_vectors_answer_everything() -> None:
    family, gender, number = analogies.attributes().T
    vectors = np.concatenate([np.eye(10)[family], np.eye(2)[gender], np.eye(2)[number]], axis=1)
    assert analogies.score(vectors) == 1


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_file_with_odd_words(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", "king 1 0 0\n. . . 0 1 0\nwörter 0 0 1\n")
    assert [word for word, _ in glove.stream(path)] == ["king", ". . .", "wörter"]
    packed = tmp_path / "v.txt.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert [word for word, _ in glove.stream(packed)] == ["king", ". . .", "wörter"]


def test_first_line_of_word2vec_is_no_word(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", "2 3\nking 1 0 0\nman 0 1 0\n")
    assert set(glove.pick(path, ("king", "man"))) == {"king", "man"}


def test_nearest_needs_one_pass_and_leaves_out(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", "a 1 0\nb 10 1\nc 0 1\nd -1 0\n")
    rows = glove.nearest(path, np.array([1, 0], np.float32), leave_out=("a",), count=2)
    assert [word for word, _ in rows] == ["b", "c"]
    assert rows[0][1] == pytest.approx(10 / np.sqrt(101), abs=1e-6)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("king 1 0 0\nman 1 x 0\n", "line 2: a number is not a number"),
        ("king 1 0 0\nman 1\n", "line 2: expected a word and 3 numbers"),
        ("king\n", "line 1: expected a word"),
        ("king 1 0 0\n", "has no vector for man, woman"),
        ("", "has no vector for king, man, woman"),
    ],
)
def test_broken_files_are_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(glove.GloveError, match=sentence):
        glove.pick(write(tmp_path / "v.txt", text), ("king", "man", "woman"))


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "v.zip").write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(glove.GloveError, match="unpack it first"):
        list(glove.stream(tmp_path / "v.zip"))
    (tmp_path / "v.gz").write_bytes(b"no gzip")
    with pytest.raises(glove.GloveError, match="Cannot read"):
        list(glove.stream(tmp_path / "v.gz"))
    with pytest.raises(glove.GloveError, match="No such file"):
        list(glove.stream(tmp_path / "none"))
