"""Run the lesson `attention`; predict with its saved models."""

from __future__ import annotations

from typing import Any

from workshops.lessons.attention.page import READERS, by_hand, side_by_side
from workshops.lessons.text_classification.run import predict_generated
from workshops.player.page import LessonPage, LessonResult


def run(page: LessonPage) -> LessonResult:
    """Run the part worked by hand, then train all models, or only ``page.options.model``."""
    names = page.choose(page.options.model, list(READERS))
    page.announce()
    by_hand(page)
    side_by_side(page, names)
    return page.close()


def predict(model: Any, text: str) -> str:
    """Class and probability of a review in the words of the grammar. Raises LessonError."""
    return predict_generated(model, text)
