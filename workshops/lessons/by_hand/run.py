"""Run the lesson `by-hand`."""

from __future__ import annotations

from collections.abc import Callable

from workshops.lessons.by_hand.gru import gru_cell, weights_of_each
from workshops.lessons.by_hand.lstm import forgetting, hard_sigmoid, lstm_cell
from workshops.lessons.by_hand.rnn import recurrent_neuron, state_of_two
from workshops.lessons.by_hand.text import convolution, pooling, words_and_windows
from workshops.player.page import LessonPage, LessonResult


def run(page: LessonPage) -> LessonResult:
    """Run the whole lesson, or only the part about ``page.options.cell``."""
    parts: dict[str, tuple[Callable[[LessonPage], None], ...]] = {
        "simple-rnn": (recurrent_neuron, state_of_two, forgetting),
        "lstm": (lstm_cell, hard_sigmoid, forgetting),
        "gru": (gru_cell, weights_of_each),
        "conv": (convolution, pooling, words_and_windows),
    }
    cells = page.choose(page.options.cell, list(parts), "cell")
    page.announce()
    chosen = [part for cell in cells for part in parts[cell]]
    for part in reversed(
        dict.fromkeys(reversed(chosen))
    ):  # each part once, after the parts that it refers to
        part(page)
    return page.close()
