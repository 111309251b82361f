"""Generated pictures of hand signs: 24 letters drawn as strokes with random shift, rotation, light and noise. Some
labels are wrong on purpose.

The format is that of Sign Language MNIST: 28 x 28 grey pixels of 0 to 255; labels 0 to 24 for A to Y. Label 9 (J) is
not used, because J and Z are movements. The drawings only resemble the signs of the sign language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

SIDE, CLASSES = 28, 25
LABELS = tuple(label for label in range(CLASSES) if label != 9)
"""The labels that occur: 0 is A, 24 is Y. Label 9 (J) does not occur."""
FLIPPED = 0.05
"""Share of labels that are replaced by another letter: the best possible score is 0.95."""

Images = NDArray[np.uint8]
Labels = NDArray[np.int32]
Floats = NDArray[np.float32]
Stroke = tuple[float, float, float, float, float]
"""A stroke (x0, y0, x1, y1, half width), or a ring (x, y, radius, nan, ...). The picture spans -1 to 1; y points
down."""


@dataclass(frozen=True)
class Glyphs:
    """``images`` (n, 28, 28), ``labels`` (n,), and ``truth`` (n,): the letters that were drawn."""

    images: Images
    labels: Labels
    truth: Labels

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def ceiling(self) -> float:
        """The best possible score: the share of right labels."""
        return float(np.mean(self.labels == self.truth))

    def first(self, count: int) -> Glyphs:
        """The first ``count`` signs."""
        return Glyphs(self.images[:count], self.labels[:count], self.truth[:count])


def letter(label: int) -> str:
    """The letter of a label: 0 -> "A", 24 -> "Y"."""
    return chr(ord("A") + label)


def make(count: int, *, seed: int | Sequence[int] = 0, flipped: float = FLIPPED) -> Glyphs:
    """``count`` signs. The numbers of each letter differ by at most 1. Exactly round(flipped x count) labels are wrong.

    The same seed gives the same signs. Raises ValueError for a negative count or a share outside 0 to 1.
    """
    if count < 0 or not 0 <= flipped <= 1:
        raise ValueError(f"cannot make {count} signs with {flipped} of the labels wrong")
    rng = np.random.default_rng(seed)
    truth = np.array(LABELS, np.int32)[rng.permutation(count) % len(LABELS)]
    images = np.empty((count, SIDE, SIDE), np.uint8)
    for label in LABELS:
        rows = np.flatnonzero(truth == label)
        images[rows] = draw(letter(label), len(rows), rng)
    labels = truth.copy()
    wrong = rng.permutation(count)[: round(flipped * count)]
    place = np.searchsorted(LABELS, truth[wrong])
    other = (place + rng.integers(1, len(LABELS), len(wrong))) % len(LABELS)
    labels[wrong] = np.array(LABELS, np.int32)[other]
    return Glyphs(images, labels, truth)


def parts(train: int, validation: int, test: int, *, seed: int = 0) -> tuple[Glyphs, Glyphs, Glyphs]:
    """(training, validation, test) signs."""
    return make(train, seed=[seed, 0]), make(validation, seed=[seed, 1]), make(test, seed=[seed, 2])


def draw(name: str, count: int, rng: np.random.Generator) -> Images:
    """``count`` different pictures of one letter: (count, 28, 28)."""
    light, dark = STROKES[name]
    x, y = _where(count, rng)
    wide = rng.uniform(0.85, 1.15, (count, 1)).astype(np.float32)
    hand = _ink(light, x, y, wide)
    folds = _ink(dark, x, y, wide) if dark else np.float32(0)
    skin = rng.uniform(0.6, 1.0, (count, 1)).astype(np.float32)
    across = np.linspace(-1, 1, SIDE, dtype=np.float32)
    slope = rng.uniform(-0.12, 0.12, (2, count, 1, 1)).astype(np.float32)
    behind = rng.uniform(0.12, 0.35, (count, 1, 1)) + slope[0] * across + slope[1] * across[:, None]
    behind = behind.reshape(count, SIDE * SIDE).astype(np.float32)
    grey = behind + (skin - behind) * hand * (1 - 0.75 * folds)
    grey += rng.normal(scale=0.05, size=grey.shape).astype(np.float32)
    images: Images = np.clip(np.rint(grey * 255), 0, 255).astype(np.uint8).reshape(count, SIDE, SIDE)
    return images


def _where(count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Coordinates of each pixel in the drawing of the letter, x and y (count, 784): the pixel grid shifted, rotated and
    scaled."""
    turn = np.radians(rng.uniform(-12, 12, (count, 1)))
    scale = rng.uniform(0.85, 1.1, (count, 1))
    shift = rng.uniform(-3, 3, (2, count, 1)) * 2 / SIDE
    centres = (np.arange(SIDE) + 0.5) * 2 / SIDE - 1
    x, y = np.tile(centres, SIDE) - shift[0], np.repeat(centres, SIDE) - shift[1]
    own_x, own_y = (
        (np.cos(turn) * x + np.sin(turn) * y) / scale,
        (np.cos(turn) * y - np.sin(turn) * x) / scale,
    )
    return own_x.astype(np.float32), own_y.astype(np.float32)


def _ink(strokes: Sequence[Stroke], x: Floats, y: Floats, wide: Floats) -> Floats:
    """The share of each pixel that the strokes cover, 0 to 1, computed from the distance to the nearest stroke."""
    outside = np.full(x.shape, np.inf, np.float32)
    for x0, y0, x1, y1, half in strokes:
        if np.isnan(y1):
            distance = np.abs(np.hypot(x - x0, y - y0) - x1)
        else:
            dx, dy = x1 - x0, y1 - y0
            along = np.clip(((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
            distance = np.hypot(x - x0 - along * dx, y - y0 - along * dy)
        outside = np.minimum(outside, distance - half * wide)
    return np.clip(0.5 - outside * SIDE / 2, 0, 1)


# -- the letters ---------------------------------------------------------------------------------------------

_PALM: list[Stroke] = [(-0.18, 0.3, 0.18, 0.3, 0.34)]
_ARM_BELOW: list[Stroke] = [(0.0, 0.4, 0.05, 1.3, 0.24)]
_ARM_BESIDE: list[Stroke] = [(0.1, 0.3, 1.3, 0.4, 0.24)]
_BASES = {"index": (-0.36, 0.1), "middle": (-0.12, 0.05), "ring": (0.12, 0.05), "little": (0.36, 0.12)}
_FINGER, _FOLD = 0.095, 0.055


def _up(finger: str, turned: float = 0.0, length: float = 0.85) -> Stroke:
    """A straight finger, ``turned`` degrees to the right of upright."""
    x, y = _BASES[finger]
    return (x, y, x + length * sin(radians(turned)), y - length * cos(radians(turned)), _FINGER)


def _path(*points: tuple[float, float], half: float = _FINGER) -> list[Stroke]:
    """A bent finger through ``points``."""
    return [(*a, *b, half) for a, b in pairwise(points)]


def _ring(x: float, y: float, radius: float) -> Stroke:
    return (x, y, radius, float("nan"), _FINGER)


def _fold(*lines: Stroke | tuple[float, float, float, float]) -> list[Stroke]:
    """The dark lines between fingers, and the dark outline of a thumb in front of fingers."""
    return [(line[0], line[1], line[2], line[3], _FOLD) for line in lines]


def _hand(*fingers: Stroke, beside: bool = False) -> list[Stroke]:
    return [*_PALM, *(_ARM_BESIDE if beside else _ARM_BELOW), *fingers]


STROKES: dict[str, tuple[list[Stroke], list[Stroke]]] = {
    "A": (_hand(*_path((-0.5, 0.35), (-0.58, -0.15))), []),
    "B": (
        _hand(*(_up(f) for f in _BASES)),
        _fold(
            (-0.4, 0.45, 0.1, 0.35), (-0.24, -0.7, -0.24, 0.05), (0, -0.7, 0, 0.05), (0.24, -0.7, 0.24, 0.05)
        ),
    ),
    "C": (
        _hand(*_path((-0.4, 0.1), (-0.35, -0.45), (0, -0.7), (0.45, -0.6)), *_path((0.3, 0.2), (0.6, -0.1))),
        [],
    ),
    "D": (_hand(_up("index"), _ring(0.16, -0.1, 0.22)), []),
    "E": (_hand(), _fold((-0.4, 0.22, 0.4, 0.22))),
    "F": (_hand(_up("middle", -4), _up("ring", 10), _up("little", 24), _ring(-0.52, -0.05, 0.2)), []),
    "G": (_hand(*_path((-0.3, 0.1), (-0.98, 0.05)), beside=True), _fold((-0.4, 0.35, 0, 0.3))),
    "H": (
        _hand(*_path((-0.3, 0.02), (-0.98, -0.03)), *_path((-0.3, 0.24), (-0.98, 0.2)), beside=True),
        _fold((-0.95, 0.1, -0.3, 0.13)),
    ),
    "I": (_hand(_up("little", 6)), []),
    "K": (_hand(_up("index", -8), _up("middle", 22), *_path((-0.3, 0.1), (-0.16, -0.35))), []),
    "L": (_hand(_up("index"), *_path((-0.4, 0.4), (-0.98, 0.35))), []),
    "M": (_hand(), _fold((-0.28, 0.02, -0.28, 0.45), (0, 0, 0, 0.45), (0.28, 0.02, 0.28, 0.45))),
    "N": (_hand(), _fold((-0.28, 0.02, -0.28, 0.45), (0, 0, 0, 0.45))),
    "O": (_hand(_ring(0, -0.3, 0.32)), []),
    "P": (_hand(*_path((-0.3, 0.3), (-0.95, 0.45)), *_path((-0.15, 0.5), (-0.4, 0.98)), beside=True), []),
    "Q": (_hand(*_path((-0.4, 0.3), (-0.65, 0.95)), *_path((0, 0.5), (-0.25, 0.98)), beside=True), []),
    "R": (_hand(_up("index", 20), _up("middle", -20)), []),
    "S": (_hand(), _fold((-0.42, 0.45, 0.25, 0.2))),
    "T": (_hand(*_path((-0.2, 0.1), (-0.16, -0.28))), _fold((-0.34, 0, -0.34, 0.4), (0, 0, 0, 0.4))),
    "U": (_hand(_up("index", 3), _up("middle", -3)), _fold((-0.24, -0.7, -0.24, 0.0))),
    "V": (_hand(_up("index", -16), _up("middle", 14)), []),
    "W": (_hand(_up("index", -20), _up("middle"), _up("ring", 20)), []),
    "X": (_hand(*_path((-0.36, 0.1), (-0.4, -0.5), (-0.1, -0.55), (-0.08, -0.3))), []),
    "Y": (_hand(*_path((-0.4, 0.2), (-0.9, -0.25)), _up("little", 35)), []),
}
"""Letter -> (strokes in the colour of skin, dark folds)."""
