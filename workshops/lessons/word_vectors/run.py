"""Run the lesson `word-vectors`."""

from __future__ import annotations

from workshops.lessons.word_vectors.page import (
    encodings,
    king_and_queen,
    planted,
    published,
    read_vectors,
    train_glove,
    vectors_file,
)
from workshops.player.page import LessonPage, LessonResult


def run(page: LessonPage) -> LessonResult:
    """Run the whole lesson. With ``corpus`` or ``data`` also answer the analogies with the vectors of that file."""
    page.announce()
    path = vectors_file(page, page.options)
    answers = read_vectors(page, path) if path else None  # reports a damaged file before the training
    encodings(page)
    corpus = planted(page)
    king_and_queen(page, train_glove(page, corpus))
    if answers:
        published(page, answers)
    return page.close()
