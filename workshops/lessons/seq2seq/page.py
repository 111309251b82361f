# %% [markdown]
# # Sequence to sequence: learning to add
#
# The model reads "12+345" as characters and writes "357". It learns the value of each digit from examples alone. Two
# models: one encodes the whole question in a single vector; the other can use every symbol of the question.

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
"""Fewer units allow a larger learning rate: a quick run reaches the same accuracy in two thirds of the time."""
BATCH = 125
"""Examples per step. The numbers of examples below are multiples of it, so that no batch is smaller: JAX would
compile again for such a batch."""
SYMBOLS, ASK, ANSWER = len(addition.SYMBOLS), 2 * DIGITS + 1, DIGITS + 1
START = SYMBOLS
"""The first input of the decoder, before it has written a symbol."""
AS_ASKED = "not_reversed"
"""Name of the model that reads unreversed questions; it identifies a saved model."""

# %% tags=["active-ipynb"]
# from workshops.commands.start import open_page
# page = open_page("seq2seq")

# %% [markdown]
# ## The questions
# No sum appears twice, *in either order*: otherwise the validation part would contain sums that the model was
# trained on as b+a, and the score would measure memory. Short questions are padded with blanks, and the whole
# question is reversed: then its first symbols, which decide the first symbols of the answer, are read last.


# %%
def questions(page: LessonPage, *, reverse: bool = True) -> tuple[addition.Sums, addition.Sums]:
    """(training, validation): one sum in ten is for validation."""
    count, seed = (20_000 if page.options.quick else 50_000), page.options.seed
    return addition.make(count, digits=DIGITS, reverse=reverse, seed=seed).split()


def look(page: LessonPage) -> None:
    page.heading("The questions")
    train, unseen = questions(page)
    for row in range(3):
        page.line(f"  {addition.text(train.questions[row])!r} -> {addition.text(train.answers[row])!r}")
    careless = addition.make(len(train), digits=DIGITS, seed=page.options.seed, distinct=False).split()
    page.measure("leaked when drawn carelessly", addition.leaked(*careless))
    page.measure("leaked", addition.leaked(train, unseen))
    blanks = float(np.mean(unseen.answers == 0))
    page.measure("blanks among the answers' symbols", blanks)
    page.say(
        f"{blanks:.0%} of the answers' symbols are blanks, which are easy to predict: therefore count "
        f"whole sums, not "
        "symbols. A model with 71% of its symbols right (the class's settings: 10,000 sums, not "
        "reversed, 100 epochs) "
        "had only 19% of its sums right."
    )


# %% [markdown]
# ## One vector for the whole question
# The last state of the encoder is repeated for every symbol of the answer, and a second LSTM reads the copies.


# %%
def falling_rate(rows: int, epochs: int, rate: float) -> Any:
    """Adam with a smaller learning rate near the end: without it the score varies from epoch to epoch."""
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
    train, unseen = questions(page, reverse=reverse)
    quick, epochs = page.options.quick, page.epochs(full=15, quick=9)
    model = build_repeat(QUICK_UNITS if quick else UNITS, reverse=reverse)
    optimizer = falling_rate(len(train), epochs, 0.014 if quick else RATE)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    test = addition.one_hot(unseen.questions)
    history = page.fit(
        model,
        addition.one_hot(train.questions),
        train.answers,
        epochs=epochs,
        batch_size=BATCH,
        validation=(test, unseen.answers),
    )
    guesses = model.predict(test, batch_size=1000, verbose=0).argmax(-1)
    report(page, name, unseen, guesses)
    page.save_model(model, name)
    return history


def report(page: LessonPage, name: str, unseen: addition.Sums, guesses: Any) -> None:
    """Measure the shares of right symbols and right sums; print three wrong sums."""
    page.measure(f"{name}: symbols right", float(np.mean(unseen.answers == guesses)))
    page.measure(f"{name}: sums right", addition.exact(unseen.answers, guesses))
    wrong = np.flatnonzero(np.any(unseen.answers != guesses, axis=1))[:3]
    for row in wrong:
        a, b = unseen.pairs[row]
        page.line(f"  {a} + {b} = {a + b}, the model wrote {addition.text(guesses[row]).strip()}")


# %% [markdown]
# ## A decoder with attention
# Here the encoder passes on its last state *and* its states at all positions. During training the decoder reads the
# right answer, shifted by one symbol (teacher forcing); afterwards it reads the symbols that it wrote itself. For
# each symbol, attention compares the decoder's state with every position of the question.


# %%
def build_attention(units: int = UNITS) -> tuple[keras.Model, keras.Model]:
    """(model, the same model with its attention scores (batch, 4, 7) as output); inputs: question, shifted answer."""
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
    """Input of the decoder: START, then the answer without its last symbol, one-hot (n, 4, 13)."""
    shifted = np.concatenate([np.full((len(answers), 1), START, np.int32), answers[:, :-1]], axis=1)
    return np.eye(SYMBOLS + 1, dtype=np.float32)[shifted]


def write(model: Any, asked: addition.Ids) -> addition.Ids:
    """The answers, written symbol by symbol, each from the symbols written before it, without teacher forcing."""
    answers = np.zeros((len(asked), ANSWER), np.int32)
    inputs = addition.one_hot(asked)
    for place in range(ANSWER):
        guess = model.predict([inputs, one_late(answers)], batch_size=1000, verbose=0)
        answers[:, place] = guess[:, place].argmax(-1)
    return answers


def attention(page: LessonPage) -> dict[str, list[float]]:
    page.heading("A decoder with attention")
    page.seed()
    train, unseen = questions(page)
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
        validation=([addition.one_hot(unseen.questions), one_late(unseen.answers)], unseen.answers),
    )
    guesses = write(model, unseen.questions)
    report(page, "attention", unseen, guesses)
    page.save_model(model, "attention")
    draw_attention(page, looks, unseen.questions[:1], guesses[:1])
    return history


def draw_attention(page: LessonPage, looks: Any, asked: addition.Ids, answer: addition.Ids) -> None:
    """Picture of the attention weights: written symbols against the symbols of the question."""
    scores = looks.predict([addition.one_hot(asked), one_late(answer)], verbose=0)[0]
    with page.figure("attention-map", "Attention weights of the decoder", size=(6, 3.5)) as axes:
        axes.imshow(scores, cmap="Greys", vmin=0)
        axes.set_xticks(range(ASK), [f"{s}" for s in addition.text(asked[0])])
        axes.set_yticks(range(ANSWER), [f"{s}" for s in addition.text(answer[0])])
        axes.set_xlabel("question, in the order that the encoder reads it")
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
# Which symbols have the largest attention weights for the first digit of the answer, and why? During training the
# accuracy of symbols is measured with teacher forcing, the accuracy of sums without it: which of them should you
# trust? `dlbox workshop check seq2seq` has exercises on common mistakes: a split that leaks, a score that is too
# high, a decoder that reads the answer, and padding on the wrong side.
