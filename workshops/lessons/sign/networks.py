# %% [markdown]
# # Sign language, second page: networks
# What a network with many weights does with few signs, and four networks side by side.

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
"""So few signs that a network can learn them by heart; few a step, so that there are steps enough."""

# %% [markdown]
# ## Overfitting, seen
# A hidden layer of 256 and only 600 signs: the network goes through them until it knows them. What it then
# says about *wrong* labels shows it: nobody can guess those, one can only have learned them by heart. Dropout
# hides half of the hidden layer at every step, another half each time.


# %%
def overfitting(page: LessonPage, parts: Parts) -> None:
    page.heading(f"Overfitting, seen: {FEW:,} signs")
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
                f"{kind} on few: wrong labels by heart", float(np.mean((guess == few.labels)[wrong]))
            )
    page.curves("overfitting", f"{FEW} signs: known by heart, and less so with dropout", histories, "loss")
    claimed, fresh = lucky(np.array(after))
    page.measure(f"{named(page)}validation as test: too much by", claimed - fresh)
    page.say(
        f"Choose the best of {epochs} epochs by 240 signs and report those 240: {claimed:.3f}. The same epochs on "
        f"the other signs: {fresh:.3f} (mean of 200 draws). The more you try, the more of the best is luck."
    )


def lucky(hits: Array, draws: int = 200, size: int = 240) -> tuple[float, float]:
    """Score of the best epoch on the signs that chose it, and on the others; ``hits``: (epochs, signs) of bool."""
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
# The same signs, the same test. `mlp` is the two-layer perceptron, `dropout` the same with half of it hidden.


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
        held = (scaled(validation), validation.labels)
        histories[kind] = page.fit(
            model, scaled(train), train.labels, epochs=epochs, batch_size=BATCH, validation=held
        )
        page.measure(f"{named(page)}{kind}: test", right(model, test))
        page.save_model(model, kind)
        if kind == "cnn":
            inside(page, model, test)
    if len(kinds) == 4:
        page.say(
            "Dropout helps against learning by heart; where there are signs enough for that not to happen, it only "
            "costs. The convolutional network has about half the weights of the two-layer one and comes near the "
            "ceiling: it need not learn a finger again in every place."
        )
    page.curves("accuracy", "Labels right", histories, "accuracy")
    return histories


def inside(page: LessonPage, model: Any, test: Glyphs) -> None:
    """What the network confuses, and what its first layer looks for."""
    guess = shares(model, scaled(test)).argmax(1)
    if (test.labels != test.truth).any():
        page.measure("cnn: letters drawn, read right", float(np.mean(guess == test.truth)))
    table = np.zeros((CLASSES, CLASSES), int)
    np.add.at(table, (test.truth, guess), 1)
    mixed = table * (1 - np.eye(CLASSES, dtype=int))
    worst = [divmod(int(place), CLASSES) for place in np.argsort(mixed, axis=None)[::-1][:3]]
    page.line(
        "  mixed up most: " + ", ".join(f"{letter(a)} as {letter(b)} {table[a, b]} times" for a, b in worst)
    )
    with page.figure("confusion", "Drawn (down), read (across)", size=(6, 6)) as axes:
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
# Which letters are mixed up, and would you mix them up at this size? Training accuracy of the network on few
# signs lies above the ceiling: what does it know that is not so? `dlbox workshop check sign` has exercises: the
# gap at J, a softmax that overflows, a loss that says nothing, raw pixels, a lucky score, a kernel turned round.
