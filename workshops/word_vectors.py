# %% [markdown]
# # Word vectors
#
# A network multiplies numbers, so words must become numbers. Which numbers? From a code that says nothing to
# vectors in which king - man + woman is queen.

# %%
from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from workshops import catalog
from workshops.data import analogies, glove
from workshops.page import LessonError, Outcome, Page, Settings

DIMENSIONS, BATCH, CAP = 13, 620, 50.0

# %% tags=["active-ipynb"]
# from workshops.page import open_page
# page = open_page("word-vectors")

# %% [markdown]
# ## Numbers for words
# Character codes put "cat" next to "cau". A bag of words forgets the order. One-hot vectors keep it, but every
# word is equally far from every other. Never feed the 0s and 1s of a bag of words to an Embedding layer, which
# wants the *numbers of the words*: it runs, and learns from noise.


# %%
def encodings(page: Page) -> None:
    page.heading("Numbers for words")
    words = ("the", "king", "greets", "queen")
    sentence = ["the", "king", "greets", "the", "queen"]
    page.line(f"  characters of 'king': {[ord(c) for c in 'king']}")
    page.line(f"  bag of words:  {[int(word in sentence) for word in words]}  (of {' '.join(words)})")
    page.line(f"  other order:   {[int(word in sentence[::-1]) for word in words]}")
    page.line(f"  word numbers:  {[words.index(word) + 1 for word in sentence]}  (0 is kept for padding)")
    one_hot = np.eye(len(words))
    apart = {float(np.linalg.norm(a - b)) for a in one_hot for b in one_hot if a is not b} - {0.0}
    page.measure("one-hot: different distances between words", len(apart))
    wrong = [int(word in sentence) for word in words]
    page.say(
        f"Read as word numbers, the bag {wrong} says only '{words[0]} {words[0]} {words[0]} {words[0]}': an "
        "embedding would see one word, again and again."
    )


# %% [markdown]
# ## A corpus with planted meanings
# Forty words: ten families (man, king, actor ...), each in two genders and two numbers. We count how often each
# stands beside each of 124 context words; some contexts are cues for a family, a gender or a number, most are
# not. The counts are noisy, and nobody tells the method which context is a cue.


# %%
def planted(page: Page) -> analogies.Corpus:
    page.heading("A corpus with planted meanings")
    corpus = analogies.make(seed=page.settings.seed)
    page.line(f"  {', '.join(analogies.WORDS[:8])} ...: {corpus.pairs:,} pairs counted")
    vectors = analogies.ppmi_svd(corpus.counts)
    page.measure("questions", len(analogies.questions()))
    page.measure("without a network (PPMI and SVD)", analogies.score(vectors))
    page.measure("without a network, nearest to B", analogies.baseline(vectors))
    page.say(
        "A question: man is to woman as king is to ...? The three words of the question are left out of the "
        "answers, as everybody does. So 'the word nearest to king' scores too: half of the questions, for "
        "nothing. A score means something only beside that number."
    )
    return corpus


# %% [markdown]
# ## GloVe
# Two vectors that multiply to the logarithm of a count: w . c + b_w + b_c = ln n(w, c). Rare pairs weigh less:
# (n / 50)^0.75, at most 1; pairs that never occurred are left out. Embedding layers and mean squared error
# are all it takes.


# %%
def build() -> keras.Model:
    """(word, context) numbers (batch,) each -> ln of their count (batch, 1)."""
    word, context = (
        keras.Input((), dtype="int32", name="word"),
        keras.Input((), dtype="int32", name="context"),
    )
    small = keras.initializers.RandomNormal(stddev=0.1)
    w = layers.Embedding(len(analogies.WORDS), DIMENSIONS, embeddings_initializer=small, name="words")(word)
    c = layers.Embedding(analogies.CONTEXTS, DIMENSIONS, embeddings_initializer=small, name="contexts")(
        context
    )
    b_w = layers.Embedding(len(analogies.WORDS), 1, embeddings_initializer="zeros")(word)
    b_c = layers.Embedding(analogies.CONTEXTS, 1, embeddings_initializer="zeros")(context)
    return keras.Model([word, context], layers.Add()([layers.Dot(axes=-1)([w, c]), b_w, b_c]), name="glove")


def train_glove(page: Page, corpus: analogies.Corpus) -> Any:
    """Word vectors (40, 13) trained from the counts."""
    page.heading("GloVe")
    page.seed()
    word, context = np.nonzero(corpus.counts)
    count = corpus.counts[word, context].astype(np.float32)
    model = build()
    model.compile(keras.optimizers.Adam(0.02), "mse")
    page.fit(
        model,
        [word.astype(np.int32), context.astype(np.int32)],
        np.log(count)[:, None],
        weights=np.minimum(1, (count / CAP) ** 0.75),
        epochs=page.epochs(full=100, quick=60),
        batch_size=BATCH,
    )
    vectors = np.asarray(model.get_layer("words").get_weights()[0], np.float64)
    page.measure("GloVe: analogies right", analogies.score(vectors))
    page.measure("GloVe: nearest to B", analogies.baseline(vectors))
    page.keep(model, "glove")
    return vectors


# %% [markdown]
# ## King - man + woman


# %%
def king_and_queen(page: Page, vectors: Any) -> None:
    page.heading("King - man + woman")
    v, number = analogies.unit(vectors), analogies.WORDS.index
    near = v @ (v[number("king")] - v[number("man")] + v[number("woman")])
    for row in np.argsort(-near)[:4]:
        page.line(f"  {analogies.WORDS[row]:10s} {near[row]:.3f}")
    near[[number(word) for word in ("king", "man", "woman")]] = -np.inf
    page.measure("king - man + woman is queen", float(analogies.WORDS[near.argmax()] == "queen"))
    centred = v - v.mean(axis=0)
    gender, number_axis = analogies.attributes()[:, 1] * 2.0 - 1, analogies.attributes()[:, 2] * 2.0 - 1
    x, y = (centred @ (axis @ centred / np.linalg.norm(axis @ centred)) for axis in (gender, number_axis))
    with page.figure("words", "Forty words along gender and number", size=(8, 6)) as axes:
        axes.scatter(x, y, s=8, c=gender, cmap="coolwarm")
        for word, a, b in zip(analogies.WORDS, x, y, strict=True):
            axes.annotate(word, (a, b), fontsize=7)
        axes.set_xlabel("gender")
        axes.set_ylabel("number")


# %% [markdown]
# ## Vectors of your own
# With `--corpus FILE` (a file in GloVe's text format, also .gz), the same question goes to published vectors.
# The file is read line by line: six billion words' worth of vectors need no memory.


# %%
def published(page: Page, settings: Settings) -> None:
    assert settings.corpus is not None  # noqa: S101
    page.heading(f"King - man + woman in {settings.corpus.name}")
    try:
        found = glove.pick(settings.corpus, ("king", "man", "woman"))
        target = found["king"] - found["man"] + found["woman"]
        rows = glove.nearest(settings.corpus, target, leave_out=found)
    except glove.GloveError as error:
        raise LessonError(str(error)) from None
    page.table(("word", "cosine"), rows)


# %% tags=["active-ipynb"]
# encodings(page)
# corpus = planted(page)
# vectors = train_glove(page, corpus)
# king_and_queen(page, vectors)
# if page.settings.corpus:
#     published(page, page.settings)
# outcome = page.close()

# %% [markdown]
# ## Questions
# Why is the baseline one half and not 1/37? What if there were no plural: would analogies still mean anything?
# `dlbox workshop check word-vectors` has exercises: an analogy that walks the wrong way, a bag of words
# fed to an embedding, a weight without a cap, and a similarity that likes long vectors.


# %% tags=["active-py"]
def run(settings: Settings, page: Page | None = None) -> Outcome:
    """The whole lesson; with ``settings.corpus`` also the question to those vectors."""
    page = page or Page(catalog.find("word-vectors"), settings)
    page.announce()
    encodings(page)
    corpus = planted(page)
    king_and_queen(page, train_glove(page, corpus))
    if settings.corpus:
        published(page, settings)
    return page.close()
