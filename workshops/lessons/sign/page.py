# %% [markdown]
# # Sign language: from a perceptron to a convolutional network
#
# A picture of a hand, 28 x 28 grey pixels: which letter is it? Four networks, each mending what the one before
# could not do, and four mistakes that cost nothing but the result. The hands are drawn here, and one label in
# twenty is wrong on purpose: so the best possible score is known, and whoever scores more in training has
# learned wrong labels by heart.

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
"""Signs a step. It divides the counts below, since JAX compiles everything again for a smaller last batch. On a
processor XLA's convolution takes half as long for a sign with 40 a step (docs/evidence/lesson-pace.md)."""
Array = NDArray[Any]
Parts = tuple[Glyphs, Glyphs, Glyphs]
Curves = dict[str, list[float]]

# %% tags=["active-ipynb"]
# from workshops.commands.start import open_page
# page = open_page("sign")

# %% [markdown]
# ## The signs
# Three parts: to learn from, to choose with (validation), to judge by, once (test). The class had two, and
# chose with the one it judged by. A label is a number, but K is not "one more than I": the network gets a 1 in
# the letter's own place and 0 elsewhere (one-hot).


# %%
def signs(page: LessonPage) -> Parts:
    """(training, validation, test): drawn here, or Sign Language MNIST from the learner's files."""
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
    page.line(
        f"  to learn from {len(train):,}, to choose with {len(validation):,}, to judge by {len(test):,}"
    )
    label = int(train.labels[0])
    one_hot = " ".join("1" if place == label else "0" for place in range(CLASSES))
    page.line(f"  {letter(label)} is label {label}: {one_hot}")
    if page.options.data == "real":
        page.say(
            "These are about 50 variants each of 1,704 photographs: variants of one photograph are both in the "
            "part to learn from and in the part to choose with, whose score therefore flatters. Published: about "
            "0.7 for a two-layer network and 0.9 for a convolutional one on the test file."
        )
    else:
        page.measure("ceiling", test.ceiling)
        page.say("Letters drawn like hands, to learn about networks and not to learn signing from.")
    with page.figure("signs", "One of each letter", columns=24, size=(14, 1.1)) as axes:
        for axis, own in zip(axes, glyphs.LABELS, strict=True):
            rows = np.flatnonzero(train.truth == own)[:1]
            axis.imshow(train.images[rows].reshape(-1, SIDE), cmap="gray", vmin=0, vmax=255)
            axis.set_title(letter(own))
            axis.axis("off")


# %% [markdown]
# ## Activation functions
# After its weighted sum, a layer bends the result; softmax turns a row of scores into shares that add up to 1.
# Without a bend, two layers are one: (x A) B = x (A B).


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
    page.measure("two layers without a bend against one", gap)


# %% [markdown]
# ## A perceptron, and three ways to spoil it
# Each letter weighs every pixel: 784 weights and a bias, 25 times. The class gave it raw pixels of 0 to 255 and
# the mean absolute error (mae) as its loss, on purpose. Here both are tried both ways, with equal steps.


# %%
def build(kind: str, dropout: float = 0.5) -> keras.Model:
    """Pixels (batch, 28, 28) -> shares of 25 letters (batch, 25); kind: perceptron, mlp, dropout or cnn."""
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
    """Adam whose steps shrink to nothing at the end."""
    steps = max(1, epochs * -(-rows // BATCH))
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))


def shares(model: Any, pixels: Array) -> Array:
    return np.asarray(model.predict(pixels, batch_size=600, verbose=0))


def right(model: Any, signs: Glyphs) -> float:
    """Share of signs whose label the model gives."""
    return float(np.mean(shares(model, scaled(signs)).argmax(1) == signs.labels))


def mistakes(page: LessonPage, parts: Parts) -> None:
    page.heading("A perceptron, and three ways to spoil it")
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
    page.table(("test", "right", "letters ever guessed", "loss"), rows)
    page.say(
        "mae near 0.08 looks small and is what a blind guess costs: 2 / 25. Where softmax is sure and wrong, mae "
        "has almost no slope to learn from; raw pixels make it sure and wrong at once. Cross-entropy with raw "
        "pixels depends on the backend: TensorFlow goes back to the scores before softmax and gets somewhere, JAX "
        "and torch cut the shares off at 1e-7, where the slope is zero."
    )
    page.measure(f"{named(page)}share of the dead output J", dead[1])
    page.say(
        f"25 outputs, 24 letters: output 9 (J) had {dead[0]:.3f} of the shares before training and {dead[1]:.1e} "
        f"after, and was guessed {dead[2]} times. Its 785 of 19,625 weights learned only never to answer."
    )


def named(page: LessonPage) -> str:
    """Numbers of real data are called so: the promises are for the signs drawn here."""
    return "real: " if page.options.data == "real" else ""


# %% [markdown]
# ## Convolution and pooling
# A layer that weighs fixed pixels must learn a finger again in every place. A kernel of 3 x 3 weights slides
# over the picture and finds its edge wherever it is; max pooling keeps the strongest answer of every 2 x 2.


# %%
def convolution(page: LessonPage) -> None:
    page.heading("Convolution and pooling")
    image = np.zeros((6, 6))
    image[:, 3:] = 1
    kernel = np.array([[-1.0, 0, 1]] * 3)
    found = np.array([[np.sum(image[r : r + 3, c : c + 3] * kernel) for c in range(4)] for r in range(4)])
    pooled = found.reshape(2, 2, 2, 2).max(axis=(1, 3))
    for title, values in (
        ("dark to light", image),
        ("what the kernel -1 0 1 finds", found),
        ("pooled", pooled),
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
