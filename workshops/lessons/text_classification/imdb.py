# %% [markdown]
# # Text classification, second page: real reviews
# With `--data real` (84 MB, downloaded once) the same models learn from the 50,000 film reviews of Maas and others,
# or from your copy of them with `--corpus`. The ceiling is not known here, but others have published results. The
# ranking differs from that of the generated reviews: with 25,000 reviews of 230 words, few models beat a bag of
# words.

# %%
from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from workshops.data import imdb
from workshops.lessons.text_classification.page import MultiHot, accuracy
from workshops.models import workshop as class_models
from workshops.player.outcome import LessonError
from workshops.player.page import LessonPage

WORDS, LAST, REAL_BATCH = 5_000, 300, 64
CLASS_NAMES = {"bidirectional": "bilstm"}
"""Name of a model in this lesson -> its name in ``workshops.models.workshop``, which defines its size."""

# %% [markdown]
# ## The reviews as numbers
# The 4,998 most frequent words of the training part get a number, every other word is [UNK], and 0 is padding before
# the text. A long review is cut to its *last* 300 words, because people sum up at the end.


# %%
def real_reviews(page: LessonPage) -> imdb.ImdbReviews:
    """The published reviews, or those in the learner's ``--corpus``; a quick run uses 4,000 of each part."""
    settings = page.options
    most = 4_000 if settings.quick else None
    try:
        found = imdb.load(
            settings.corpus,
            vocabulary=WORDS,
            length=LAST,
            most=most,
            seed=settings.seed,
            progress=page.progress,
        )
    except imdb.ReviewsError as error:
        raise LessonError(str(error)) from None
    page.heading("Real reviews")
    train, test = found.train, found.test
    page.line(f"  to learn from {len(train.labels):,}, to judge by {len(test.labels):,}")
    unknown = float(np.mean(train.tokens[train.tokens != imdb.PAD] == imdb.UNKNOWN))
    page.line(f"  {found.mean_words:.0f} words a review on average; {unknown:.1%} of the words are [UNK]")
    page.line(f"  one of them ends: ... {' '.join(found.words[t] for t in train.tokens[0][-10:] if t)}")
    ratio = len(train.labels) / found.mean_words
    page.say(
        f"Reviews divided by words per review: {ratio:.0f}. A rule of thumb from many data sets: below "
        f"1,500, a bag of "
        "words is as accurate as a model that reads the words in order."
    )
    return found


# %%
@keras.saving.register_keras_serializable("dlbox")
class Words(keras.layers.Layer):  # type: ignore[misc]
    """Returns its input and stores the words of the token numbers, so that a saved model can read text."""

    def __init__(self, words: Any = (), **options: Any) -> None:
        super().__init__(**options)
        self.words = tuple(words)

    def call(self, tokens: Any) -> Any:
        return tokens

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "words": list(self.words)}


def build_real(name: str, words: Any = ()) -> keras.Model:
    """int32 tokens (batch, 300) -> probability of a positive review (batch, 1), in the class's sizes."""
    tokens = keras.Input((LAST,), dtype="int32", name="tokens")
    if name == "bag-of-words":
        inner = keras.Model(tokens, layers.Dense(1, activation="sigmoid")(MultiHot(WORDS)(tokens)))
    elif name == "average":
        vectors = layers.Embedding(WORDS, 50, name="embedding")(tokens)
        inner = keras.Model(
            tokens, layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling1D()(vectors))
        )
    else:
        inner = class_models.build(CLASS_NAMES.get(name, name), vocabulary=WORDS, length=LAST)
    return keras.Model(
        tokens, inner(Words(words, name="words")(tokens)), name=f"imdb_{name.replace('-', '_')}"
    )


# %% [markdown]
# ## Training on real reviews
# A tenth of the training part is for validation and chooses the epoch; the test part is used once, at the end. The
# class reported the best score on the test part itself.


# %%
def real_models(page: LessonPage, found: imdb.ImdbReviews, names: list[str]) -> dict[str, float]:
    """Test accuracy of each model after the epoch with the smallest validation loss."""
    page.heading("Training on real reviews")
    histories, scores = {}, {}
    tokens, labels = found.train.tokens, found.train.labels
    unseen = max(1, len(labels) // 10)
    learn, choose = slice(unseen, None), slice(0, unseen)
    for name in names:
        page.seed()
        model = build_real(name, found.words)
        rate = 0.005 if name in ("average", "bag-of-words") else 0.001
        model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), "binary_crossentropy", metrics=["accuracy"])
        best = Best(model, tokens[choose], labels[choose])
        histories[name] = page.fit(
            model,
            tokens[learn],
            labels[learn],
            epochs=page.epochs(full=4, quick=3),
            batch_size=REAL_BATCH,
            validation=(tokens[choose], labels[choose]),
            each_epoch=best.look,
        )
        model.set_weights(best.weights)
        positive = model.predict(found.test.tokens, batch_size=500, verbose=0)[:, 0] > 0.5
        scores[name] = page.measure(f"real: {name}: accuracy", accuracy(positive, found.test.labels))
        page.save_model(model, f"imdb-{name}", best_epoch=best.epoch)
    page.curves("imdb", "Real reviews", histories, "loss")
    page.table(("", "test accuracy"), list(scores.items()))
    return scores


class Best:
    """Stores the weights of the epoch with the smallest validation loss."""

    def __init__(self, model: Any, tokens: Any, labels: Any) -> None:
        self.model, self.tokens, self.labels = model, tokens, labels
        self.loss, self.weights, self.epoch = np.inf, model.get_weights(), 0

    def look(self, epoch: int) -> None:
        p = np.clip(self.model.predict(self.tokens, batch_size=500, verbose=0)[:, 0], 1e-7, 1 - 1e-7)
        loss = float(-np.mean(np.where(self.labels == 1, np.log(p), np.log(1 - p))))
        if loss < self.loss:
            self.loss, self.weights, self.epoch = loss, self.model.get_weights(), epoch + 1


# %% tags=["active-ipynb"]
# if page.options.data == "real":  # open_page("text-classification", data="real")
#     real_models(page, real_reviews(page), list(page.lesson.quick_models))
# result = page.close()

# %% [markdown]
# ## Questions
# Which words would a convolution have to see together to solve the "but" reviews? Why is more training useless when
# a model has reached its ceiling? `dlbox workshop check text-classification` has exercises on common mistakes: a bag
# of words used as word numbers, a text cut at the wrong end, padding after the text, and training on the test part.
