"""Run the lesson `time-series`."""

from __future__ import annotations

from workshops.lessons.time_series.page import (
    airline_networks,
    known_floor,
    rules_of_thumb,
    sine,
    windows_table,
)
from workshops.player.outcome import LessonError
from workshops.player.page import LessonPage, LessonResult


def run(page: LessonPage) -> LessonResult:
    """Train all models on all three series, or only one model (``model`` or ``cell``), or on one series
    (``data``)."""
    options = page.options
    if options.model and options.cell and options.model != options.cell:
        raise LessonError(
            f"In this lesson --cell is another name for --model: choose {options.model} or {options.cell}, not both."
        )
    if options.only:
        kinds = page.choose(options.only, ["perceptron", "simple-rnn", "lstm", "gru"])
    else:
        kinds = ["perceptron", "simple-rnn", "lstm"]
    page.announce()
    if options.data in ("embedded", "airline"):
        windows_table(page)
        rules_of_thumb(page)
        airline_networks(page, kinds)
    if options.data in ("embedded", "noise"):
        known_floor(page, kinds)
    if options.data in ("embedded", "sine"):
        sine(page, kinds)
    return page.close()
