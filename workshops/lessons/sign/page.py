# %% [markdown]
# # Sign language: from a perceptron to a convolutional network
#
# Which letter does a picture of a hand (28 x 28 grey pixels) show? This lesson trains four networks, each better
# than the one before, and shows four mistakes that lower the score without an error message. The hands are
# generated, and one label in twenty is wrong on purpose. Therefore the best possible score is known: a higher
# training score means that the network has memorised wrong labels.

# %%
from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from workshops.data import glyphs, sign_mnist
from workshops.data.glyphs import CLASSES, SIDE, Glyphs, letter
from workshops.models.against_keras import difference, in_keras
from workshops.player.outcome import LessonError
from workshops.player.page import LessonPage

BATCH = 40 if keras.backend.backend() == "jax" else 80
"""Signs per step. The numbers of signs below are multiples of it, so that no batch is smaller: JAX would compile
again for such a batch. On a
processor XLA's convolution needs half the time per sign with 40 per step (docs/evidence/lesson-pace.md)."""
Array = NDArray[Any]
Parts = tuple[Glyphs, Glyphs, Glyphs]
Curves = dict[str, list[float]]

# %% tags=["active-ipynb"]
# from workshops.commands.start import open_page
# page = open_page("sign")

# %% [markdown]
# ## The signs
# The signs are divided into three parts: training; validation, to choose a model; and test, which is used once, at
# the end. The class had only two parts and chose with its test part. A label is a number, but K is not "one more
# than I": the network gets a vector with 1 at the position of the letter and 0 elsewhere (one-hot).


# %%
def signs(page: LessonPage) -> Parts:
    """(training, validation, test): generated, or Sign Language MNIST from the learner's files. Raises LessonError."""
    settings = page.options
    if settings.data != "real" and settings.corpus is None:
        return glyphs.parts(6000 if settings.quick else 20_000, 1200, 2400, seed=settings.seed)
    try:
        return sign_mnist.load(settings.corpus, seed=settings.seed, most=6000 if settings.quick else None)
    except sign_mnist.SignsError as error:
        raise LessonError(str(error)) from None


def scaled(signs: Glyphs) -> Array:
    """Pixels from 0 to 1, float32 (n, 28, 28)."""
    return signs.images.astype(np.float32) / 255


def look(page: LessonPage, parts: Parts) -> None:
    page.heading("The signs")
    train, validation, test = parts
    page.line(f"  training {len(train):,}, validation {len(validation):,}, test {len(test):,}")
    label = int(train.labels[0])
    one_hot = " ".join("1" if place == label else "0" for place in range(CLASSES))
    page.line(f"  {letter(label)} is label {label}: {one_hot}")
    if page.options.data == "real":
        page.say(
            "These are about 50 variants of each of 1,704 photographs. Variants of the same photograph are in the "
            "training part and in the validation part, so the validation score is too high. Published scores for the "
            "test file: about 0.7 for a two-layer network and 0.9 for a convolutional one."
        )
    else:
        page.measure("ceiling", test.ceiling)
        page.say("The pictures are for learning about networks; they do not teach sign language.")
    with page.figure("signs", "One of each letter", columns=24, size=(14, 1.1)) as axes:
        for axis, own in zip(axes, glyphs.LABELS, strict=True):
            rows = np.flatnonzero(train.truth == own)[:1]
            axis.imshow(train.images[rows].reshape(-1, SIDE), cmap="gray", vmin=0, vmax=255)
            axis.set_title(letter(own))
            axis.axis("off")


# %% [markdown]
# ## Activation functions
# A layer applies a nonlinear function to its weighted sum; softmax turns a row of scores into probabilities, which
# add up to 1. Without a nonlinear function two layers are equivalent to one: (x A) B = x (A B).


# %%
def activations(page: LessonPage) -> None:
    page.heading("Activation functions")
    x = np.array([[-2.0, -0.5, 0.0, 0.5, 2.0]])
    powers = np.exp(x)
    ours = {
        "sigmoid": 1 / (1 + np.exp(-x)),
        "tanh": np.tanh(x),
        "relu": np.maximum(x, 0),
        "softmax": powers / powers.sum(),
    }
    page.table(("", *(f"{v:g}" for v in x[0])), [(name, *map(float, row[0])) for name, row in ours.items()])
    theirs = {name: in_keras(layers.Activation(name), [], x)[0] for name in ours}
    page.measure("activations, largest difference", max(difference(ours[n], theirs[n]) for n in ours))
    rng = np.random.default_rng(page.options.seed)
    signs, a, b = rng.normal(size=(5, 784)), rng.normal(size=(784, 50)), rng.normal(size=(50, 25))
    gap = difference(signs @ a @ b, signs @ (a @ b)) / float(np.abs(signs @ a @ b).max())
    page.measure("two linear layers, difference from one", gap)


# %% [markdown]
# ## A perceptron and three ways to make it worse
# For each of 25 letters the perceptron has one weight per pixel (784) and a bias. The class gave it unscaled pixels
# of 0 to 255 and the mean absolute error (mae) as its loss, to show the effect. Here both losses are tried with both
# scales and the same number of steps.


# %%
def build(kind: str, dropout: float = 0.5) -> keras.Model:
    """Pixels (batch, 28, 28) -> probabilities of 25 letters (batch, 25); kind: perceptron, mlp, dropout or cnn."""
    pixels = keras.Input((SIDE, SIDE), name="pixels")
    x = layers.Flatten()(pixels)
    if kind in ("mlp", "dropout"):
        x = layers.Dense(256, activation="relu", name="hidden")(x)
        x = layers.Dropout(dropout)(x) if kind == "dropout" else x
    elif kind == "cnn":
        x = layers.Reshape((SIDE, SIDE, 1))(pixels)
        x = layers.Conv2D(16, 3, activation="relu", name="first")(x)
        x = layers.MaxPooling2D(2)(x)
        x = layers.Conv2D(32, 3, activation="relu", name="second")(x)
        x = layers.Dropout(0.25)(layers.Flatten()(layers.MaxPooling2D(2)(x)))
        x = layers.Dense(128, activation="relu", name="hidden")(x)
    return keras.Model(pixels, layers.Dense(CLASSES, activation="softmax", name="letters")(x), name=kind)


def falling(rows: int, epochs: int, rate: float = 0.003) -> Any:
    """Adam with a learning rate that decays to zero."""
    steps = max(1, epochs * -(-rows // BATCH))
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))


def shares(model: Any, pixels: Array) -> Array:
    return np.asarray(model.predict(pixels, batch_size=600, verbose=0))


def right(model: Any, signs: Glyphs) -> float:
    """Share of signs for which the model predicts the label."""
    return float(np.mean(shares(model, scaled(signs)).argmax(1) == signs.labels))


def mistakes(page: LessonPage, parts: Parts) -> None:
    page.heading("A perceptron and three ways to make it worse")
    train, _, test = parts
    few, rows, epochs, before = train.labels[:6000], [], page.epochs(full=6, quick=3), 0.0
    for loss in ("cross-entropy", "mae"):
        for factor, pixels in ((1 / 255, "0 to 1"), (1.0, "0 to 255")):
            page.seed()
            model = build("perceptron")
            before = before or float(shares(model, scaled(test))[:, 9].mean())
            model.compile(falling(len(few), epochs), "mae" if loss == "mae" else "categorical_crossentropy")
            seen = train.images[:6000].astype(np.float32) * np.float32(factor)
            history = page.fit(
                model, seen, np.eye(CLASSES, dtype=np.float32)[few], epochs=epochs, batch_size=BATCH
            )
            given = shares(model, test.images.astype(np.float32) * np.float32(factor))
            guess = given.argmax(1)
            score = float(np.mean(guess == test.labels))
            rows.append((f"{loss}, pixels {pixels}", score, len(set(guess.tolist())), history["loss"][-1]))
            page.measure(f"{named(page)}{loss}, pixels {pixels}", score)
            if not rows[1:]:
                dead = (before, float(given[:, 9].mean()), int(np.sum(guess == 9)))
    page.table(("test", "accuracy", "letters predicted", "loss"), rows)
    page.say(
        "A mae near 0.08 looks small, but a random guess has the same: 2 / 25. Where softmax gives a wrong letter a "
        "probability near 1, the gradient of mae is almost zero, and with unscaled pixels this happens in the first "
        "steps. Cross-entropy with unscaled pixels depends on the backend: TensorFlow computes it from the scores "
        "before softmax and learns; JAX and torch clip the probabilities at 1e-7, where the gradient is zero."
    )
    page.measure(f"{named(page)}share of the dead output J", dead[1])
    page.say(
        f"There are 25 outputs and 24 letters. Output 9 (J) had a mean probability of {dead[0]:.3f} "
        f"before training and "
        f"{dead[1]:.1e} after it, and was predicted {dead[2]} times. Its 785 of 19,625 weights are of no use."
    )


def named(page: LessonPage) -> str:
    """Prefix of the names of values that are measured on real photographs. It separates them from the values with
    expected ranges, which are valid for generated signs only."""
    return "real: " if page.options.data == "real" else ""


# %% [markdown]
# ## Convolution and pooling
# A layer with one weight per pixel must learn a finger again for every position. A kernel of 3 x 3 weights slides
# over the picture and finds an edge at any position; max pooling takes the maximum of every 2 x 2 values.


# %%
def convolution(page: LessonPage) -> None:
    page.heading("Convolution and pooling")
    image = np.zeros((6, 6))
    image[:, 3:] = 1
    kernel = np.array([[-1.0, 0, 1]] * 3)
    found = np.array([[np.sum(image[r : r + 3, c : c + 3] * kernel) for c in range(4)] for r in range(4)])
    pooled = found.reshape(2, 2, 2, 2).max(axis=(1, 3))
    for title, values in (
        ("picture: dark, then light", image),
        ("output of the kernel -1 0 1", found),
        ("after max pooling", pooled),
    ):
        page.line(f"  {title}")
        for row in values:
            page.line(f"    {' '.join(f'{v:2.0f}' for v in row)}")
    weights = [kernel[..., None, None], np.zeros(1)]
    theirs = in_keras(layers.Conv2D(1, 3), weights, image[None, ..., None])[0]
    page.measure("convolution, largest difference", difference(found[None, ..., None], theirs))
    again = in_keras(layers.MaxPooling2D(2), [], theirs)[0]
    page.measure("pooling, largest difference", difference(pooled[None, ..., None], again))


# %% tags=["active-ipynb"]
# parts = signs(page)
# look(page, parts)
# activations(page)
# mistakes(page, parts)
# convolution(page)
