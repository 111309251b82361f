"""Run the lesson `text-classification`; predict with its saved models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from workshops.data import imdb
from workshops.data import sentiment_grammar as grammar
from workshops.lessons.text_classification.imdb import LAST, real_models, real_reviews
from workshops.lessons.text_classification.page import LENGTH, MODELS, generated_models, padding
from workshops.player.outcome import LessonError
from workshops.player.page import LessonPage, LessonResult


def run(page: LessonPage) -> LessonResult:
    """Train some of the models (quick run), all of them (full run), or only ``page.options.model``. The reviews are
    generated or, with ``data`` or ``corpus``, real."""
    options = page.options
    if options.corpus:
        page.options = replace(options, data="real")
    usual = page.lesson.quick_models if options.quick and not options.model else MODELS
    names = page.choose(options.model, list(usual))
    page.announce()
    if page.options.data == "real":
        real_models(page, real_reviews(page), names)
        return page.close()
    models = generated_models(page, names)
    if "lstm" in models:
        padding(page, models["lstm"])
    return page.close()


def predict(model: Any, text: str) -> str:
    """Class and probability of a review; any English words if the model was trained on real reviews.

    Raises LessonError.
    """
    return predict_real(model, text) if model.name.startswith("imdb_") else predict_generated(model, text)


def predict_generated(model: Any, text: str) -> str:
    """Class and probability of a review in the words of the grammar. Raises LessonError if it has none of them."""
    tokens = grammar.encode(text, LENGTH)
    unknown = [word for word in text.lower().split() if word not in grammar.WORDS]
    if not text.strip() or len(unknown) == len(text.split()):
        raise LessonError(f"The model knows no word of {text!r}: try 'the plot was superb'.")
    p = float(model.predict(tokens[None], verbose=0)[0, 0])
    note = f" (unknown words: {', '.join(unknown)})" if unknown else ""
    return f"{_label(p)}{note}"


def predict_real(model: Any, text: str) -> str:
    """Class and probability of a review in any English words. Raises LessonError if the model knows none of them."""
    numbers = {word: i for i, word in enumerate(model.get_layer("words").words) if i > imdb.UNKNOWN}
    read = imdb.words_of(text)
    if not any(word in numbers for word in read):
        raise LessonError(f"The model knows no word of {text!r}: try a review in English.")
    return _label(float(model.predict(imdb.encode(read, numbers, LAST)[None], verbose=0)[0, 0]))


def _label(p: float) -> str:
    return f"{'positive' if p > 0.5 else 'negative'} {max(p, 1 - p):.0%}"
