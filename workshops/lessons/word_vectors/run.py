"""Run the lesson `word-vectors`."""

from __future__ import annotations

from workshops.lessons.word_vectors.page import (
    encodings,
    king_and_queen,
    planted,
    published,
    train_glove,
    vectors_file,
)
from workshops.player.page import LessonPage, LessonResult


def run(page: LessonPage) -> LessonResult:
    """The whole lesson; with ``corpus`` or ``data`` also the analogies with those vectors."""
    page.announce()
    path = vectors_file(page, page.options)
    encodings(page)
    corpus = planted(page)
    king_and_queen(page, train_glove(page, corpus))
    if path:
        published(page, path)
    return page.close()
