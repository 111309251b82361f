"""Run the lesson `seq2seq`; predict with its saved models."""

from __future__ import annotations

from typing import Any

import numpy as np

from workshops.data import addition
from workshops.lessons.seq2seq.page import AS_ASKED, ASK, DIGITS, attention, compare, look, repeat, write
from workshops.player.outcome import LessonError
from workshops.player.page import LessonPage, LessonResult


def run(page: LessonPage) -> LessonResult:
    """Train the two main models, in a full run also the one with unreversed questions; or only
    ``page.options.model``."""
    options = page.options
    chosen = page.choose(options.model, page.lesson.models)
    page.announce()
    look(page)
    histories = {}
    for name in chosen:
        if name == "attention":
            histories[name] = attention(page)
        elif name == "repeat" or options.model == name or not options.quick:
            histories[name] = repeat(page, reverse=name == "repeat")
    compare(page, histories)
    return page.close()


def predict(model: Any, text: str) -> str:
    """The sum that the model writes for a question such as "12+345". Raises LessonError."""
    asked = text.replace(" ", "")
    parts = asked.split("+")
    if len(parts) != 2 or not all(p.isascii() and p.isdigit() and len(p) <= DIGITS for p in parts):
        raise LessonError(f"{text!r} is not a sum of two numbers of up to {DIGITS} digits, such as 12+345.")
    asked = asked.ljust(ASK) if model.name == AS_ASKED else asked.ljust(ASK)[::-1]
    ids = np.array([[addition.SYMBOLS.index(symbol) for symbol in asked]], np.int32)
    if len(model.inputs) == 2:
        return addition.text(write(model, ids)[0]).strip()
    return addition.text(model.predict(addition.one_hot(ids), verbose=0)[0].argmax(-1)).strip()
