# %% [markdown]
# # Text classification
#
# Is a film review positive? These reviews are made by a grammar, so the best possible score of each family of
# models is known: 0.680 for those that count words, 0.815 for those that see neighbours, 0.950 for those that
# read in order. The rest of the labels are flipped at random; no model can foresee that.

# %%
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from workshops.data import sentiment_grammar as grammar
from workshops.player.page import LessonPage

LENGTH, VOCABULARY, UNITS, BATCH = 34, len(grammar.WORDS), 32, 128

# %% tags=["active-ipynb"]
# from workshops.commands.start import open_page
# page = open_page("text-classification")

# %% [markdown]
# ## The reviews
# Three kinds: in some one word decides; in some "superb and not dull" stands against "dull and not superb",
# the same words; in some two clauses are joined by "but", and the second counts.


# %%
def reviews(page: LessonPage) -> tuple[grammar.Reviews, grammar.Reviews]:
    """(training, test) reviews of 34 tokens, padded before the text. With more to judge by, luck counts for less."""
    seed, quick = page.options.seed, page.options.quick
    train = grammar.make(8_000 if quick else 20_000, length=LENGTH, seed=seed)
    return train, grammar.make(4_000 if quick else 20_000, length=LENGTH, seed=seed + 1_000_000)


def ceilings(test: grammar.Reviews) -> dict[str, float]:
    """Best expected accuracy of each family on exactly these reviews: it gets a kind right, or guesses."""
    clean = test.labels == test.clean_labels
    seen = {"bag-of-words": (0,), "n-gram": (0, 1), "sequence": (0, 1, 2)}
    return {
        family: float(np.mean(np.where(np.isin(test.kinds, kinds), clean, 0.5)))
        for family, kinds in seen.items()
    }


def look(page: LessonPage, test: grammar.Reviews) -> dict[str, float]:
    page.heading("The reviews")
    for kind, name in enumerate(grammar.KINDS):
        row = int(np.flatnonzero((test.kinds == kind) & (test.labels == test.clean_labels))[0])
        page.line(f"  {name:6s} {'+' if test.labels[row] else '-'}  {test.text(row)}")
    best = ceilings(test)
    page.table(
        ("ceiling", "these reviews", "on average"),
        [(f, best[f], c) for f, c in grammar.Mixture().ceilings().items()],
    )
    return best


# %% [markdown]
# ## The models
# From counting words to reading them. The bag of words sees a 1 for each word of the vocabulary that the review
# has, and weighs it; `average` takes the mean of vectors that it learns for the words. The benchmark of this box
# trains the same three recurrent shapes at the class's sizes. Global max pooling, not Flatten, in the convolution:
# a flattened convolution knows where in the review a word stands, and on these short texts that gives the order away.


# %%
@keras.saving.register_keras_serializable("dlbox")
class MultiHot(keras.layers.Layer):  # type: ignore[misc]
    """Word numbers (batch, time) -> 1 for each word that occurs, else 0 (batch, words); padding is no word."""

    def __init__(self, words: int, **options: Any) -> None:
        super().__init__(**options)
        self.words = words

    def call(self, tokens: Any) -> Any:
        batch, time = keras.ops.shape(tokens)
        flat = keras.ops.cast(keras.ops.reshape(tokens, (-1,)), "int32")
        rows = keras.ops.repeat(keras.ops.arange(batch, dtype="int32"), time)
        is_word = keras.ops.cast(flat != grammar.PAD, "float32")
        places = keras.ops.stack([rows, flat], axis=1)
        return keras.ops.scatter_update(keras.ops.zeros((batch, self.words)), places, is_word)

    def compute_output_shape(self, shape: Any) -> Any:
        return (shape[0], self.words)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "words": self.words}


@keras.saving.register_keras_serializable("dlbox")
class Attention(keras.layers.Layer):  # type: ignore[misc]
    """Additive attention: a weighted mean over time (batch, time, units) -> (batch, units)."""

    def build(self, shape: Any) -> None:
        self.see = self.add_weight(shape=(shape[-1], shape[-1]), initializer="glorot_uniform", name="see")
        self.ask = self.add_weight(shape=(shape[-1], 1), initializer="glorot_uniform", name="ask")

    def call(self, states: Any) -> Any:
        scores = keras.ops.matmul(keras.ops.tanh(keras.ops.matmul(states, self.see)), self.ask)
        return keras.ops.sum(states * keras.ops.softmax(scores, axis=1), axis=1)


def _deep_lstm(vectors: Any) -> Any:
    return layers.LSTM(UNITS)(layers.LSTM(UNITS, return_sequences=True)(vectors))


def _cnn(vectors: Any) -> Any:
    return layers.GlobalMaxPooling1D()(layers.Conv1D(64, 3, activation="relu")(vectors))


def _cnn_lstm(vectors: Any) -> Any:
    pooled = layers.MaxPooling1D(4)(layers.Conv1D(64, 5, activation="relu")(vectors))
    return layers.LSTM(UNITS)(pooled)


MODELS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "bag-of-words": ("bag-of-words", lambda ones: ones),
    "average": ("bag-of-words", lambda vectors: layers.GlobalAveragePooling1D()(vectors)),
    "cnn": ("n-gram", _cnn),
    "lstm": ("sequence", lambda vectors: layers.LSTM(UNITS, name="reader")(vectors)),
    "gru": ("sequence", lambda vectors: layers.GRU(UNITS)(vectors)),
    "deep-lstm": ("sequence", _deep_lstm),
    "bidirectional": ("sequence", lambda vectors: layers.Bidirectional(layers.LSTM(UNITS))(vectors)),
    "cnn-lstm": ("sequence", _cnn_lstm),
    "attention": (
        "sequence",
        lambda vectors: Attention()(layers.LSTM(UNITS, return_sequences=True)(vectors)),
    ),
}
"""Name -> (family whose ceiling holds, layers between the words and the output)."""


def build(name: str, *, mask: bool = False, length: int | None = LENGTH) -> keras.Model:
    """int32 tokens (batch, length) -> probability of a positive review (batch, 1)."""
    tokens = keras.Input((length,), dtype="int32", name="tokens")
    if name == "bag-of-words":
        vectors = MultiHot(VOCABULARY, name="words")(tokens)
    else:
        vectors = layers.Embedding(VOCABULARY, 16, mask_zero=mask, name="embedding")(tokens)
    positive = layers.Dense(1, activation="sigmoid", name="positive")(MODELS[name][1](vectors))
    return keras.Model(tokens, positive, name=name.replace("-", "_"))


def train(
    page: LessonPage, name: str, data: tuple[grammar.Reviews, grammar.Reviews], best: dict[str, float]
) -> Any:
    page.seed()
    known, test = data
    epochs = page.epochs(full=6, quick=3)
    model = build(name)
    steps = max(1, epochs * -(-len(known.labels) // BATCH))
    rate = keras.optimizers.schedules.CosineDecay(0.01, steps)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), "binary_crossentropy", metrics=["accuracy"])
    validation = (test.tokens[:4000], test.labels[:4000])
    page.fit(model, known.tokens, known.labels, epochs=epochs, batch_size=BATCH, validation=validation)
    said = model.predict(test.tokens, batch_size=1000, verbose=0)[:, 0] > 0.5
    page.measure(f"{name}: accuracy", accuracy(said, test.labels))
    page.measure(f"{name}: accuracy - ceiling", accuracy(said, test.labels) - best[MODELS[name][0]])
    page.save_model(model, name)
    return model, [accuracy(said[test.kinds == kind], test.labels[test.kinds == kind]) for kind in range(3)]


def accuracy(said: Any, labels: Any) -> float:
    return float(np.mean(said == (labels == 1)))


# %% [markdown]
# ## Who fails where
# Each model against each kind of review: a bag of words is at chance wherever order matters, a convolution of
# width 3 wherever the deciding words are far apart.


# %%
def generated_models(page: LessonPage, names: list[str]) -> dict[str, Any]:
    data = reviews(page)
    best, kinds, models = look(page, data[1]), {}, {}
    page.heading("Training")
    for name in names:
        models[name], kinds[name] = train(page, name, data, best)
    page.table(("accuracy on reviews of kind", *grammar.KINDS), [(name, *row) for name, row in kinds.items()])
    with page.figure("kinds", "Accuracy by kind of review") as axes:
        for i, kind in enumerate(grammar.KINDS):
            axes.bar(np.arange(len(names)) + 0.27 * (i - 1), [kinds[n][i] for n in names], 0.25, label=kind)
        axes.set_xticks(range(len(names)), names)
        axes.axhline(0.5, color="grey", linestyle=":")
        axes.legend()
    return models


# %% [markdown]
# ## Padding
# Texts differ in length; batches do not. We pad *before* the text, so the last thing the LSTM reads is the
# review. Pad after it, and it reads its way through a blank page before it answers. A mask mends that: the
# layer skips the padding. (On NVIDIA cards the fast kernels take a mask only with the padding after the text:
# pad before and do without, or pad after and mask.)


# %%
def padding(page: LessonPage, model: Any) -> None:
    """The trained LSTM, the same weights three times; only the padding differs. No training here."""
    page.heading("Padding")
    _, test = reviews(page)
    labels = test.labels[:4000]
    after = np.zeros((len(labels), 120), np.int32)
    for row, tokens in enumerate(test.tokens[: len(labels)]):
        text = tokens[tokens != grammar.PAD]
        after[row, : len(text)] = text
    for name, mask in (("padded after, no mask", False), ("padded after, masked", True)):
        same = build("lstm", mask=mask, length=None)
        same.set_weights(model.get_weights())
        said = same.predict(after, batch_size=1000, verbose=0)[:, 0] > 0.5
        page.measure(f"lstm {name}: accuracy", accuracy(said, labels))
    masked = build("lstm", mask=True, length=None)
    masked.set_weights(model.get_weights())
    long = masked.predict(after[:50], verbose=0)
    short = masked.predict(after[:50, :LENGTH], verbose=0)
    page.measure("masked: change from 86 more blanks", float(np.abs(long - short).max()))


# %% tags=["active-ipynb"]
# models = generated_models(page, list(page.lesson.quick_models))
# padding(page, models["lstm"])
