# %% [markdown]
# # Sign language, second page: networks
# Overfitting of a network with many weights on few signs, and a comparison of four networks.

# %%
from __future__ import annotations

from typing import Any

import keras
import numpy as np

from workshops.data.glyphs import CLASSES, Glyphs, letter
from workshops.lessons.sign.page import (
    BATCH,
    Array,
    Curves,
    Parts,
    build,
    falling,
    named,
    right,
    scaled,
    shares,
)
from workshops.player.page import LessonPage

FEW, SMALL = 600, 40
"""The number of signs for the overfitting part: so few that a network can memorise them. Their batch is small, so
that training has enough steps."""

# %% [markdown]
# ## Overfitting
# A network with a hidden layer of 256 units is trained on only 600 signs until it has memorised them. Its answers
# for signs with *wrong* labels show this: a wrong label cannot be inferred from the picture, only memorised. Dropout
# sets a random half of the hidden layer to zero at every step.


# %%
def overfitting(page: LessonPage, parts: Parts) -> None:
    page.heading(f"Overfitting with {FEW:,} signs")
    few = parts[0].first(FEW)
    test, wrong, histories = parts[2], few.labels != few.truth, {}
    epochs, after = page.epochs(full=80, quick=50), []
    pixels = scaled(test)
    for kind in ("mlp", "dropout"):
        page.seed()
        model = build(kind)
        model.compile(keras.optimizers.Adam(0.002), "sparse_categorical_crossentropy", metrics=["accuracy"])
        losses: list[float] = []

        def note(epoch: int, model: Any = model, kind: str = kind, losses: list[float] = losses) -> None:
            given = np.asarray(model.predict_on_batch(pixels))
            own = np.maximum(given[np.arange(len(given)), test.labels], 1e-7)
            losses.append(float(-np.log(own).mean()))
            if kind == "mlp":
                after.append(given.argmax(1) == test.labels)

        seen = page.fit(model, scaled(few), few.labels, epochs=epochs, batch_size=SMALL, each_epoch=note)
        histories[kind] = {**seen, "val_loss": losses}
        page.measure(f"{named(page)}{kind} on few: training", right(model, few))
        page.measure(f"{named(page)}{kind} on few: test", right(model, test))
        if wrong.any():
            guess = shares(model, scaled(few)).argmax(1)
            page.measure(
                f"{kind} on few: wrong labels memorised", float(np.mean((guess == few.labels)[wrong]))
            )
    page.curves("overfitting", f"{FEW} signs: memorised; less so with dropout", histories, "loss")
    claimed, fresh = best_by_chance(np.array(after))
    page.measure(f"{named(page)}validation as test: score too high by", claimed - fresh)
    page.say(
        f"If the best of {epochs} epochs is chosen by its score on 240 signs, that score is {claimed:.3f}. The same "
        f"epoch scores {fresh:.3f} on the other signs (means of 200 draws). The more epochs or models are "
        f"compared, the "
        "more of the best score is chance."
    )


def best_by_chance(hits: Array, draws: int = 200, size: int = 240) -> tuple[float, float]:
    """Score of the best epoch on the signs that it was chosen by, and on the others; ``hits``: bool (epochs, signs)."""
    rng, scores = np.random.default_rng(0), []
    for _ in range(draws):
        order = rng.permutation(hits.shape[1])
        chose = hits[:, order[:size]].mean(axis=1)
        best = int(chose.argmax())
        scores.append((chose[best], hits[best, order[size:]].mean()))
    claimed, fresh = np.mean(scores, axis=0)
    return float(claimed), float(fresh)


# %% [markdown]
# ## Four networks
# All with the same signs and the same test part. `mlp` is the two-layer perceptron; `dropout` adds dropout to it.


# %%
def networks(page: LessonPage, parts: Parts, kinds: list[str]) -> dict[str, Curves]:
    page.heading("Four networks" if len(kinds) > 1 else kinds[0])
    train, validation, test = parts
    histories = {}
    for kind in kinds:
        page.seed()
        model, epochs = build(kind, dropout=0.25), page.epochs(full=12, quick=8 if kind == "cnn" else 5)
        rate = 0.005 if kind == "cnn" and page.options.quick else 0.003
        page.line(f"  {kind}: {model.count_params():,} weights")
        model.compile(
            falling(len(train), epochs, rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        unseen = (scaled(validation), validation.labels)
        histories[kind] = page.fit(
            model, scaled(train), train.labels, epochs=epochs, batch_size=BATCH, validation=unseen
        )
        page.measure(f"{named(page)}{kind}: test", right(model, test))
        page.save_model(model, kind)
        if kind == "cnn":
            inside(page, model, test)
    if len(kinds) == 4:
        page.say(
            "Dropout prevents memorising; with enough signs there is little memorising, and dropout only "
            "lowers the score. "
            "The convolutional network has about half the weights of the two-layer one and comes close "
            "to the ceiling: "
            "it does not have to learn a finger again for every position."
        )
    page.curves("accuracy", "Accuracy", histories, "accuracy")
    return histories


def inside(page: LessonPage, model: Any, test: Glyphs) -> None:
    """The letters that the network confuses, and the kernels of its first layer."""
    guess = shares(model, scaled(test)).argmax(1)
    if (test.labels != test.truth).any():
        page.measure("cnn: letters drawn, read right", float(np.mean(guess == test.truth)))
    table = np.zeros((CLASSES, CLASSES), int)
    np.add.at(table, (test.truth, guess), 1)
    mixed = table * (1 - np.eye(CLASSES, dtype=int))
    worst = [divmod(int(place), CLASSES) for place in np.argsort(mixed, axis=None)[::-1][:3]]
    page.line(
        "  most frequent confusions: "
        + ", ".join(f"{letter(a)} as {letter(b)} {table[a, b]} times" for a, b in worst)
    )
    with page.figure(
        "confusion", "Confusion matrix: drawn letter (rows), predicted letter (columns)", size=(6, 6)
    ) as axes:
        axes.imshow(np.log1p(table), cmap="Greys")
        axes.set_xticks(range(CLASSES), [letter(i) for i in range(CLASSES)])
        axes.set_yticks(range(CLASSES), [letter(i) for i in range(CLASSES)])
    kernels = np.asarray(keras.ops.convert_to_numpy(model.get_layer("first").kernel))[:, :, 0]
    with page.figure(
        "filters", "The first layer's kernels", columns=kernels.shape[-1], size=(12, 1.1)
    ) as axes:
        for axis, kernel in zip(axes, np.moveaxis(kernels, -1, 0), strict=True):
            axis.imshow(kernel, cmap="gray")
            axis.axis("off")


# %% tags=["active-ipynb"]
# overfitting(page, parts)
# networks(page, parts, ["perceptron", "mlp", "dropout", "cnn"])
# result = page.close()

# %% [markdown]
# ## Questions
# Which letters does the network confuse, and would you confuse them at this size? The training accuracy on few signs
# is above the ceiling: what has the network memorised? `dlbox workshop check sign` has exercises on common mistakes:
# the missing letter J, a softmax that overflows, a useless loss, unscaled pixels, a score chosen by chance, and a
# flipped kernel.
