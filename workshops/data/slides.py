"""The numbers in the worked examples on the class's slides."""

from __future__ import annotations

import numpy as np

LSTM_ROWS = ((0.0, 0.5, 0.6, 0.2), (0.0, 0.9, 0.3, -0.5), (1.0, 1.0, 0.0, 0.6))
"""(c, f, i, g) of "putting it all together"; the slide does not print the results."""

MOVIE_WORDS = ("I", "love", "this", "movie")
MOVIE = np.array(
    [[0.4, 9.7, -0.7, 0.4], [23.4, 5.4, -5.2, -3.2], [-0.6, -9.4, -2.1, -9.9], [-2.4, -1.2, -0.9, -1.9]]
)
"""Rows: four channels; columns: the four words."""

CONVOLVED = np.array([[2.85, 5.26, -3.36, -1.02], [2.74, -0.26, -4.44, -0.82]])
"""Printed for window 1 (I love this) and window 2 (love this movie), channel by channel."""

SERIES = (1, 3, 4, 7, 11, 18, 29, 31, 42, 55, 62, 74, 78)
"""The thirteen points of the table of windows."""
