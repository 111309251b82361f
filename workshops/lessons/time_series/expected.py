"""The lesson `time-series`: description, data, models and the values to expect."""

from __future__ import annotations

from workshops.player.expected import ARITHMETIC, TRAIN_LONGER, Expected, Lesson, vary

_SMALL_SERIES = (
    "With only 87 windows the error differs by several thousand passengers between seeds; compare it "
    "with 41.7 (persistence)."
)

LESSON = Lesson(
    package=__package__,
    order=20,
    title="Time series: networks compared with simple forecasts",
    about="Perceptron, SimpleRNN and LSTM on airline passengers, compared with simple rules and a known minimum.",
    data="real airline passengers 1949 to 1960, embedded, and two generated series: noise and a sine",
    quick_seconds=45,
    full_seconds=90,
    models=("perceptron", "simple-rnn", "lstm", "gru"),
    cells=("simple-rnn", "lstm", "gru"),
    other_data=(
        ("airline", "real airline passengers 1949 to 1960, embedded"),
        ("noise", "a generated series with a known noise"),
        ("sine", "a generated sine"),
    ),
    expected=(
        *vary(
            Expected("windows of 10 in 13 points", 3, 3, "counted on the slide", ARITHMETIC),
            Expected("months both trained on and tested on", 1, 1, "counted", ARITHMETIC),
            Expected("test months above all training months", 0.47, 0.48, "21 of 44", ARITHMETIC),
            Expected("persistence: MAE", 41.72, 41.74, "computed, no training", ARITHMETIC),
            Expected("a year ago: MAE", 37.40, 37.42, "computed, no training", ARITHMETIC),
            Expected("a year ago x growth: MAE", 11.78, 11.80, "computed, no training", ARITHMETIC),
            Expected("AR(4): MAE", 38.31, 38.33, "computed, no training", ARITHMETIC),
            Expected("AR(12): MAE", 15.71, 15.73, "computed, no training", ARITHMETIC),
            Expected("AR(13): MAE", 10.74, 10.76, "computed, no training", ARITHMETIC),
            Expected("AR(20): MAE", 10.81, 10.83, "computed, no training", ARITHMETIC),
            Expected("perceptron: MAE", 10.5, 16, "seeds 0 to 2, three backends", _SMALL_SERIES),
            Expected("simple-rnn: MAE", 12, 27, "seeds 0 to 2, three backends", _SMALL_SERIES),
            Expected("lstm: MAE", 12, 32, "seeds 0 to 2, three backends", _SMALL_SERIES),
            data=("embedded", "airline"),
        ),
        *vary(
            Expected(
                "noise: AR(12) / floor",
                0.98,
                1.03,
                "1 is the error of the best possible forecast",
                ARITHMETIC,
            ),
            Expected(
                "noise: perceptron / floor",
                0.98,
                1.2,
                "1 is the error of the best possible forecast",
                TRAIN_LONGER,
            ),
            Expected(
                "noise: simple-rnn / floor",
                0.98,
                1.15,
                "1 is the error of the best possible forecast; seeds 0 to 2",
                TRAIN_LONGER,
            ),
            Expected(
                "noise: lstm / floor",
                0.98,
                1.15,
                "1 is the error of the best possible forecast; seeds 0 to 2",
                TRAIN_LONGER,
            ),
            data=("embedded", "noise"),
        ),
        *vary(
            Expected("sine: AR(2), 300 steps ahead, MAE", 0, 1e-9, "exact except for rounding", ARITHMETIC),
            Expected("sine: simple-rnn, one step, MAE", 0, 0.04, "seeds 0 to 2", TRAIN_LONGER),
            Expected("sine: lstm, one step, MAE", 0, 0.06, "seeds 0 to 2", TRAIN_LONGER),
            data=("embedded", "sine"),
        ),
    ),
)
