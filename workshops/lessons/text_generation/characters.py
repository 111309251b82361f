"""Character models that store their characters, so that a saved model can continue a text."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from workshops.data.text import UNKNOWN
from workshops.models import sampling
from workshops.player.outcome import LessonError


@keras.saving.register_keras_serializable("dlbox")
class Symbols(keras.layers.Layer):  # type: ignore[misc]
    """Returns its input and stores the characters of the ids."""

    def __init__(self, symbols: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.symbols = symbols

    def call(self, ids: Any) -> Any:
        return ids

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "symbols": self.symbols}


def with_symbols(model: Any, symbols: str) -> Any:
    """A model with the same output for ids (batch, time) as ``model`` that stores the characters of the ids."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    return keras.Model(ids, model(Symbols(symbols, name="symbols")(ids)), name=model.name)


def unwrap(model: Any) -> tuple[Any, str]:
    """(the inner model, its characters); the characters are "" for a model without them."""
    found = [each for each in model.layers if isinstance(each, Symbols)]
    return (model.layers[-1], found[0].symbols) if found else (model, "")


def continue_text(model: Any, symbols: str, text: str, count: int = 200) -> str:
    """The next ``count`` characters after ``text``, at a low temperature.

    Raises LessonError if the model knows no character of it.
    """
    other = symbols.find(UNKNOWN)
    ids = [symbols.find(c) if c in symbols else other for c in text]
    start = np.array([i for i in ids if i >= 0], np.int64)
    if not set(text) & set(symbols):
        raise LessonError(f"The model knows no character of {text!r}: give it the beginning of a text.")
    more = np.concatenate(list(sampling.write(model, start, count, temperature=0.5, seed=0, carry=True)))
    return "".join(symbols[i] for i in more)
