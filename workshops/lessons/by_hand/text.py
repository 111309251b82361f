# %% [markdown]
# # By hand, fourth page: text
# Convolution and pooling over words, and how words and series become numbers.

# %%
from __future__ import annotations

import keras
import numpy as np

from workshops.data import slides
from workshops.data.series import windows
from workshops.models.against_keras import Array, difference, in_keras
from workshops.player.page import LessonPage

# %% [markdown]
# ## Convolution over words
# "I love this movie": four words with four numbers each. A kernel of width 3 slides over them.


# %%
def slide_over(kernel: Array) -> Array:
    """The kernel applied to each channel separately: (window, channel)."""
    return np.array([slides.MOVIE[:, i : i + 3] @ kernel for i in (0, 1)])


def convolution(page: LessonPage) -> None:
    page.heading("Convolution: I love this movie")
    page.table(
        ("", *slides.MOVIE_WORDS), [(f"channel {i + 1}", *r) for i, r in enumerate(slides.MOVIE.tolist())]
    )
    page.say(
        "The slide prints results but no kernel. For each window there is exactly one solution (three "
        "weights, a bias):"
    )
    equations = [np.column_stack([slides.MOVIE[:, i : i + 3], np.ones(4)]) for i in (0, 1)]
    for i, (a, printed) in enumerate(zip(equations, slides.CONVOLVED, strict=True)):
        *found, bias = np.linalg.solve(a, printed)
        shown = " ".join(f"{tap:.4f}" for tap in found)
        page.line(f"  window {i + 1}: {shown}, bias {abs(bias):.4f}, determinant {np.linalg.det(a):.1f}")
    both, printed = np.concatenate(equations), slides.CONVOLVED.ravel()
    error = difference(both @ np.linalg.lstsq(both, printed, rcond=None)[0], printed)
    page.measure("one kernel for both windows, worst error", error)
    page.say(
        "So the slide uses another kernel for the second window, which a convolution never does. And it keeps the "
        "channels separate (a depthwise convolution), while an earlier slide sums them, as Conv1D does:"
    )
    x, worst = slides.MOVIE.T[None], 0.0
    for name, taps in {"A": (0.2, 0.3, 0.2), "B": (0.3, 0.3, 0.1)}.items():
        own, weights = slide_over(np.array(taps)), [np.repeat(np.array(taps)[:, None, None], 4, axis=1)]
        for i, row in enumerate(own):
            page.line(f"  kernel {name}, window {i + 1}: {np.round(row, 2)}, summed {row.sum():.2f}")
        apart = in_keras(keras.layers.DepthwiseConv1D(3, use_bias=False), weights, x)[0][0]
        summed = in_keras(keras.layers.Conv1D(1, 3, use_bias=False), weights, x)[0][0, :, 0]
        # Relative to the largest term (23.4 x 0.3), because float32 rounds relative to it.
        worst = max(worst, difference(apart, own) / 7.02, difference(summed, own.sum(axis=1)) / 7.02)
    page.measure("convolution, largest difference", worst)
    biases = (0.9, 0.02, -1.15, -0.21)
    error = difference(slide_over(np.array([0.2, 0.2, 0.1])) + np.array(biases), slides.CONVOLVED)
    page.say(
        "One kernel (0.2 0.2 0.1) with a bias per channel (0.9 0.02 -1.15 -0.21) would give all eight "
        f"numbers (largest difference {error:.0e}), but not the products that the slide shows."
    )


# %% [markdown]
# ## Max pooling


# %%
def pooling(page: LessonPage) -> None:
    page.heading("Max pooling, size 2")
    pooled = slides.MOVIE.reshape(4, 2, 2).max(axis=2).T
    for i, row in enumerate(pooled):
        page.line(f"  words {2 * i + 1} and {2 * i + 2}: {row}")
    page.say(
        "The slide shows only the first column. The pool size is 2, not 3: with 3, channel 4 would give "
        f"{slides.MOVIE[3, :3].max()}. In two dimensions, 6 x 4 becomes 3 x 2."
    )
    layer = in_keras(keras.layers.MaxPooling1D(2), [], slides.MOVIE.T[None])[0][0]
    shape = keras.layers.MaxPooling2D(2)(keras.ops.zeros((1, 6, 4, 1))).shape
    page.measure("pooling, largest difference", difference(layer, pooled.astype(np.float32)))
    page.line(f"  MaxPooling2D(2) on 6 x 4 gives {shape[1]} x {shape[2]}")


# %% [markdown]
# ## Words and windows as numbers
# A layer reads numbers: a text has to be converted to numbers first, and a series to windows.


# %%
def words_and_windows(page: LessonPage) -> None:
    page.heading("Words and windows as numbers")
    words = ("I", "love", "this", "movie", "hated", "bad")
    page.line("One-hot: one column for each of six words")
    one_hot = np.eye(len(words))
    for word, row in zip(words, one_hot, strict=True):
        page.line(f"  {word:5s}  {' '.join(f'{v:.0f}' for v in row)}")
    theirs = keras.ops.convert_to_numpy(keras.ops.one_hot(np.arange(len(words), dtype=np.int32), len(words)))
    page.measure("one-hot, largest difference", difference(theirs, one_hot))
    page.line("Bag of words: one column for each word; 1 if the text contains the word, at any position")
    columns = ("a", "hated", "I", "love", "this", "movie", "bad")
    for text in ("I love this movie", "I hated movie"):
        bag, order = (
            [int(word in text.split()) for word in columns],
            [columns.index(w) + 1 for w in text.split()],
        )
        page.line(f"  {''.join(map(str, bag))}  {text!r}; word numbers in order: {order}")
    page.say(
        "The tables of the slides have these six rows and these two rows. One of the seven headings is "
        "missing there, so "
        "this lesson chose the words."
    )
    rows, labels = windows(slides.SERIES, 10)
    page.line(f"Windows of 10 over {len(slides.SERIES)} points: {len(rows)} rows")
    for row, label in zip(rows, labels, strict=True):
        page.line(f"  {' '.join(f'{v:2.0f}' for v in row)} -> {label:.0f}")
    page.say(
        "A loop over n - 10 - 1, as in some published code, omits the last row. (Up to 29 these are Lucas numbers.)"
    )


# %% tags=["active-ipynb"]
# for part in (convolution, pooling, words_and_windows):
#     part(page)
# result = page.close()

# %% [markdown]
# ## Questions
# Why does the GRU of Keras have 150 weights, while textbooks say 135? What would the LSTM do if its forget gate were
# always 1? `dlbox workshop check by-hand` has exercises on common mistakes: a cell with swapped weights, an LSTM
# that returns its state, a GRU with the update gate reversed, and a convolution without the sum over channels.
