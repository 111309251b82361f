"""The numbers in the worked examples on the class's slides."""

from __future__ import annotations

import numpy as np

LSTM_ROWS = ((0.0, 0.5, 0.6, 0.2), (0.0, 0.9, 0.3, -0.5), (1.0, 1.0, 0.0, 0.6))
"""Rows of the slide "putting it all together": cell state c, forget gate f, input gate i, candidate g. The slide
does not print the results."""

MOVIE_WORDS = ("I", "love", "this", "movie")
MOVIE = np.array(
    [[0.4, 9.7, -0.7, 0.4], [23.4, 5.4, -5.2, -3.2], [-0.6, -9.4, -2.1, -9.9], [-2.4, -1.2, -0.9, -1.9]]
)
"""The sentence as numbers: one row per channel, one column per word."""

CONVOLVED = np.array([[2.85, 5.26, -3.36, -1.02], [2.74, -0.26, -4.44, -0.82]])
"""Results of the convolution as the slide prints them: one row for window 1 (I love this), one for window 2 (love
this movie), one column per channel."""

SERIES = (1, 3, 4, 7, 11, 18, 29, 31, 42, 55, 62, 74, 78)
"""The series of thirteen points from which the slide makes its table of windows."""
