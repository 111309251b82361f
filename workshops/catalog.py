"""The lessons in order, and what a learner should see at the end of each; imports no framework."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import Any

from workshops.promises import ANY, CORPUS, Expected, Lesson, Mode

__all__ = ["LESSONS", "Expected", "Lesson", "UnknownLessonError", "find"]

_ARITHMETIC = (
    "This is arithmetic, not training: if it is off, a framework changed its formula. Please report it."
)
_TRAIN_LONGER = "Another seed or backend lands elsewhere while the model still learns: try more --epochs."
_SMALL_SERIES = (
    "87 windows are few: seeds differ by several thousand passengers; persistence (41.7) is the bar."
)
_ROUNDING = "Two symbols may lie so close that rounding decides; then the texts part. Try another --seed."
_BUSY = "Speeds need an idle machine: stop other work and try again."
_BY_HEART = "How much is learned by heart depends on seed and epochs: try another --seed."
_NO_LIMIT = float("inf")
_REAL = "Published figures scatter by 0.03 with settings and seeds: try another --seed or more --epochs."
_CEILING = "Below: it has not finished learning, try more --epochs. Above: luck with few test reviews."

_LUCK: tuple[tuple[Mode, float], ...] = (("quick", 0.02), ("full", 0.01))
"""How far a model that must guess comes from its ceiling: 4,000 reviews judge a quick run, 20,000 a full one."""
_NOBODY_KNOWS = "No score is promised: nobody knows the best one that is possible on data of your own."
_COUNTS = "synthetic counts of 40 words beside 124 contexts, drawn here from a known law"
_GLOVE = ("glove.6B", "glove.42B.300d", "glove.840B.300d", "glove.twitter.27B", "glove.2024.wikigiga.50d")


def _each(*expected: Expected, **changes: Any) -> tuple[Expected, ...]:
    """What these numbers have in common, said once."""
    return tuple(replace(e, **changes) for e in expected)


LESSONS: tuple[Lesson, ...] = (
    Lesson(
        name="sign",
        title="Sign language: from a perceptron to a convolutional network",
        about="Perceptron, two layers, dropout and convolution on hands; wrong losses and lucky scores beside them.",
        data="synthetic hand signs drawn here, 24 letters; 5% of the labels are wrong, so the best score is 0.95",
        quick_seconds=40,
        full_seconds=150,
        models=("perceptron", "mlp", "dropout", "cnn"),
        other_data=(
            ("real", "real photographs, Sign Language MNIST, 24 letters"),
            (CORPUS, "your files in the format of Sign Language MNIST"),
        ),
        unknown=(
            (
                "real",
                "No score is promised on photographs. Published for the test file: about 0.7 for a two-layer network "
                "and 0.9 for a convolutional one.",
            ),
            (CORPUS, _NOBODY_KNOWS),
        ),
        more_pages=("sign_networks",),
        expected=(
            Expected("ceiling", 0.95, 0.95, "exactly one label in twenty is wrong", _ARITHMETIC),
            *_each(
                Expected("activations, largest difference", 0, 1e-6, "float32 rounding", _ARITHMETIC),
                Expected("two layers without a bend against one", 0, 1e-12, "algebra", _ARITHMETIC),
                Expected("convolution, largest difference", 0, 1e-6, "float32 rounding", _ARITHMETIC),
                Expected("pooling, largest difference", 0, 1e-6, "float32 rounding", _ARITHMETIC),
                data=("embedded", "real", CORPUS),
                whole=True,
            ),
            *_each(
                Expected(
                    "cross-entropy, pixels 0 to 1", 0.48, 0.72, "0.54 to 0.56, seeds 0 to 2", _TRAIN_LONGER
                ),
                Expected(
                    "cross-entropy, pixels 0 to 255", 0.02, 0.6, "0.04 or 0.49, by backend", _TRAIN_LONGER
                ),
                Expected("mae, pixels 0 to 1", 0.08, 0.45, "0.16 to 0.26, seeds 0 to 2", _TRAIN_LONGER),
                Expected("mae, pixels 0 to 255", 0.02, 0.07, "a blind guess is 0.042", _TRAIN_LONGER),
                Expected("share of the dead output J", 0, 1e-3, "below 4e-5 measured", _TRAIN_LONGER),
                Expected(
                    "mlp on few: wrong labels by heart", 0.6, 1, "0.86 to 0.94, three backends", _BY_HEART
                ),
                Expected("dropout on few: wrong labels by heart", 0, 0.5, "0.20 to 0.25", _BY_HEART, "quick"),
                Expected("validation as test: too much by", 0.005, 0.06, "0.024 to 0.029", _BY_HEART),
                whole=True,
            ),
            Expected("perceptron: test", 0.54, 0.75, "0.58 to 0.61, seeds 0 to 2", _TRAIN_LONGER, "quick"),
            Expected("perceptron: test", 0.7, 0.86, "0.79, seed 0", _TRAIN_LONGER, "full"),
            Expected("mlp: test", 0.6, 0.76, "0.66 to 0.68, three backends", _TRAIN_LONGER, "quick"),
            Expected("mlp: test", 0.8, 0.92, "0.87, seed 0", _TRAIN_LONGER, "full"),
            Expected("cnn: test", 0.92, 0.951, "0.95 is the best possible", _TRAIN_LONGER, "quick"),
            Expected("cnn: test", 0.93, 0.951, "0.95 is the best possible", _TRAIN_LONGER, "full"),
        ),
    ),
    Lesson(
        name="time-series",
        title="Time series: forecasting against forecasts that cost nothing",
        about="Perceptron, SimpleRNN and LSTM on airline passengers, beside rules of thumb and a known floor.",
        data="real airline passengers 1949 to 1960, embedded, and two synthetic series made here: noise and a sine",
        quick_seconds=45,
        full_seconds=90,
        models=("perceptron", "simple-rnn", "lstm", "gru"),
        cells=("simple-rnn", "lstm", "gru"),
        other_data=(
            ("airline", "real airline passengers 1949 to 1960, embedded"),
            ("noise", "a synthetic series made here, whose noise is known"),
            ("sine", "a synthetic sine made here"),
        ),
        expected=(
            *_each(
                Expected("windows of 10 in 13 points", 3, 3, "counted on the slide", _ARITHMETIC),
                Expected("months both trained on and tested on", 1, 1, "counted", _ARITHMETIC),
                Expected("test months above all training months", 0.47, 0.48, "21 of 44", _ARITHMETIC),
                Expected("persistence: MAE", 41.72, 41.74, "computed, no training", _ARITHMETIC),
                Expected("a year ago: MAE", 37.40, 37.42, "computed, no training", _ARITHMETIC),
                Expected("a year ago x growth: MAE", 11.78, 11.80, "computed, no training", _ARITHMETIC),
                Expected("AR(4): MAE", 38.31, 38.33, "computed, no training", _ARITHMETIC),
                Expected("AR(12): MAE", 15.71, 15.73, "computed, no training", _ARITHMETIC),
                Expected("AR(13): MAE", 10.74, 10.76, "computed, no training", _ARITHMETIC),
                Expected("AR(20): MAE", 10.81, 10.83, "computed, no training", _ARITHMETIC),
                Expected("perceptron: MAE", 10.5, 16, "seeds 0 to 2, three backends", _SMALL_SERIES),
                Expected("simple-rnn: MAE", 12, 27, "seeds 0 to 2, three backends", _SMALL_SERIES),
                Expected("lstm: MAE", 12, 32, "seeds 0 to 2, three backends", _SMALL_SERIES),
                data=("embedded", "airline"),
            ),
            *_each(
                Expected("noise: AR(12) / floor", 0.98, 1.03, "1 is the noise itself", _ARITHMETIC),
                Expected("noise: perceptron / floor", 0.98, 1.2, "1 is the noise itself", _TRAIN_LONGER),
                Expected(
                    "noise: simple-rnn / floor",
                    0.98,
                    1.15,
                    "1 is the noise itself; seeds 0 to 2",
                    _TRAIN_LONGER,
                ),
                Expected(
                    "noise: lstm / floor", 0.98, 1.15, "1 is the noise itself; seeds 0 to 2", _TRAIN_LONGER
                ),
                data=("embedded", "noise"),
            ),
            *_each(
                Expected("sine: AR(2), 300 steps ahead, MAE", 0, 1e-9, "exact but for rounding", _ARITHMETIC),
                Expected("sine: simple-rnn, one step, MAE", 0, 0.04, "seeds 0 to 2", _TRAIN_LONGER),
                Expected("sine: lstm, one step, MAE", 0, 0.06, "seeds 0 to 2", _TRAIN_LONGER),
                data=("embedded", "sine"),
            ),
        ),
    ),
    Lesson(
        name="by-hand",
        title="Inside the cells: every number worked by hand",
        about="What SimpleRNN, LSTM, GRU, Conv1D and max pooling compute, in NumPy and in Keras.",
        data="none needed: the worked numbers of the class's slides",
        quick_seconds=10,
        full_seconds=10,
        expected=tuple(
            Expected(f"{name}, largest difference", 0.0, 1e-6, "float32 rounding", _ARITHMETIC, model=cell)
            for cell, name in (
                ("simple-rnn", "a state of two numbers"),
                ("simple-rnn", "SimpleRNN"),
                ("lstm", "LSTM table"),
                ("lstm", "LSTM"),
                ("lstm", "hard sigmoid"),
                ("lstm", "LSTM, hard sigmoid of Keras 3"),
                ("lstm", "LSTM, hard sigmoid of Keras 2"),
                ("gru", "GRU as on the slide, one step"),
                ("gru", "GRU of Keras, one step"),
                ("gru", "GRU"),
                ("gru", "GRU as on the slide"),
                ("conv", "convolution"),
                ("conv", "pooling"),
                ("conv", "one-hot"),
            )
        ),
        cells=("simple-rnn", "lstm", "gru", "conv"),
        more_pages=("by_hand_lstm", "by_hand_gru", "by_hand_text"),
    ),
    Lesson(
        name="text-generation",
        title="Text generation: guess the next word, write it down, go on",
        about="SimpleRNN, LSTM and GRU write numbers in words, or your text by characters, beside count tables.",
        data="synthetic: the numbers 1 to 9,999 in words, made here; the best possible score is known",
        quick_seconds=45,
        full_seconds=200,
        cells=("simple-rnn", "lstm", "gru"),
        other_data=(
            ("docs", "real text, by characters: the documentation of the Python on this machine"),
            ("source", "real text, by characters: the source of the Python on this machine"),
            (CORPUS, "your text, by characters"),
        ),
        unknown=tuple(
            (data, "Each network is held to count tables of this very text, as soon as those are counted.")
            for data in ("docs", "source", CORPUS)
        ),
        predicts=True,
        expected=(
            Expected("tokens", 63_098, 63_098, "counted", _ARITHMETIC),
            Expected("ceiling, 2 words", 0.472, 0.473, "counted", _ARITHMETIC),
            Expected("ceiling, 3 words", 0.474, 0.475, "counted", _ARITHMETIC),
            Expected("ceiling, 6 words", 0.640, 0.641, "counted", _ARITHMETIC),
            Expected("ceiling, 7 words", 1, 1, "counted", _ARITHMETIC),
            Expected("best table on new numbers", 0.305, 0.307, "counted", _ARITHMETIC),
            Expected("simple-rnn: accuracy on new numbers", 0.6, 1, "seed 0, three backends", _TRAIN_LONGER),
            Expected(
                "lstm: accuracy on new numbers", 0.45, 1, "seed 0, three backends", _TRAIN_LONGER, "quick"
            ),
            Expected("lstm: accuracy on new numbers", 0.7, 1, "seed 0", _TRAIN_LONGER, "full"),
            Expected("gru: accuracy on new numbers", 0.7, 1, "seed 0", _TRAIN_LONGER, "full"),
            *_each(
                Expected("same text from both", 1, 1, "the same function", _ROUNDING),
                Expected(
                    "sliding window: times the predict loop",
                    2,
                    _NO_LIMIT,
                    "TensorFlow: 30 and more; JAX: 4 to 6",
                    _BUSY,
                ),
                Expected(
                    "carried state: times the predict loop",
                    50,
                    _NO_LIMIT,
                    "TensorFlow: 1,000 and more; JAX: 240",
                    _BUSY,
                ),
                data=(ANY,),
            ),
        ),
    ),
    Lesson(
        name="word-vectors",
        title="Word vectors: king - man + woman",
        about="From character codes and one-hot to GloVe, trained on counts whose meanings are planted.",
        data=_COUNTS,
        quick_seconds=10,
        full_seconds=12,
        other_data=(
            ("real", f"{_COUNTS}; then the real vectors glove.6B"),
            *((name, f"{_COUNTS}; then the real vectors {name}") for name in _GLOVE),
            (CORPUS, f"{_COUNTS}; then your vectors"),
        ),
        unknown=tuple(
            (
                data,
                "All that is promised is of the synthetic counts; nothing is promised of the vectors of others.",
            )
            for data in ("real", *_GLOVE, CORPUS)
        ),
        expected=(
            *_each(
                Expected("one-hot: different distances between words", 1, 1, "geometry", _ARITHMETIC),
                Expected("embedding minus one-hot x matrix", 0, 1e-6, "the same numbers", _ARITHMETIC),
                Expected("questions", 720, 720, "counted", _ARITHMETIC),
                Expected("without a network (PPMI and SVD)", 0.9, 1, "seeds 0 to 4", _ARITHMETIC),
                Expected("without a network, nearest to B", 0.48, 0.52, "seeds 0 to 4", _ARITHMETIC),
                Expected("GloVe: analogies right", 0.9, 1, "seeds 0 to 2, three backends", _TRAIN_LONGER),
                Expected("GloVe: nearest to B", 0.3, 0.55, "seeds 0 to 2, three backends", _TRAIN_LONGER),
                Expected("king - man + woman is queen", 1, 1, "seeds 0 to 2", _TRAIN_LONGER),
                Expected(
                    "words: gender and number in the first two components (R2)",
                    0.9,
                    1,
                    "seeds 0 to 2, three backends",
                    _TRAIN_LONGER,
                ),
                data=(ANY,),
            ),
        ),
    ),
    Lesson(
        name="text-classification",
        title="Text classification: who can read, who only counts",
        about="Bag of words, CNN, LSTM, GRU, CNN/LSTM, attention on reviews whose best score is known.",
        data="synthetic film reviews, made here by a grammar; 5% of the labels are flipped",
        quick_seconds=30,
        full_seconds=150,
        models=(
            "bag-of-words",
            "average",
            "cnn",
            "lstm",
            "gru",
            "deep-lstm",
            "bidirectional",
            "cnn-lstm",
            "attention",
        ),
        quick_models=("bag-of-words", "average", "cnn", "lstm", "cnn-lstm"),
        other_data=(
            ("real", "50,000 real film reviews (Maas and others, 2011)"),
            (CORPUS, "your reviews"),
        ),
        unknown=(
            (
                "real",
                "No score is promised for a quick run: it learns from 4,000 of the 25,000 training reviews.",
            ),
            (CORPUS, _NOBODY_KNOWS),
        ),
        more_pages=("text_classification_imdb",),
        predicts=True,
        expected=(
            *(
                Expected(
                    f"{name}: accuracy - ceiling",
                    -luck,
                    luck,
                    f"ceiling proved, +-{luck:.0%} luck",
                    _CEILING,
                    mode,
                )
                for name in ("bag-of-words", "average", "cnn")
                for mode, luck in _LUCK
            ),
            Expected("lstm: accuracy - ceiling", -0.01, 0.001, "ceiling proved", _CEILING),
            Expected("gru: accuracy - ceiling", -0.01, 0.001, "ceiling proved", _CEILING),
            Expected("deep-lstm: accuracy - ceiling", -0.01, 0.001, "ceiling proved", _CEILING),
            Expected("bidirectional: accuracy - ceiling", -0.01, 0.001, "ceiling proved", _CEILING),
            Expected("cnn-lstm: accuracy - ceiling", -0.01, 0.001, "ceiling proved", _CEILING),
            Expected("attention: accuracy - ceiling", -0.01, 0.001, "ceiling proved", _CEILING),
            *_each(
                Expected("lstm padded after, no mask: accuracy", 0.4, 0.75, "near chance", _CEILING),
                Expected(
                    "lstm padded after, masked: accuracy", 0.88, 0.97, "nearly as padded before", _CEILING
                ),
                Expected("masked: change from 86 more blanks", 0, 1e-5, "a mask skips them", _ARITHMETIC),
                model="lstm",
            ),
            *(
                Expected(f"real: {name}: accuracy", low, high, why, _REAL, "full", data=("real",))
                for name, low, high, why in (
                    ("bag-of-words", 0.84, 0.9, "published: 0.888 (20,000 words, all of a review)"),
                    ("average", 0.86, 0.9, "published: 0.881 (fastText), 0.888 (bag of 20,000 words)"),
                    ("cnn", 0.85, 0.9, "published: 0.864 to 0.89"),
                    ("lstm", 0.8, 0.89, "published: 0.811 to 0.865"),
                    ("gru", 0.8, 0.89, "published: 0.855 to 0.870, with a mask"),
                    ("deep-lstm", 0.8, 0.89, "published: 0.811 to 0.843"),
                    ("bidirectional", 0.8, 0.89, "published: 0.815 to 0.877"),
                    ("cnn-lstm", 0.83, 0.89, "published: 0.850"),
                    ("attention", 0.82, 0.89, "none published: as the LSTMs below it"),
                )
            ),
        ),
    ),
    Lesson(
        name="seq2seq",
        title="Sequence to sequence: learning to add",
        about="A model reads 12+345 and writes 357: one vector for it all, then a decoder that looks back.",
        data="synthetic: sums of two numbers of up to three digits, made here",
        quick_seconds=45,
        full_seconds=300,
        models=("repeat", "not-reversed", "attention"),
        predicts=True,
        expected=(
            Expected("leaked", 0.0, 0.0, "no sum is drawn twice in either order", "The data set is broken."),
            Expected("repeat: sums right", 0.5, 1.0, "seeds 0 to 2", _TRAIN_LONGER, "quick"),
            Expected("attention: sums right", 0.85, 1.0, "seeds 0 to 2", _TRAIN_LONGER, "quick"),
            Expected("repeat: sums right", 0.95, 1.0, "seed 0", _TRAIN_LONGER, "full"),
            Expected("attention: sums right", 0.97, 1.0, "seed 0", _TRAIN_LONGER, "full"),
        ),
    ),
    Lesson(
        name="attention",
        title="Attention, and on to transformers",
        about="Additive and dot-product attention and a small transformer beside the CNN/LSTM, equal in size.",
        data="synthetic film reviews, made here by a grammar; 5% of the labels are flipped",
        quick_seconds=45,
        full_seconds=150,
        models=("cnn-lstm", "additive", "dot-product", "transformer", "no-places"),
        predicts=True,
        expected=(
            Expected("MultiHeadAttention, largest difference", 0, 1e-6, "float32 rounding", _ARITHMETIC),
            Expected("words shuffled, largest difference", 0, 1e-6, "float32 rounding", _ARITHMETIC),
            Expected("cnn-lstm: accuracy - ceiling", -0.01, 0.001, "ceiling proved", _CEILING),
            Expected("additive: accuracy - ceiling", -0.01, 0.001, "ceiling proved", _CEILING),
            Expected("dot-product: accuracy - ceiling", -0.01, 0.001, "ceiling proved", _CEILING),
            Expected("transformer: accuracy - ceiling", -0.01, 0.001, "ceiling proved", _CEILING),
            Expected("no-places: accuracy - ceiling", -0.03, 0.02, "ceiling proved, +-1.5% luck", _CEILING),
        ),
    ),
)


class UnknownLessonError(ValueError):
    """No lesson of that name; the message is one sentence naming those that exist."""


def find(name: str) -> Lesson:
    """The lesson called ``name``; raises UnknownLessonError."""
    for lesson in LESSONS:
        if lesson.name == name:
            return lesson
    close = difflib.get_close_matches(name, [lesson.name for lesson in LESSONS], 1, 0.5)
    hint = f" (did you mean {close[0]}?)" if close else ""
    names = ", ".join(lesson.name for lesson in LESSONS)
    raise UnknownLessonError(f"There is no lesson {name!r}{hint}: there are {names}.")
