"""The signs drawn for the lesson, and Sign Language MNIST's files as learners really have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workshops.data import glyphs, sign_mnist

HEADER = ",".join(["label", *(f"pixel{i}" for i in range(1, 785))])


@settings(deadline=None, max_examples=30)
@given(count=st.integers(0, 150), flipped=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_exactly_the_requested_share_of_labels_is_wrong(count: int, flipped: float, seed: int) -> None:
    signs = glyphs.make(count, seed=seed, flipped=flipped)
    assert signs.images.shape == (count, 28, 28)
    assert signs.images.dtype == np.uint8
    assert np.sum(signs.labels != signs.truth) == round(flipped * count)
    assert set(signs.labels.tolist()) | set(signs.truth.tolist()) <= set(glyphs.LABELS)
    often = [int(np.sum(signs.truth == label)) for label in glyphs.LABELS]
    assert max(often) - min(often) <= 1


def test_same_seed_same_signs_and_the_parts_share_none() -> None:
    again = glyphs.parts(96, 48, 48, seed=3)
    for a, b in zip(glyphs.parts(96, 48, 48, seed=3), again, strict=True):
        assert np.array_equal(a.images, b.images)
        assert np.array_equal(a.labels, b.labels)
    pictures = [image.tobytes() for part in again for image in part.images]
    assert len(set(pictures)) == len(pictures)
    assert not np.array_equal(again[0].images[:10], glyphs.make(96, seed=[4, 0]).images[:10])


def test_ceiling_is_exact_in_every_part() -> None:
    assert [part.ceiling for part in glyphs.parts(6000, 1200, 2400, seed=1)] == [0.95, 0.95, 0.95]


def test_labels_are_those_of_the_published_set() -> None:
    assert len(glyphs.LABELS) == len(glyphs.STROKES) == 24
    assert [glyphs.letter(label) for label in glyphs.LABELS] == list(glyphs.STROKES)
    assert "J" not in glyphs.STROKES
    assert "Z" not in glyphs.STROKES


@pytest.mark.parametrize("name", glyphs.STROKES)
def test_every_letter_is_drawn_inside_the_picture_and_differs(name: str) -> None:
    pictures = glyphs.draw(name, 4, np.random.default_rng(0))
    assert pictures.min() < 90 < 150 < pictures.max()
    assert len({picture.tobytes() for picture in pictures}) == 4


@pytest.mark.parametrize(("count", "flipped"), [(-1, 0.0), (5, -0.1), (5, 1.1), (5, float("nan"))])
def test_impossible_requests_are_refused(count: int, flipped: float) -> None:
    with pytest.raises(ValueError, match="cannot make"):
        glyphs.make(count, flipped=flipped)


# -- the published files -------------------------------------------------------------------------------------


def write(path: Path, count: int, seed: int, header: str = HEADER) -> Path:
    signs = glyphs.make(count, seed=seed, flipped=0)
    rows = np.column_stack([signs.labels, signs.images.reshape(count, -1)])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, rows, "%d", ",", header=header, comments="")
    return path


def test_files_give_back_what_is_in_them(tmp_path: Path) -> None:
    images, labels = sign_mnist.read(write(tmp_path / "a.csv", 240, 1))
    signs = glyphs.make(240, seed=1, flipped=0)
    assert np.array_equal(images, signs.images)
    assert np.array_equal(labels, signs.labels)


@pytest.mark.parametrize("unpacked", ["", "sign_mnist_train/", "both"])
def test_a_folder_or_a_file_is_found(tmp_path: Path, unpacked: str) -> None:
    inside = ("sign_mnist_train/", "sign_mnist_test/") if unpacked == "both" else (unpacked, "")
    train = write(tmp_path / inside[0] / sign_mnist.TRAIN, 500, 1)
    test = write(tmp_path / inside[1] / sign_mnist.TEST, 260, 2)
    parts = sign_mnist.load(tmp_path)
    assert [len(part) for part in parts] == [450, 50, 260]
    assert np.array_equal(parts[2].images, glyphs.make(260, seed=2, flipped=0).images)
    assert len({image.tobytes() for part in parts[:2] for image in part.images}) == 500
    beside = 260 if train.parent == test.parent else 50
    assert len(sign_mnist.load(train)[2]) == beside
    assert [len(part) for part in sign_mnist.load(tmp_path, most=30)] == [30, 50, 260]


def test_one_file_is_cut_in_three(tmp_path: Path) -> None:
    parts = sign_mnist.load(write(tmp_path / "mine.csv", 300, 1), seed=5)
    assert [len(part) for part in parts] == [240, 30, 30]
    assert len({image.tobytes() for part in parts for image in part.images}) == 300


def test_the_error_for_a_missing_data_set_is_one_sentence_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(sign_mnist.SignsError, match="only to people who sign in") as error:
        sign_mnist.load(None)
    assert str(tmp_path / "dlbox" / "sign-mnist") in str(error.value)
    assert "\n" not in str(error.value)
    write(sign_mnist.folder() / sign_mnist.TRAIN, 240, 1)
    with pytest.raises(sign_mnist.SignsError, match=r"^There is no sign_mnist_test\.csv in"):
        sign_mnist.load(None)


ROW = ",".join(["3", *["7"] * 784])


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "line 1: expected the header"),
        (["label,pixel1"], "line 1: expected the header"),
        ([HEADER], "has a header but no pictures"),
        ([HEADER, ROW, ROW + ",7"], "line 3: 786 values"),
        ([HEADER, ROW, "", "3,7"], "line 4: 2 values"),
        ([HEADER, ROW, ROW.replace("7", "0.5", 1)], "line 3: every value must be a whole number"),
        ([HEADER, ROW, "9" * 40 + ROW[1:]], "line 3: label 9999"),
        ([HEADER, "9" + ROW[1:]], "line 2: label 9"),
        ([HEADER, ROW, "25" + ROW[1:]], "line 3: label 25"),
        ([HEADER, ROW, ROW[:-1] + "256"], "line 3: a pixel is outside"),
        ([HEADER, ROW, ROW[:-1] + "-1"], "line 3: a pixel is outside"),
        ([HEADER, ROW, ROW], "has 2 pictures: at least 240"),
    ],
)
def test_an_error_is_reported_with_its_line(tmp_path: Path, lines: list[str], sentence: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(sign_mnist.SignsError, match=sentence) as error:
        sign_mnist.read(path)
    assert "\n" not in str(error.value)


def test_an_archive_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04\xff\xfe\x80")
    for name, sentence in (("a.zip", "is not text in UTF-8"), ("b.csv", "Cannot read")):
        with pytest.raises(sign_mnist.SignsError, match=sentence):
            sign_mnist.read(tmp_path / name)


def test_a_byte_order_mark_and_quotes_are_accepted(tmp_path: Path) -> None:
    quoted = ",".join(f'"{word}"' for word in HEADER.split(","))
    path = write(tmp_path / "a.csv", 240, 1, "\ufeff" + quoted)
    assert len(sign_mnist.read(path)[0]) == 240
