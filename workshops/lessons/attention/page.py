# %% [markdown]
# # Attention and transformers
#
# An LSTM passes on one state, its last one. With attention the last layer can use the states of all words. A
# transformer lets every word attend to every other word and needs no LSTM. This lesson trains them on the same
# reviews with the same number of weights and compares what they can learn.

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
"""Examples per step. The numbers of examples below are multiples of it, so that no batch is smaller: JAX would
compile again for such a batch."""

# %% tags=["active-ipynb"]
# from workshops.commands.start import open_page
# page = open_page("attention")

# %% [markdown]
# ## Attention by hand
# Every word has a query q, a key k and a value v. The more a query and a key point in the same direction, the larger
# is the weight of that value: softmax(q k / sqrt(d)) v. This is the whole computation.


# %%
def softmax(scores: Array) -> Array:
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def attend(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
    """(words, d) each -> (weighted sum of the values for each word (words, d), attention weights (words, words))."""
    weights = softmax(q @ k.T / np.sqrt(k.shape[-1]))
    return weights @ v, weights


def by_hand(page: LessonPage) -> None:
    page.heading("Attention by hand")
    words = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    outputs, weights = attend(words, words, words)
    for word, row, out in zip(words, weights, outputs, strict=True):
        page.line(f"  word {word}: weights {np.round(row, 3)}, output {np.round(out, 3)}")
    rng = np.random.default_rng(page.options.seed)
    x = rng.normal(size=(1, 6, 8)).astype(np.float32)
    layer = layers.MultiHeadAttention(1, 8)
    keras_output = np.asarray(keras.ops.convert_to_numpy(layer(x, x)))[0]
    (wq, bq), (wk, bk), (wv, bv), (wo, bo) = (
        (np.asarray(w, np.float64).reshape(8, 8), np.asarray(b, np.float64).ravel())
        for w, b in zip(layer.get_weights()[::2], layer.get_weights()[1::2], strict=True)
    )
    own = attend(x[0] @ wq + bq, x[0] @ wk + bk, x[0] @ wv + bv)[0] @ wo + bo
    page.measure("MultiHeadAttention, largest difference", difference(keras_output, own))
    mixed = rng.permutation(6)
    shuffled = np.asarray(keras.ops.convert_to_numpy(layer(x[:, mixed], x[:, mixed])))[0]
    page.measure("words shuffled, largest difference", difference(shuffled, keras_output[mixed]))
    page.say(
        "If the words are shuffled, the outputs are shuffled in the same way: attention alone ignores the word order."
    )


# %% [markdown]
# ## Five models
# A CNN/LSTM; an LSTM with additive attention, v tanh(h + s), and one with dot-product attention, both with the last
# state as the query; a transformer encoder; and the same encoder without position embeddings. The first four have
# 8,600 to 9,000 weights; the last one does not have the 1,088 weights of the position embeddings.


# %%
@keras.saving.register_keras_serializable("dlbox")
class Places(keras.layers.Layer):  # type: ignore[misc]
    """Position embedding: adds a learned vector to each position. (batch, time, width) -> the same shape."""

    def build(self, shape: Any) -> None:
        self.places = self.add_weight(shape=tuple(shape[1:]), initializer="uniform", name="places")

    def call(self, vectors: Any) -> Any:
        return vectors + self.places


def _cnn_lstm(vectors: Any) -> tuple[Any, Any]:
    pooled = layers.MaxPooling1D(4)(layers.Conv1D(28, 5, activation="relu")(vectors))
    return layers.LSTM(16)(pooled), None


def _ask(vectors: Any, kind: type) -> tuple[Any, Any]:
    """Attention over LSTM states with the last state as the query: (its output and that state, the weights)."""
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
"""Name -> (model family, which sets the ceiling; word vectors -> (input of the last layer, attention weights))."""


def build(name: str) -> tuple[keras.Model, keras.Model | None]:
    """Two models that read tokens (batch, 34): the first returns the probability of a positive review (batch, 1),
    the second the attention weights."""
    tokens = keras.Input((LENGTH,), dtype="int32", name="tokens")
    head, looks = READERS[name][1](layers.Embedding(VOCABULARY, WIDTH, name="words")(tokens))
    model = keras.Model(tokens, layers.Dense(1, activation="sigmoid")(head), name=name.replace("-", "_"))
    return model, None if looks is None else keras.Model(tokens, looks, name="looks")


def side_by_side(page: LessonPage, names: list[str]) -> dict[str, Any]:
    """Train each model on the same reviews; returns the models that compute attention weights."""
    page.heading("The five models compared")
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
        positive = model.predict(test.tokens, batch_size=1000, verbose=0)[:, 0] > 0.5
        right = positive == (test.labels == 1)
        page.measure(f"{name}: weights", model.count_params())
        page.measure(f"{name}: accuracy - ceiling", float(np.mean(right)) - best[READERS[name][0]])
        kinds = [float(np.mean(right[test.kinds == kind])) for kind in range(3)]
        rows.append((name, f"{model.count_params():,}", float(np.mean(right)), *kinds))
        page.save_model(model, name)
    page.table(("", "weights", "accuracy", *grammar.KINDS), rows)
    page.say(
        "The transformer reaches the accuracy of the LSTM. Without position embeddings it is a bag of "
        "words: the ceiling "
        "of that family is proved, and no training can exceed it."
    )
    draw(page, lookers, test)
    return lookers


# %% [markdown]
# ## Attention weights
# One review of the kind "clause but clause", and the attention weights of each model. The weights do not explain the
# prediction: an LSTM state contains earlier words, so a weight on "but" can stand for the whole first clause.


# %%
def draw(page: LessonPage, lookers: dict[str, Any], test: grammar.GeneratedReviews) -> None:
    row = int(np.flatnonzero((test.kinds == 2) & (test.labels == test.clean_labels))[0])
    tokens = test.tokens[row : row + 1]
    drawn = {name: model for name, model in lookers.items() if model is not None}
    if not drawn:
        return
    with page.figure("looks", "Attention weights", size=(9, 1.5 + 0.6 * len(drawn))) as axes:
        weights = [np.asarray(model.predict(tokens, verbose=0)) for model in drawn.values()]
        # The mean over heads and queries: one weight per word.
        shown = np.stack([w.reshape(-1, LENGTH).mean(axis=0) for w in weights])
        axes.imshow(shown / shown.max(axis=1, keepdims=True), cmap="Greys", vmin=0, aspect="auto")
        axes.set_yticks(range(len(drawn)), list(drawn))
        axes.set_xticks(range(LENGTH), [grammar.WORDS[t] for t in tokens[0]], rotation=90, fontsize=7)


# %% tags=["active-ipynb"]
# by_hand(page)
# lookers = side_by_side(page, list(READERS))
# result = page.close()

# %% [markdown]
# ## Questions and further reading
# Why does the transformer need position embeddings and the LSTM not? What would change with the mean over the words
# instead of the maximum? `dlbox workshop check attention` has exercises on common mistakes: a softmax over the wrong
# axis, a mask without effect, a missing scale, equal vectors for all positions, an epsilon that is too large, a
# ceiling that a model can exceed, and a pooling that depends on the position of the words.
#
# Bahdanau, Cho, Bengio: Neural machine translation by jointly learning to align and translate (2015). Vaswani and
# others: Attention is all you need (2017). Jain, Wallace: Attention is not explanation (2019).
