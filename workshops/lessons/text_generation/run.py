"""Run the lesson `text-generation`; predict with its saved models."""

from __future__ import annotations

from typing import Any

import numpy as np

from workshops.data import human_numbers
from workshops.lessons.text_generation import characters
from workshops.lessons.text_generation.page import (
    CELLS,
    WINDOW,
    known_ceilings,
    learn_characters,
    learn_numbers,
    load_text,
    race,
    write,
)
from workshops.models import sampling
from workshops.player.outcome import LessonError
from workshops.player.page import LessonPage, LessonResult


def run(page: LessonPage) -> LessonResult:
    """Train on the numbers in words, or with ``data`` or ``corpus`` on a text, character by character. Use all cells or
    only ``page.options.cell``."""
    options = page.options
    cells = page.choose(options.cell, list(CELLS), "cell")
    if options.quick and len(cells) > 1:
        cells = ["simple-rnn", "lstm"]
    text = load_text(options) if options.corpus or options.data != "embedded" else None
    page.announce()
    if text is None:
        known_ceilings(page)
        start: Any = human_numbers.stream()[-WINDOW:]
        model = learn_numbers(page, cells)
        write(page, model, start, human_numbers.decode)
    else:
        cells = cells if options.cell else ["lstm"]
        model, start = learn_characters(page, cells, text), text.ids[-WINDOW:]
        write(page, model, start, text.decode, 200, "")
    race(page, model, start)
    return page.close()


def predict(model: Any, text: str) -> str:
    """A continuation of the text at a low temperature: words such as "one hundred twenty", or characters.

    Raises LessonError.
    """
    model, symbols = characters.unwrap(model)
    if symbols:
        return characters.continue_text(model, symbols, text)
    if model.output_shape[-1] != len(human_numbers.WORDS):
        raise LessonError(
            "The model file does not contain its characters: train the model again with --save."
        )
    try:
        start = human_numbers.encode(text.lower().split() or ["."])
    except KeyError as error:
        raise LessonError(
            f"The model does not know the word {error.args[0]!r}: use numbers in words, and '.'."
        ) from None
    more = np.concatenate(list(sampling.write(model, start, 20, temperature=0.3, seed=0, carry=True)))
    return human_numbers.decode(more)
