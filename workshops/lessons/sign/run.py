"""Run the lesson `sign`."""

from __future__ import annotations

from dataclasses import replace

from workshops.lessons.sign.networks import networks, overfitting
from workshops.lessons.sign.page import activations, convolution, look, mistakes, signs
from workshops.player.page import LessonPage, LessonResult


def run(page: LessonPage) -> LessonResult:
    """Run the whole lesson, or train only the network ``page.options.model``. A corpus is a folder with files of
    Sign Language MNIST."""
    options = page.options
    if options.corpus:
        page.options = replace(options, data="real")
    kinds = page.choose(options.model, page.lesson.models)
    parts = signs(page)
    page.announce()
    look(page, parts)
    if options.model is None:
        activations(page)
        mistakes(page, parts)
        convolution(page)
        overfitting(page, parts)
    networks(page, parts, kinds)
    return page.close()
