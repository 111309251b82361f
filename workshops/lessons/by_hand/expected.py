"""The lesson `by-hand`: description, data, models and the values to expect."""

from __future__ import annotations

from workshops.player.expected import ARITHMETIC, Expected, Lesson

LESSON = Lesson(
    package=__package__,
    order=30,
    title="Inside the cells: every number computed by hand",
    about="What SimpleRNN, LSTM, GRU, Conv1D and max pooling compute, in NumPy and in Keras.",
    data="none; the numbers of the class's slides",
    quick_seconds=10,
    full_seconds=10,
    pages=("rnn", "lstm", "gru", "text"),
    cells=("simple-rnn", "lstm", "gru", "conv"),
    expected=tuple(
        Expected(f"{name}, largest difference", 0.0, 1e-6, "float32 rounding", ARITHMETIC, model=cell)
        for cell, name in (
            ("simple-rnn", "a state of two numbers"),
            ("simple-rnn", "SimpleRNN"),
            ("lstm", "LSTM table"),
            ("lstm", "LSTM"),
            ("lstm", "hard sigmoid"),
            ("lstm", "LSTM, hard sigmoid of Keras 3"),
            ("lstm", "LSTM, hard sigmoid of Keras 2"),
            ("gru", "GRU as on the slide, one step"),
            ("gru", "GRU of Keras, one step"),
            ("gru", "GRU"),
            ("gru", "GRU as on the slide"),
            ("conv", "convolution"),
            ("conv", "pooling"),
            ("conv", "one-hot"),
        )
    ),
)
