"""Sign Language MNIST from the learner's own CSV files: looked through line by line before anything is trained.

The set (27,455 and 7,172 pictures, CC0) is given out at Kaggle, datamunge/sign-language-mnist, to people who are
signed in there. No other address is known that its makers answer for, so nothing is downloaded here.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TextIO

import numpy as np

from common import inputs
from common.shown import shortened
from workshops.data.glyphs import LABELS, SIDE, Glyphs, Images, Labels

TRAIN, TEST = "sign_mnist_train.csv", "sign_mnist_test.csv"
_COLUMNS = 1 + SIDE * SIDE
_SMALLEST = 240
_LARGEST_BYTES = 512 << 20
_LONGEST_HEADER = 1 << 16


class SignsError(Exception):
    """The files are not there or not as they should be; the message is one sentence for the learner."""


def folder() -> Path:
    """Where the two files are looked for when none are named."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("dlbox")) / "sign-mnist"


def load(
    place: Path | None, *, seed: int = 0, most: int | None = None, held_out: float = 0.1
) -> tuple[Glyphs, Glyphs, Glyphs]:
    """(to learn from, to choose with, to judge by) from a folder with both files or one file; raises SignsError.

    The test part is the test file's own; where there is one file only, as many pictures as are held out for
    choosing are held out for judging. ``most``: learn from that many pictures at most.
    """
    train, test = _find(place)
    images, labels = read(train)
    order = np.random.default_rng(seed).permutation(len(labels))
    held = max(1, round(held_out * len(labels)))
    judged = read(test) if test else (images[order[:held]], labels[order[:held]])
    rest = order if test else order[held:]
    choose, learn = rest[:held], rest[held:][:most]
    return _signs(images[learn], labels[learn]), _signs(images[choose], labels[choose]), _signs(*judged)


def read(path: Path) -> tuple[Images, Labels]:
    """(pictures (n, 28, 28), labels (n,)) of one CSV file; raises SignsError naming the line that is wrong."""
    try:
        with inputs.open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > _LARGEST_BYTES:
                raise SignsError(
                    f"{path} is larger than {_LARGEST_BYTES >> 20} MiB: the published file has 83."
                )
            inputs.check_utf8(file, str(path))
            file.seek(0)
            rows = _rows(path, io.TextIOWrapper(file, encoding="utf-8-sig"))
    except inputs.InputError as error:
        raise SignsError(f"Cannot read {path}: {error.reason}." if error.reason else f"{error}.") from None
    except OSError as error:
        raise SignsError(f"Cannot read {path}: {error.strerror}.") from None
    if rows.shape[1] != _COLUMNS or not _sound(rows):
        raise SignsError(_first_wrong(path))
    if len(rows) < _SMALLEST:
        raise SignsError(f"{path} has {len(rows)} pictures: at least {_SMALLEST} are needed.")
    return rows[:, 1:].astype(np.uint8).reshape(-1, SIDE, SIDE), rows[:, 0].astype(np.int32)


def _rows(path: Path, file: TextIO) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """The numbers below the header, or no row where they are none. Raises SignsError for another header."""
    header = [word.strip().strip('"') for word in file.readline(_LONGEST_HEADER).split(",")]
    if header != ["label", *(f"pixel{i}" for i in range(1, _COLUMNS))]:
        raise SignsError(f"{path}, line 1: expected the header label,pixel1,...,pixel{_COLUMNS - 1}.")
    try:
        with warnings.catch_warnings(action="ignore"):  # no rows: said below, in words
            return np.loadtxt(file, np.int64, delimiter=",", comments=None, ndmin=2)
    except (ValueError, OverflowError):
        return np.empty((0, 0), np.int64)


def _sound(rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> bool:
    pixels = rows[:, 1:]
    return bool(np.isin(rows[:, 0], LABELS).all() and (pixels >= 0).all() and (pixels <= 255).all())


def _first_wrong(path: Path) -> str:
    """What is wrong with the first line that is not as it should be."""
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if number == 1 or not line.strip():
                continue
            words = line.split(",")
            if len(words) != _COLUMNS:
                return (
                    f"{path}, line {number}: {len(words)} values, expected a label and {_COLUMNS - 1} pixels."
                )
            try:
                label, *pixels = (int(word) for word in words)
            except ValueError:
                return f"{path}, line {number}: every value must be a whole number (pixels 0 to 255, not 0 to 1)."
            if label not in LABELS:
                shown = shortened(label, 40)
                return f"{path}, line {number}: label {shown}, expected 0 to 24 without 9 (J is a movement)."
            if min(pixels) < 0 or max(pixels) > 255:
                return f"{path}, line {number}: a pixel is outside 0 to 255."
    return f"{path} has no pictures, only a header."


def _find(place: Path | None) -> tuple[Path, Path | None]:
    """The training file and the test file (None where only one file was named)."""
    if place is not None and not place.is_dir():
        beside = place.with_name(place.name.replace("train", "test"))
        return place, beside if beside != place and beside.is_file() else None
    here = place or folder()
    found = [
        next((p for p in (here / name, here / Path(name).stem / name) if p.is_file()), None)
        for name in (TRAIN, TEST)
    ]
    if found[0] is None or found[1] is None:
        missing = " and ".join(name for name, path in zip((TRAIN, TEST), found, strict=True) if path is None)
        raise SignsError(
            f"There is no {missing} in {here}: Kaggle gives the set (datamunge/sign-language-mnist) only to people "
            "who sign in, so get it there once and put both files into that folder, or name theirs with --corpus."
        )
    return found[0], found[1]


def _signs(images: Images, labels: Labels) -> Glyphs:
    return Glyphs(images, labels, labels)
