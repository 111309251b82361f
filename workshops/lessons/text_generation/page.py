# %% [markdown]
# # Text generation
#
# A model predicts the next symbol, appends it to the text and continues. How accurate can a prediction be? For the
# first text of this lesson the answer is known exactly, and every model is compared with it.

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
"""Batch size for a text that is read character by character. It gives fewer examples than the numbers in words, so a
smaller batch keeps the number of steps per epoch high enough."""
CELLS = {"simple-rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}

# %% tags=["active-ipynb"]
# from workshops.commands.start import open_page
# page = open_page("text-generation")

# %% [markdown]
# ## A text with known ceilings
# The text is the numbers from 1 to 9,999 in words. A model that uses only the last k words cannot be more accurate
# than a table of all contexts of k words, so counting gives the ceiling. But a table cannot predict contexts that it
# has not seen: the last fifth of the text, from about 8,100 on, is for validation.


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
# ## Learning the numbers
# The model has one-hot words, one recurrent layer and a softmax at every position, so each position of the text is
# an example. A validation score above the best table cannot come from memorising the text.


# %%
def build(cell: str, symbols: int) -> keras.Model:
    """Symbol numbers (batch, time) -> probabilities of the next one at each position (batch, time, symbols)."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    memory = CELLS[cell](UNITS, return_sequences=True, name="memory")(keras.ops.one_hot(ids, symbols))
    return keras.Model(ids, layers.Dense(symbols, activation="softmax")(memory), name=cell.replace("-", "_"))


def examples(ids: Any, length: int, step: int) -> tuple[Any, Any]:
    """(sections of ``length`` symbols, one every ``step`` symbols; the same sections, one symbol later)."""
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
    """Train a model with each cell on the first four fifths of the text; returns the last model."""
    page.heading("Learning the numbers")
    stream, model = human_numbers.stream(), None
    cut = round(len(stream) * 0.8)
    x, y = examples(stream[:cut], 32, 8)
    new_x, new_y = examples(stream[cut:], 32, 16)
    for cell in cells:
        model, _ = train(page, cell, len(human_numbers.WORDS), x, y, epochs=page.epochs(full=20, quick=5))
        guesses = model.predict(new_x, batch_size=256, verbose=0).argmax(-1)
        # Only the second half of each section, where the model has read at least 16 words.
        page.measure(f"{cell}: accuracy on new numbers", float(np.mean(guesses[:, 16:] == new_y[:, 16:])))
        page.save_model(model, cell)
    return model


# %% [markdown]
# ## Writing
# The model gives probabilities. The temperature changes them before a symbol is drawn: 0.5 squares them, so that
# likely symbols become more likely; 1.2 makes them more equal. The text below appears while it is generated.


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
# The usual loop calls `model.predict` for one symbol, moves the window of the last symbols by one and calls it
# again, so it reads nearly the whole window again for each symbol. `workshops.models.sampling` generates the same
# text with the same model without reading them again. Its second way is *another* function: it carries one state
# through the whole text.


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
# With `--data docs`, `--data source` or `--corpus FILE` the same models read a text character by character. They are
# compared with tables of the last k characters, smoothed by the method of Witten and Bell (1991): a network with a
# larger loss than the best table has learned less than that table.


# %%
def load_text(settings: LessonOptions) -> Text:
    try:
        if settings.corpus is not None:
            return from_file(settings.corpus)
        return documentation() if settings.data == "docs" else source()
    except TextError as error:
        raise LessonError(str(error)) from None


def warm_loss(model: Any, x: Any, y: Any) -> float:
    """Loss in nats per symbol over the second half of each section (n, time), where the context is long enough."""
    half = x.shape[1] // 2
    probabilities = np.asarray(model.predict(x, batch_size=256, verbose=0)[:, half:], np.float64)
    right = np.take_along_axis(probabilities, y[:, half:, None], axis=-1)
    return float(-np.log(np.maximum(right, 1e-12)).mean())


def learn_characters(page: LessonPage, cells: list[str], text: Text) -> Any:
    page.heading(f"Characters: {text.name}, {len(text.ids):,} characters, {len(text.symbols)} different ones")
    known, new = text.split()
    if page.options.quick:
        known, new = known[:100_000], new[:10_000]
    floors = count_tables(known, new, len(text.symbols))
    page.table(("context in characters", "table, nats/character"), list(enumerate(floors)))
    best = page.measure("characters: best table, nats", min(floors))
    off = "It has learned less than the table: try a larger --epochs, or a longer text."
    floor = {
        cell: (floors[1], "table of 1") if cell == "simple-rnn" else (best, "best table") for cell in cells
    }
    page.expect(
        [Expected(f"characters: {cell}, nats", 0, *floor[cell], off) for cell in cells],
        "on the validation part, from a network that learns more than a table (SimpleRNN: a table of 1 character)",
    )
    x, y = examples(known, 64, 16)
    unseen = examples(new, 64, 32)
    epochs = page.epochs(full=5, quick=4)
    steps = max(1, epochs * -(-len(x) // CHARACTER_BATCH))
    # A quick run has too few steps for a decay of the learning rate.
    rate = 0.01 if page.options.quick else keras.optimizers.schedules.CosineDecay(0.01, steps)
    fit: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": CHARACTER_BATCH,
        "rate": rate,
        "validation": unseen,
    }
    histories, model = {}, None
    for cell in cells:
        model, histories[cell] = train(page, cell, len(text.symbols), x, y, **fit)
        page.measure(f"characters: {cell}, nats", warm_loss(model, *unseen))
        complete = characters.with_symbols(model, text.symbols)
        page.save_model(complete, f"characters-{cell}", text=text.name, symbols=text.symbols)
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
# How accurate is a model that uses three words, and why is it hardly better than one that uses two? Why can a
# network beat every table on the new numbers? `dlbox workshop check text-generation` has exercises on common
# mistakes: an inverted temperature, a window that does not move, a target equal to its input, a loss in nats
# reported as bits, the last epoch instead of the best one, and a probability of zero for everything unseen.
