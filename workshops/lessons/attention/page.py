# %% [markdown]
# # Attention, and on to transformers
#
# An LSTM hands on one state at the end. Attention lets the last layer look back at every word; a transformer
# lets every word look at every other and does without the LSTM. Same reviews, same number of weights: what
# does each of them read?

# %%
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from workshops.data import sentiment_grammar as grammar
from workshops.lessons.text_classification.page import ceilings
from workshops.models.against_keras import Array, difference
from workshops.player.page import LessonPage

LENGTH, VOCABULARY, WIDTH = 34, len(grammar.WORDS), 32
BATCH = 125
"""Examples a step. It divides the counts below, since JAX compiles everything again for a smaller last batch."""

# %% tags=["active-ipynb"]
# from workshops.commands.start import open_page
# page = open_page("attention")

# %% [markdown]
# ## Attention by hand
# Every word asks a question q, offers a key k and holds a value v. Where question and key point the same way,
# the value counts: softmax(q k / sqrt(d)) v. That is all.


# %%
def softmax(scores: Array) -> Array:
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def attend(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
    """(words, d) each -> (what each word gathers (words, d), where it looked (words, words))."""
    looks = softmax(q @ k.T / np.sqrt(k.shape[-1]))
    return looks @ v, looks


def by_hand(page: LessonPage) -> None:
    page.heading("Attention by hand")
    words = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    gathered, looks = attend(words, words, words)
    for word, row, out in zip(words, looks, gathered, strict=True):
        page.line(f"  {word} looks {np.round(row, 3)} and gathers {np.round(out, 3)}")
    rng = np.random.default_rng(page.options.seed)
    x = rng.normal(size=(1, 6, 8)).astype(np.float32)
    layer = layers.MultiHeadAttention(1, 8)
    said = np.asarray(keras.ops.convert_to_numpy(layer(x, x)))[0]
    (wq, bq), (wk, bk), (wv, bv), (wo, bo) = (
        (np.asarray(w, np.float64).reshape(8, 8), np.asarray(b, np.float64).ravel())
        for w, b in zip(layer.get_weights()[::2], layer.get_weights()[1::2], strict=True)
    )
    own = attend(x[0] @ wq + bq, x[0] @ wk + bk, x[0] @ wv + bv)[0] @ wo + bo
    page.measure("MultiHeadAttention, largest difference", difference(said, own))
    mixed = rng.permutation(6)
    turned = np.asarray(keras.ops.convert_to_numpy(layer(x[:, mixed], x[:, mixed])))[0]
    page.measure("words shuffled, largest difference", difference(turned, said[mixed]))
    page.say("Shuffle the words and the answers are shuffled with them: attention by itself knows no order.")


# %% [markdown]
# ## Five readers
# A CNN/LSTM; an LSTM with additive attention, v tanh(h + s), and one with dot-product attention, both asked
# by its last state; a transformer encoder; and that encoder without the numbers of the places. The first four
# have 8,600 to 9,000 weights, the last one lacks the 1,088 of the places.


# %%
@keras.saving.register_keras_serializable("dlbox")
class Places(keras.layers.Layer):  # type: ignore[misc]
    """Adds a learned vector for each place: (batch, time, width) -> the same shape."""

    def build(self, shape: Any) -> None:
        self.places = self.add_weight(shape=tuple(shape[1:]), initializer="uniform", name="places")

    def call(self, vectors: Any) -> Any:
        return vectors + self.places


def _cnn_lstm(vectors: Any) -> tuple[Any, Any]:
    pooled = layers.MaxPooling1D(4)(layers.Conv1D(28, 5, activation="relu")(vectors))
    return layers.LSTM(16)(pooled), None


def _ask(vectors: Any, kind: type) -> tuple[Any, Any]:
    """LSTM states, asked by the last of them: (what was gathered and that state, the weights)."""
    states, last, _ = layers.LSTM(29, return_sequences=True, return_state=True)(vectors)
    question = layers.Reshape((1, 29))(last)
    gathered, looks = kind()([question, states], return_attention_scores=True)
    return layers.Concatenate()([layers.Flatten()(gathered), last]), looks


def _transformer(vectors: Any, *, places: bool = True) -> tuple[Any, Any]:
    if places:
        vectors = Places(name="places")(vectors)
    attention = layers.MultiHeadAttention(2, WIDTH // 2, name="attention")
    gathered, looks = attention(vectors, vectors, return_attention_scores=True)
    seen = layers.LayerNormalization()(vectors + gathered)
    thought = layers.Dense(WIDTH)(layers.Dense(WIDTH, activation="relu")(seen))
    return layers.GlobalMaxPooling1D()(layers.LayerNormalization()(seen + thought)), looks


READERS: dict[str, tuple[str, Callable[[Any], tuple[Any, Any]]]] = {
    "cnn-lstm": ("sequence", _cnn_lstm),
    "additive": ("sequence", lambda vectors: _ask(vectors, layers.AdditiveAttention)),
    "dot-product": ("sequence", lambda vectors: _ask(vectors, layers.Attention)),
    "transformer": ("sequence", _transformer),
    "no-places": ("bag-of-words", lambda vectors: _transformer(vectors, places=False)),
}
"""Name -> (family whose ceiling holds, vectors -> (what the answer is made from, attention weights))."""


def build(name: str) -> tuple[keras.Model, keras.Model | None]:
    """(tokens (batch, 34) -> probability of a positive review (batch, 1); the same -> attention weights)."""
    tokens = keras.Input((LENGTH,), dtype="int32", name="tokens")
    head, looks = READERS[name][1](layers.Embedding(VOCABULARY, WIDTH, name="words")(tokens))
    model = keras.Model(tokens, layers.Dense(1, activation="sigmoid")(head), name=name.replace("-", "_"))
    return model, None if looks is None else keras.Model(tokens, looks, name="looks")


def side_by_side(page: LessonPage, names: list[str]) -> dict[str, Any]:
    """Train each reader on the same reviews; returns the models that give attention weights."""
    page.heading("Side by side")
    seed, quick = page.options.seed, page.options.quick
    known = grammar.make(8_000 if quick else 20_000, length=LENGTH, seed=seed)
    test = grammar.make(4_000, length=LENGTH, seed=seed + 1_000_000)
    best, rows, lookers = ceilings(test), [], {}
    for name in names:
        page.seed()
        model, lookers[name] = build(name)
        epochs = page.epochs(full=10, quick=3)
        steps = max(1, epochs * -(-len(known.labels) // BATCH))
        rate = keras.optimizers.schedules.CosineDecay(0.01, steps)
        model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), "binary_crossentropy", metrics=["accuracy"])
        page.fit(model, known.tokens, known.labels, epochs=epochs, batch_size=BATCH)
        said = model.predict(test.tokens, batch_size=1000, verbose=0)[:, 0] > 0.5
        right = said == (test.labels == 1)
        page.measure(f"{name}: weights", model.count_params())
        page.measure(f"{name}: accuracy - ceiling", float(np.mean(right)) - best[READERS[name][0]])
        kinds = [float(np.mean(right[test.kinds == kind])) for kind in range(3)]
        rows.append((name, f"{model.count_params():,}", float(np.mean(right)), *kinds))
        page.save_model(model, name)
    page.table(("", "weights", "accuracy", *grammar.KINDS), rows)
    page.say(
        "The transformer reads as well as the LSTM. Without the numbers of the places it is a bag of words, however "
        "much attention it pays: that ceiling is proved, no training gets above it."
    )
    draw(page, lookers, test)
    return lookers


# %% [markdown]
# ## Where they look
# One review of the kind "clause but clause", and what each model looked at. Attention is not an explanation: the
# LSTM's states already carry earlier words, so a weight on "but" may speak of the whole first clause.


# %%
def draw(page: LessonPage, lookers: dict[str, Any], test: grammar.Reviews) -> None:
    row = int(np.flatnonzero((test.kinds == 2) & (test.labels == test.clean_labels))[0])
    tokens = test.tokens[row : row + 1]
    drawn = {name: model for name, model in lookers.items() if model is not None}
    if not drawn:
        return
    with page.figure("looks", "Where they look", size=(9, 1.5 + 0.6 * len(drawn))) as axes:
        weights = [np.asarray(model.predict(tokens, verbose=0)) for model in drawn.values()]
        # Heads and asking words are averaged: one weight a word.
        shown = np.stack([w.reshape(-1, LENGTH).mean(axis=0) for w in weights])
        axes.imshow(shown / shown.max(axis=1, keepdims=True), cmap="Greys", vmin=0, aspect="auto")
        axes.set_yticks(range(len(drawn)), list(drawn))
        axes.set_xticks(range(LENGTH), [grammar.WORDS[t] for t in tokens[0]], rotation=90, fontsize=7)


# %% tags=["active-ipynb"]
# by_hand(page)
# lookers = side_by_side(page, list(READERS))
# result = page.close()

# %% [markdown]
# ## Questions, and where to read on
# Why does the transformer need the places and the LSTM not? What would a mean in place of the maximum over the
# words change? `dlbox workshop check attention` has exercises: a softmax over the wrong axis, a mask that
# masks nothing, a forgotten scale, places that are all alike, an epsilon that eats the weights, a ceiling that can be
# beaten, a summary that knows where the words stand.
#
# Bahdanau, Cho, Bengio: Neural machine translation by jointly learning to align and translate (2015). Vaswani
# and others: Attention is all you need (2017). Jain, Wallace: Attention is not explanation (2019).
