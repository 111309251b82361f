"""The lesson `word-vectors`: description, data, models and the values to expect."""

from __future__ import annotations

from workshops.data.fetch import glove_sets
from workshops.player.expected import ANY, ARITHMETIC, CORPUS, TRAIN_LONGER, Expected, Lesson, vary

_COUNTS = "generated counts of 40 words with 124 contexts, from a known distribution"


LESSON = Lesson(
    package=__package__,
    order=50,
    title="Word vectors: king - man + woman",
    about="From character codes and one-hot to GloVe, trained on counts with known meanings.",
    data=_COUNTS,
    quick_seconds=10,
    full_seconds=12,
    other_data=(
        ("real", f"{_COUNTS}; then the real vectors {glove_sets.REAL}"),
        *((name, f"{_COUNTS}; then the real vectors {name}") for name in glove_sets.PUBLISHED),
        (CORPUS, f"{_COUNTS}; then your vectors"),
    ),
    without_ranges=tuple(
        (
            data,
            "The expected values are for the generated counts; none are given for other vectors.",
        )
        for data in ("real", *glove_sets.PUBLISHED, CORPUS)
    ),
    unavailable=tuple(
        (
            name,
            f"No SHA-256 of {name} is published, so dlbox cannot verify it: download {address} yourself and pass it "
            "with --corpus.",
        )
        for name, address in glove_sets.UNCHECKED.items()
    ),
    expected=(
        *vary(
            Expected("one-hot: different distances between words", 1, 1, "geometry", ARITHMETIC),
            Expected("embedding minus one-hot x matrix", 0, 1e-6, "the same numbers", ARITHMETIC),
            Expected("questions", 720, 720, "counted", ARITHMETIC),
            Expected("without a network (PPMI and SVD)", 0.9, 1, "seeds 0 to 4", ARITHMETIC),
            Expected("without a network, nearest to B", 0.48, 0.52, "seeds 0 to 4", ARITHMETIC),
            Expected("GloVe: analogies right", 0.9, 1, "seeds 0 to 2, three backends", TRAIN_LONGER),
            Expected("GloVe: nearest to B", 0.3, 0.55, "seeds 0 to 2, three backends", TRAIN_LONGER),
            Expected("king - man + woman is queen", 1, 1, "seeds 0 to 2", TRAIN_LONGER),
            Expected(
                "words: gender and number in the first two components (R2)",
                0.9,
                1,
                "seeds 0 to 2, three backends",
                TRAIN_LONGER,
            ),
            data=(ANY,),
        ),
    ),
)
