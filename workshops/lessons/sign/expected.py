"""The lesson `sign`: description, data, models and the values to expect."""

from __future__ import annotations

from workshops.player.expected import ARITHMETIC, CORPUS, SCORE_UNKNOWN, TRAIN_LONGER, Expected, Lesson, vary

_MEMORISED = "How much is memorised depends on the seed and the number of epochs: try another --seed."

LESSON = Lesson(
    package=__package__,
    order=10,
    title="Sign language: from a perceptron to a convolutional network",
    about="Perceptron, two layers, dropout and convolution on pictures of hands; wrong losses, scores due to chance.",
    data="generated pictures of hand signs, 24 letters; 5% of the labels are wrong, so the best score is 0.95",
    quick_seconds=40,
    full_seconds=150,
    pages=("page", "networks"),
    models=("perceptron", "mlp", "dropout", "cnn"),
    other_data=(
        ("real", "real photographs, Sign Language MNIST, 24 letters"),
        (CORPUS, "your files in the format of Sign Language MNIST"),
    ),
    without_ranges=(
        (
            "real",
            "No score is expected on photographs. Published scores for the test file: about 0.7 for a two-layer "
            "network and 0.9 for a convolutional one.",
        ),
        (CORPUS, SCORE_UNKNOWN),
    ),
    workloads=(("cnn", "sign-cnn"),),
    expected=(
        Expected("ceiling", 0.95, 0.95, "exactly one label in twenty is wrong", ARITHMETIC),
        *vary(
            Expected("activations, largest difference", 0, 1e-6, "float32 rounding", ARITHMETIC),
            Expected("two linear layers, difference from one", 0, 1e-12, "algebra", ARITHMETIC),
            Expected("convolution, largest difference", 0, 1e-6, "float32 rounding", ARITHMETIC),
            Expected("pooling, largest difference", 0, 1e-6, "float32 rounding", ARITHMETIC),
            data=("embedded", "real", CORPUS),
            whole=True,
        ),
        *vary(
            Expected("cross-entropy, pixels 0 to 1", 0.48, 0.72, "0.54 to 0.56, seeds 0 to 2", TRAIN_LONGER),
            Expected(
                "cross-entropy, pixels 0 to 255",
                0.02,
                0.6,
                "0.04 or 0.49, depending on the backend",
                TRAIN_LONGER,
            ),
            Expected("mae, pixels 0 to 1", 0.08, 0.45, "0.16 to 0.26, seeds 0 to 2", TRAIN_LONGER),
            Expected("mae, pixels 0 to 255", 0.02, 0.07, "a random guess scores 0.042", TRAIN_LONGER),
            Expected("share of the dead output J", 0, 1e-3, "below 4e-5 measured", TRAIN_LONGER),
            Expected(
                "mlp on few: wrong labels memorised", 0.6, 1, "0.86 to 0.94, three backends", _MEMORISED
            ),
            Expected("dropout on few: wrong labels memorised", 0, 0.5, "0.20 to 0.25", _MEMORISED, "quick"),
            Expected("validation as test: score too high by", 0.005, 0.06, "0.024 to 0.029", _MEMORISED),
            whole=True,
        ),
        Expected("perceptron: test", 0.54, 0.75, "0.58 to 0.61, seeds 0 to 2", TRAIN_LONGER, "quick"),
        Expected("perceptron: test", 0.7, 0.86, "0.79, seed 0", TRAIN_LONGER, "full"),
        Expected("mlp: test", 0.6, 0.76, "0.66 to 0.68, three backends", TRAIN_LONGER, "quick"),
        Expected("mlp: test", 0.8, 0.92, "0.87, seed 0", TRAIN_LONGER, "full"),
        Expected("cnn: test", 0.92, 0.951, "0.95 is the best possible", TRAIN_LONGER, "quick"),
        Expected("cnn: test", 0.93, 0.951, "0.95 is the best possible", TRAIN_LONGER, "full"),
    ),
)
