# %% [markdown]
# # Text generation
#
# Guess the next symbol, write it down, go on. How good can a guess be? For the first text of this page that
# is known exactly, and every model is held against it.

# %%
from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from workshops.data import human_numbers
from workshops.data.text import Text, TextError, count_tables, documentation, from_file, source
from workshops.lessons.text_generation import characters
from workshops.models import sampling
from workshops.player.expected import Expected
from workshops.player.outcome import LessonError, LessonOptions
from workshops.player.page import LessonPage

UNITS, BATCH, WINDOW = 128, 256, 200
CHARACTER_BATCH = 64
"""Text by characters has fewer examples: smaller steps, and more of them."""
CELLS = {"simple-rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}

# %% tags=["active-ipynb"]
# from workshops.commands.start import open_page
# page = open_page("text-generation")

# %% [markdown]
# ## A text with known ceilings
# The numbers from 1 to 9,999 in words, one after the other. Whoever remembers only the last k words cannot
# guess better than a table of all contexts of k words: that is counting, not opinion. But a table is
# helpless on numbers it has not seen: the last fifth, from about 8,100 on, is held out.


# %%
def known_ceilings(page: LessonPage) -> None:
    page.heading("A text with known ceilings")
    stream = human_numbers.stream()
    page.line(f"  {human_numbers.decode(stream[-16:])}")
    page.measure("tokens", len(stream))
    rows = human_numbers.ceilings(stream)
    page.table(
        ("words remembered", "best accuracy", "nats left", "table, new numbers"),
        [(row.context, row.accuracy, row.entropy, row.table_accuracy) for row in rows],
    )
    for k in (2, 3, 6, 7):
        page.measure(f"ceiling, {k} words", rows[k].accuracy)
    page.measure("best table on new numbers", max(row.table_accuracy for row in rows))


# %% [markdown]
# ## Learning it
# One-hot words, one recurrent layer, a softmax at every place: each place of the text is an example. A score
# above the best table on held-out numbers is not memory of the text.


# %%
def build(cell: str, symbols: int) -> keras.Model:
    """Symbol numbers (batch, time) -> probabilities of the next one at each place (batch, time, symbols)."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    memory = CELLS[cell](UNITS, return_sequences=True, name="memory")(keras.ops.one_hot(ids, symbols))
    return keras.Model(ids, layers.Dense(symbols, activation="softmax")(memory), name=cell.replace("-", "_"))


def examples(ids: Any, length: int, step: int) -> tuple[Any, Any]:
    """Stretches of ``length`` symbols, one every ``step``; the same, one later."""
    starts = np.arange(0, len(ids) - length, step)[:, None] + np.arange(length)
    return ids[starts].astype(np.int32), ids[starts + 1].astype(np.int32)


def train(
    page: LessonPage,
    cell: str,
    symbols: int,
    x: Any,
    y: Any,
    *,
    batch_size: int = BATCH,
    rate: Any = 0.01,
    **fit: Any,
) -> tuple[Any, Any]:
    page.seed()
    model = build(cell, symbols)
    optimizer = keras.optimizers.Adam(rate, clipnorm=1.0)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, page.fit(model, x, y, batch_size=batch_size, **fit)


def learn_numbers(page: LessonPage, cells: list[str]) -> Any:
    """Train each cell on the first four fifths; returns the last model."""
    page.heading("Learning the numbers")
    stream, model = human_numbers.stream(), None
    cut = round(len(stream) * 0.8)
    x, y = examples(stream[:cut], 32, 8)
    new_x, new_y = examples(stream[cut:], 32, 16)
    for cell in cells:
        model, _ = train(page, cell, len(human_numbers.WORDS), x, y, epochs=page.epochs(full=20, quick=5))
        guesses = model.predict(new_x, batch_size=256, verbose=0).argmax(-1)
        # The second half of each stretch: there the model has at least 16 words behind it.
        page.measure(f"{cell}: accuracy on new numbers", float(np.mean(guesses[:, 16:] == new_y[:, 16:])))
        page.save_model(model, cell)
    return model


# %% [markdown]
# ## Writing
# The model gives probabilities; the temperature says how boldly to draw from them: 0.5 squares them, 1.2
# flattens them. Below, the text appears as it is made.


# %%
def write(
    page: LessonPage,
    model: Any,
    start: Any,
    decode: Callable[[Any], str],
    count: int = 60,
    between: str = " ",
) -> None:
    for temperature in (0.5, 1.2):
        page.heading(f"Writing at temperature {temperature}")
        page.stream(f"...{decode(start[-12:])} | ")
        for some in sampling.write(model, start, count, temperature=temperature, seed=page.options.seed):
            page.stream(decode(some) + between)
        page.line()


# %% [markdown]
# ## Writing fast
# The usual loop asks `model.predict` for one symbol, moves the window of the last 200 by one, and asks again:
# it reads 199 old symbols each time. `workshops.models.sampling` gets the same text from the same model without
# reading them again, and, as *another* function, keeps a single state that forgets nothing.


# %%
def race(page: LessonPage, model: Any, start: Any, count: int = 40) -> None:
    page.heading("Writing fast")
    how: dict[str, Any] = {"temperature": 0.8, "seed": page.options.seed}
    list(sampling.predict_loop(model, start, 2, **how))
    began = time.perf_counter()
    usual = list(sampling.predict_loop(model, start, count, **how))
    naive = count / (time.perf_counter() - began)
    same = np.concatenate(list(sampling.write(model, start, count, **how)))
    page.measure("same text from both", float(list(same) == usual))
    speeds = {}
    for name, carry, many in (("sliding window", False, 640), ("carried state", True, 40_960)):
        chunks = sampling.write(model, start, many, carry=carry, **how)
        next(chunks)  # compiles
        began = time.perf_counter()
        made = sum(len(chunk) for chunk in chunks)
        speeds[name] = made / (time.perf_counter() - began)
    page.table(("", "symbols/s"), [("predict for each symbol", f"{naive:,.0f}"), *_thousands(speeds)])
    for name, speed in speeds.items():
        page.measure(f"{name}: times the predict loop", speed / naive)


def _thousands(speeds: dict[str, float]) -> list[tuple[str, str]]:
    return [(name, f"{speed:,.0f}") for name, speed in speeds.items()]


# %% [markdown]
# ## Characters
# With `--data docs`, `--data source` or `--corpus FILE` the same models read text character by character. The
# floors are tables of the last k characters, smoothed as Witten and Bell did in 1991: a network that does
# not get below the best of them has learned less than a table.


# %%
def load_text(settings: LessonOptions) -> Text:
    try:
        if settings.corpus is not None:
            return from_file(settings.corpus)
        return documentation() if settings.data == "docs" else source()
    except TextError as error:
        raise LessonError(str(error)) from None


def warm_loss(model: Any, x: Any, y: Any) -> float:
    """Nats a symbol over the second half of each stretch (n, time): as many symbols behind it as the tables have."""
    half = x.shape[1] // 2
    said = np.asarray(model.predict(x, batch_size=256, verbose=0)[:, half:], np.float64)
    right = np.take_along_axis(said, y[:, half:, None], axis=-1)
    return float(-np.log(np.maximum(right, 1e-12)).mean())


def learn_characters(page: LessonPage, cells: list[str], text: Text) -> Any:
    page.heading(f"Characters: {text.name}, {len(text.ids):,} of them, {len(text.symbols)} different")
    known, new = text.split()
    if page.options.quick:
        known, new = known[:100_000], new[:10_000]
    floors = count_tables(known, new, len(text.symbols))
    page.table(("characters remembered", "table, nats/character"), list(enumerate(floors)))
    best = page.measure("characters: best table, nats", min(floors))
    off = "It has learned less than that table: try more --epochs, or a longer text."
    floor = {
        cell: (floors[1], "table of 1") if cell == "simple-rnn" else (best, "best table") for cell in cells
    }
    page.expect(
        [Expected(f"characters: {cell}, nats", 0, *floor[cell], off) for cell in cells],
        "on the characters held out, from a network that learns more than a table (a SimpleRNN: of 1 character)",
    )
    x, y = examples(known, 64, 16)
    held_out = examples(new, 64, 32)
    epochs = page.epochs(full=5, quick=4)
    steps = max(1, epochs * -(-len(x) // CHARACTER_BATCH))
    # A quick run has too few steps to spend the last ones on small ones.
    rate = 0.01 if page.options.quick else keras.optimizers.schedules.CosineDecay(0.01, steps)
    fit: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": CHARACTER_BATCH,
        "rate": rate,
        "validation": held_out,
    }
    histories, model = {}, None
    for cell in cells:
        model, histories[cell] = train(page, cell, len(text.symbols), x, y, **fit)
        page.measure(f"characters: {cell}, nats", warm_loss(model, *held_out))
        kept = characters.with_symbols(model, text.symbols)
        page.save_model(kept, f"characters-{cell}", text=text.name, symbols=text.symbols)
    page.curves("characters", "Nats per character", histories, "loss")
    return model


# %% tags=["active-ipynb"]
# known_ceilings(page)
# model = learn_numbers(page, ["simple-rnn", "lstm"])
# stream = human_numbers.stream()
# write(page, model, stream[-WINDOW:], human_numbers.decode)
# race(page, model, stream[-WINDOW:])
# if not page.options.quick:  # minutes
#     learn_characters(page, ["lstm"], load_text(LessonOptions(data="docs")))
# result = page.close()

# %% [markdown]
# ## Questions
# What does a model that remembers three words score, and why hardly more than one that remembers two? Why may
# a network beat every table on the new numbers? `dlbox workshop check text-generation` has exercises: a
# temperature upside down, a window that never moves, a target that is its own input, a loss in nats
# read as bits, the last epoch kept in place of the best, what was never seen taken for impossible.
