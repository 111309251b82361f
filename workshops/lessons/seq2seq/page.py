# %% [markdown]
# # Sequence to sequence: learning to add
#
# The model sees "12+345" as characters and must write "357". Nobody tells it what a digit is worth. Two
# models: one squeezes the whole question into a single vector; the other may look back at every symbol.

# %%
from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from workshops.data import addition
from workshops.player.page import LessonPage

DIGITS, UNITS, RATE = 3, 128, 0.008
QUICK_UNITS = 80
"""Fewer units take larger steps: in two thirds of the time a quick run gets as many sums right."""
BATCH = 125
"""Examples a step. It divides the counts below, since JAX compiles everything again for a smaller last batch."""
SYMBOLS, ASK, ANSWER = len(addition.SYMBOLS), 2 * DIGITS + 1, DIGITS + 1
START = SYMBOLS
"""Symbol the decoder sees before it has written anything."""
AS_ASKED = "not_reversed"
"""Name of the model that reads questions as they are asked, by which a kept one is known."""

# %% tags=["active-ipynb"]
# from workshops.commands.start import open_page
# page = open_page("seq2seq")

# %% [markdown]
# ## The questions
# No sum appears twice, *in either order*: otherwise the held-out questions contain sums that were trained
# on as b+a, and the score measures memory. Short questions are filled with blanks, and the whole question is
# turned round: then the units come last, next to the place where the answer begins to be written.


# %%
def questions(page: LessonPage, *, reverse: bool = True) -> tuple[addition.Sums, addition.Sums]:
    """(training, held out): one sum in ten is held out."""
    count, seed = (20_000 if page.options.quick else 50_000), page.options.seed
    return addition.make(count, digits=DIGITS, reverse=reverse, seed=seed).split()


def look(page: LessonPage) -> None:
    page.heading("The questions")
    train, held_out = questions(page)
    for row in range(3):
        page.line(f"  {addition.text(train.questions[row])!r} -> {addition.text(train.answers[row])!r}")
    careless = addition.make(len(train), digits=DIGITS, seed=page.options.seed, distinct=False).split()
    page.measure("leaked when drawn carelessly", addition.leaked(*careless))
    page.measure("leaked", addition.leaked(train, held_out))
    blanks = float(np.mean(held_out.answers == 0))
    page.measure("blanks among the answers' symbols", blanks)
    page.say(
        f"{blanks:.0%} of the symbols to write are blanks, easy to get right: so count whole sums, not symbols. A "
        "model with 71% of its symbols right (the class's own setting, 10,000 sums, not turned round, 100 "
        "epochs) had only 19% of its sums right."
    )


# %% [markdown]
# ## One vector for the whole question
# The encoder's last state is repeated for every symbol of the answer, and a second LSTM reads those copies.


# %%
def falling_rate(rows: int, epochs: int, rate: float) -> Any:
    """Adam with smaller steps near the end: without them the score jumps about from epoch to epoch."""
    steps = max(1, epochs) * -(-rows // BATCH)
    when, rates = [int(0.75 * steps), int(0.9 * steps)], [rate, 0.3 * rate, 0.1 * rate]
    return keras.optimizers.Adam(keras.optimizers.schedules.PiecewiseConstantDecay(when, rates), clipnorm=1.0)


def build_repeat(units: int = UNITS, *, reverse: bool = True) -> keras.Model:
    """One-hot question (batch, 7, 12) -> probabilities of the answer's symbols (batch, 4, 12)."""
    question = keras.Input((ASK, SYMBOLS), name="question")
    meaning = layers.LSTM(units, name="encoder")(question)
    copies = layers.RepeatVector(ANSWER, name="copies")(meaning)
    written = layers.LSTM(units, return_sequences=True, name="decoder")(copies)
    name = "repeat" if reverse else AS_ASKED
    return keras.Model(question, layers.Dense(SYMBOLS, activation="softmax")(written), name=name)


def repeat(page: LessonPage, *, reverse: bool = True) -> dict[str, list[float]]:
    name = "repeat" if reverse else "not-reversed"
    page.heading(f"One vector for the whole question ({name})")
    page.seed()
    train, held_out = questions(page, reverse=reverse)
    quick, epochs = page.options.quick, page.epochs(full=15, quick=9)
    model = build_repeat(QUICK_UNITS if quick else UNITS, reverse=reverse)
    optimizer = falling_rate(len(train), epochs, 0.014 if quick else RATE)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    test = addition.one_hot(held_out.questions)
    history = page.fit(
        model,
        addition.one_hot(train.questions),
        train.answers,
        epochs=epochs,
        batch_size=BATCH,
        validation=(test, held_out.answers),
    )
    guesses = model.predict(test, batch_size=1000, verbose=0).argmax(-1)
    report(page, name, held_out, guesses)
    page.save_model(model, name)
    return history


def report(page: LessonPage, name: str, held_out: addition.Sums, guesses: Any) -> None:
    """Symbols and whole sums that are right; three sums that are not."""
    page.measure(f"{name}: symbols right", float(np.mean(held_out.answers == guesses)))
    page.measure(f"{name}: sums right", addition.exact(held_out.answers, guesses))
    wrong = np.flatnonzero(np.any(held_out.answers != guesses, axis=1))[:3]
    for row in wrong:
        a, b = held_out.pairs[row]
        page.line(f"  {a} + {b} = {a + b}, it wrote {addition.text(guesses[row]).strip()}")


# %% [markdown]
# ## A decoder that looks back
# Here the encoder hands over its state *and* everything it saw on the way. While training, the decoder
# reads the right answer one symbol late (teacher forcing); afterwards it reads what it wrote itself. At each
# symbol, attention compares the decoder's state with every position of the question.


# %%
def build_attention(units: int = UNITS) -> tuple[keras.Model, keras.Model]:
    """(model, the same model giving its attention scores (batch, 4, 7)); inputs: question, shifted answer."""
    question = keras.Input((ASK, SYMBOLS), name="question")
    so_far = keras.Input((ANSWER, SYMBOLS + 1), name="so_far")
    seen, h, c = layers.LSTM(units, return_sequences=True, return_state=True, name="encoder")(question)
    state = layers.LSTM(units, return_sequences=True, name="decoder")(so_far, initial_state=[h, c])
    found, scores = layers.Attention(use_scale=True)([state, seen], return_attention_scores=True)
    both = layers.Dense(units, activation="tanh")(layers.Concatenate()([state, found]))
    symbols = layers.Dense(SYMBOLS, activation="softmax")(both)
    inputs = [question, so_far]
    return keras.Model(inputs, symbols, name="attention"), keras.Model(inputs, scores, name="scores")


def one_late(answers: addition.Ids) -> Any:
    """What the decoder may see: START, then the answer without its last symbol, one-hot (n, 4, 13)."""
    shifted = np.concatenate([np.full((len(answers), 1), START, np.int32), answers[:, :-1]], axis=1)
    return np.eye(SYMBOLS + 1, dtype=np.float32)[shifted]


def write(model: Any, asked: addition.Ids) -> addition.Ids:
    """Answers symbol by symbol, each from those written before it; no teacher."""
    answers = np.zeros((len(asked), ANSWER), np.int32)
    inputs = addition.one_hot(asked)
    for place in range(ANSWER):
        guess = model.predict([inputs, one_late(answers)], batch_size=1000, verbose=0)
        answers[:, place] = guess[:, place].argmax(-1)
    return answers


def attention(page: LessonPage) -> dict[str, list[float]]:
    page.heading("A decoder that looks back (attention)")
    page.seed()
    train, held_out = questions(page)
    quick, epochs = page.options.quick, page.epochs(full=15, quick=6)
    model, looks = build_attention(QUICK_UNITS if quick else UNITS)
    optimizer = falling_rate(len(train), epochs, 0.011 if quick else RATE)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = page.fit(
        model,
        [addition.one_hot(train.questions), one_late(train.answers)],
        train.answers,
        epochs=epochs,
        batch_size=BATCH,
        validation=([addition.one_hot(held_out.questions), one_late(held_out.answers)], held_out.answers),
    )
    guesses = write(model, held_out.questions)
    report(page, "attention", held_out, guesses)
    page.save_model(model, "attention")
    draw_attention(page, looks, held_out.questions[:1], guesses[:1])
    return history


def draw_attention(page: LessonPage, looks: Any, asked: addition.Ids, answer: addition.Ids) -> None:
    """Which symbols of the question each written symbol looked at."""
    scores = looks.predict([addition.one_hot(asked), one_late(answer)], verbose=0)[0]
    with page.figure("attention-map", "Where the decoder looked", size=(6, 3.5)) as axes:
        axes.imshow(scores, cmap="Greys", vmin=0)
        axes.set_xticks(range(ASK), [f"{s}" for s in addition.text(asked[0])])
        axes.set_yticks(range(ANSWER), [f"{s}" for s in addition.text(answer[0])])
        axes.set_xlabel("the question, as the encoder reads it")
        axes.set_ylabel("written")


def compare(page: LessonPage, histories: dict[str, dict[str, list[float]]]) -> None:
    page.curves("accuracy", "Symbols right", histories, "accuracy")


# %% tags=["active-ipynb"]
# look(page)
# histories = {"repeat": repeat(page), "attention": attention(page)}
# compare(page, histories)
# result = page.close()

# %% [markdown]
# ## Questions
# Where does the attention look for the first digit of the answer, and why there? Held-out symbols are
# scored with the teacher's help during training, the sums without: which should you believe?
# `dlbox workshop check seq2seq` has exercises: a split that leaks, a score that flatters, a decoder that
# is shown the answer, and blanks on the wrong side.
