"""Solutions of the exercises of the lesson sign."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def letter(place: int) -> str:
    """Add 1 from position 9 on."""
    return chr(ord("A") + place + (place >= 9))


def softmax(scores: Array) -> Array:
    """Subtracting the same number from all scores of a row does not change the result; the largest score becomes 0."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def loss(shares: Array, labels: Array) -> float:
    """Only the probability of the right letter is used, and the logarithm distinguishes 0.01 from 0.5 clearly."""
    return float(-np.mean(np.log(shares[np.arange(len(labels)), labels])))


def prepare(images: Array) -> Array:
    """One channel at the end, divided as floats: bytes cannot store fractions."""
    return images[..., None].astype(np.float32) / 255


def score_to_report(validation: Array, test: Array) -> float:
    """The validation part chooses the epoch, the test part measures it."""
    return float(test[np.argmax(validation)])


def convolve(image: Array, kernel: Array) -> Array:
    """The kernel is not flipped."""
    height, width = kernel.shape
    rows, columns = image.shape[0] - height + 1, image.shape[1] - width + 1
    return np.array(
        [[np.sum(image[r : r + height, c : c + width] * kernel) for c in range(columns)] for r in range(rows)]
    )
