"""Read Sign Language MNIST from the learner's own CSV files, and validate every line before any training.

The set (27,455 and 7,172 pictures, CC0) is published at Kaggle, datamunge/sign-language-mnist, for users with an
account. No other address of its authors is known, so dlbox does not download it.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TextIO

import numpy as np

from common.file_access import inputs
from common.terminal.shown import shortened
from workshops.data.glyphs import LABELS, SIDE, Glyphs, Images, Labels

TRAIN, TEST = "sign_mnist_train.csv", "sign_mnist_test.csv"
_COLUMNS = 1 + SIDE * SIDE
_SMALLEST = 240
_LARGEST_BYTES = 512 << 20
_LONGEST_HEADER = 1 << 16


class SignsError(Exception):
    """The files are missing or not valid. The message is one sentence for the learner."""


def folder() -> Path:
    """Default folder of the two files."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("dlbox")) / "sign-mnist"


def load(
    place: Path | None, *, seed: int = 0, most: int | None = None, held_out: float = 0.1
) -> tuple[Glyphs, Glyphs, Glyphs]:
    """(training, validation, test) from a folder with both files, or from one file; raises SignsError.

    The test part is the test file. Without a test file, the test part is taken from the training file and is as large
    as the validation part. ``most``: maximum number of training pictures.
    """
    train, test = _find(place)
    images, labels = read(train)
    order = np.random.default_rng(seed).permutation(len(labels))
    count = max(1, round(held_out * len(labels)))
    judged = read(test) if test else (images[order[:count]], labels[order[:count]])
    rest = order if test else order[count:]
    choose, learn = rest[:count], rest[count:][:most]
    return _signs(images[learn], labels[learn]), _signs(images[choose], labels[choose]), _signs(*judged)


def read(path: Path) -> tuple[Images, Labels]:
    """Pictures (n, 28, 28) and labels (n,) of one CSV file. Raises SignsError with the number of the first wrong
    line."""
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
    """The numbers below the header; no rows if a value is not a number. Raises SignsError for a wrong header."""
    header = [word.strip().strip('"') for word in file.readline(_LONGEST_HEADER).split(",")]
    if header != ["label", *(f"pixel{i}" for i in range(1, _COLUMNS))]:
        raise SignsError(f"{path}, line 1: expected the header label,pixel1,...,pixel{_COLUMNS - 1}.")
    try:
        with warnings.catch_warnings(action="ignore"):  # an empty file is reported below
            return np.loadtxt(file, np.int64, delimiter=",", comments=None, ndmin=2)
    except (ValueError, OverflowError):
        return np.empty((0, 0), np.int64)


def _sound(rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> bool:
    pixels = rows[:, 1:]
    return bool(np.isin(rows[:, 0], LABELS).all() and (pixels >= 0).all() and (pixels <= 255).all())


def _first_wrong(path: Path) -> str:
    """Description of the first error in the file."""
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
    return f"{path} has a header but no pictures."


def _find(place: Path | None) -> tuple[Path, Path | None]:
    """The training file and the test file (None if only one file was given)."""
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
            f"There is no {missing} in {here}: Kaggle offers the set (datamunge/sign-language-mnist) only to people "
            "who sign in; download it there and put both files into that folder, or pass their folder with --corpus."
        )
    return found[0], found[1]


def _signs(images: Images, labels: Labels) -> Glyphs:
    return Glyphs(images, labels, labels)
