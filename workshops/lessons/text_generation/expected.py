"""The lesson `text-generation`: description, data, models and the values to expect."""

from __future__ import annotations

from workshops.player.expected import (
    ANY,
    ARITHMETIC,
    CORPUS,
    TRAIN_LONGER,
    Expected,
    Lesson,
    SavedModelShape,
    vary,
)

_ROUNDING = "Two symbols can be almost equally likely; then rounding decides and the texts differ. Try another --seed."
_BUSY = "Speeds are valid only on an idle machine: stop other programs and run the lesson again."
_NO_LIMIT = float("inf")

LESSON = Lesson(
    package=__package__,
    order=40,
    title="Text generation: predict the next word, append it, continue",
    about="SimpleRNN, LSTM and GRU write numbers in words, or your text character by character, beside count tables.",
    data="generated: the numbers 1 to 9,999 in words; the best possible score is known",
    quick_seconds=45,
    full_seconds=200,
    cells=("simple-rnn", "lstm", "gru"),
    other_data=(
        ("docs", "real text, character by character: the documentation of the Python on this machine"),
        ("source", "real text, character by character: the source of the Python on this machine"),
        (CORPUS, "your text, character by character"),
    ),
    without_ranges=tuple(
        (
            data,
            "Each network is compared with tables of counts of this text, which the lesson computes first.",
        )
        for data in ("docs", "source", CORPUS)
    ),
    saved_models=(SavedModelShape(((None,),), (None, None)),),
    workloads=(("lstm", "lstm-text-gen"), ("gru", "gru-text-gen")),
    expected=(
        Expected("tokens", 63_098, 63_098, "counted", ARITHMETIC),
        Expected("ceiling, 2 words", 0.472, 0.473, "counted", ARITHMETIC),
        Expected("ceiling, 3 words", 0.474, 0.475, "counted", ARITHMETIC),
        Expected("ceiling, 6 words", 0.640, 0.641, "counted", ARITHMETIC),
        Expected("ceiling, 7 words", 1, 1, "counted", ARITHMETIC),
        Expected("best table on new numbers", 0.305, 0.307, "counted", ARITHMETIC),
        Expected("simple-rnn: accuracy on new numbers", 0.6, 1, "seed 0, three backends", TRAIN_LONGER),
        Expected("lstm: accuracy on new numbers", 0.45, 1, "seed 0, three backends", TRAIN_LONGER, "quick"),
        Expected("lstm: accuracy on new numbers", 0.7, 1, "seed 0", TRAIN_LONGER, "full"),
        Expected("gru: accuracy on new numbers", 0.7, 1, "seed 0", TRAIN_LONGER, "full"),
        *vary(
            Expected("same text from both", 1, 1, "the same function", _ROUNDING),
            Expected(
                "sliding window: times the predict loop",
                2,
                _NO_LIMIT,
                "TensorFlow: 30 and more; JAX: 4 to 6",
                _BUSY,
            ),
            Expected(
                "carried state: times the predict loop",
                50,
                _NO_LIMIT,
                "TensorFlow: 1,000 and more; JAX: 240",
                _BUSY,
            ),
            data=(ANY,),
        ),
    ),
)
