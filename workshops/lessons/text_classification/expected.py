"""The lesson `text-classification`: description, data, models and the values to expect."""

from __future__ import annotations

from workshops.player.expected import (
    ARITHMETIC,
    CEILING,
    CORPUS,
    SCORE_UNKNOWN,
    Expected,
    Lesson,
    Mode,
    SavedModelShape,
    vary,
)

_REAL = "Published figures scatter by 0.03 with settings and seeds: try another --seed or more --epochs."
_LUCK: tuple[tuple[Mode, float], ...] = (("quick", 0.02), ("full", 0.01))
"""How far a model that must guess comes from its ceiling: 4,000 reviews judge a quick run, 20,000 a full one."""

LESSON = Lesson(
    package=__package__,
    order=60,
    title="Text classification: who can read, who only counts",
    about="Bag of words, CNN, LSTM, GRU, CNN/LSTM, attention on reviews whose best score is known.",
    data="synthetic film reviews, made here by a grammar; 5% of the labels are flipped",
    quick_seconds=30,
    full_seconds=150,
    pages=("page", "imdb"),
    models=(
        "bag-of-words",
        "average",
        "cnn",
        "lstm",
        "gru",
        "deep-lstm",
        "bidirectional",
        "cnn-lstm",
        "attention",
    ),
    quick_models=("bag-of-words", "average", "cnn", "lstm", "cnn-lstm"),
    other_data=(
        ("real", "50,000 real film reviews (Maas and others, 2011)"),
        (CORPUS, "your reviews"),
    ),
    without_ranges=(
        (
            "real",
            "No score is promised for a quick run: it learns from 4,000 of the 25,000 training reviews.",
        ),
        (CORPUS, SCORE_UNKNOWN),
    ),
    saved_models=(
        SavedModelShape(((34,),), (1,)),
        SavedModelShape(((300,),), (1,), name_prefix="imdb_", layer="words"),
    ),
    workloads=(
        *((name, name) for name in ("lstm", "gru", "deep-lstm", "cnn", "cnn-lstm", "attention")),
        ("bidirectional", "bilstm"),
    ),
    expected=(
        *(
            Expected(
                f"{name}: accuracy - ceiling",
                -luck,
                luck,
                f"ceiling proved, +-{luck:.0%} luck",
                CEILING,
                mode,
            )
            for name in ("bag-of-words", "average", "cnn")
            for mode, luck in _LUCK
        ),
        Expected("lstm: accuracy - ceiling", -0.01, 0.001, "ceiling proved", CEILING),
        Expected("gru: accuracy - ceiling", -0.01, 0.001, "ceiling proved", CEILING),
        Expected("deep-lstm: accuracy - ceiling", -0.01, 0.001, "ceiling proved", CEILING),
        Expected("bidirectional: accuracy - ceiling", -0.01, 0.001, "ceiling proved", CEILING),
        Expected("cnn-lstm: accuracy - ceiling", -0.01, 0.001, "ceiling proved", CEILING),
        Expected("attention: accuracy - ceiling", -0.01, 0.001, "ceiling proved", CEILING),
        *vary(
            Expected("lstm padded after, no mask: accuracy", 0.4, 0.75, "near chance", CEILING),
            Expected("lstm padded after, masked: accuracy", 0.88, 0.97, "nearly as padded before", CEILING),
            Expected("masked: change from 86 more blanks", 0, 1e-5, "a mask skips them", ARITHMETIC),
            model="lstm",
        ),
        *(
            Expected(f"real: {name}: accuracy", low, high, why, _REAL, "full", data=("real",))
            for name, low, high, why in (
                ("bag-of-words", 0.84, 0.9, "published: 0.888 (20,000 words, all of a review)"),
                ("average", 0.86, 0.9, "published: 0.881 (fastText), 0.888 (bag of 20,000 words)"),
                ("cnn", 0.85, 0.9, "published: 0.864 to 0.89"),
                ("lstm", 0.8, 0.89, "published: 0.811 to 0.865"),
                ("gru", 0.8, 0.89, "published: 0.855 to 0.870, with a mask"),
                ("deep-lstm", 0.8, 0.89, "published: 0.811 to 0.843"),
                ("bidirectional", 0.8, 0.89, "published: 0.815 to 0.877"),
                ("cnn-lstm", 0.83, 0.89, "published: 0.850"),
                ("attention", 0.82, 0.89, "none published: as the LSTMs below it"),
            )
        ),
    ),
)
