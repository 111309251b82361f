"""The lesson `attention`: description, data, models and the values to expect."""

from __future__ import annotations

from workshops.player.expected import ARITHMETIC, CEILING, Expected, Lesson, SavedModelShape

LESSON = Lesson(
    package=__package__,
    order=80,
    title="Attention, and on to transformers",
    about="Additive and dot-product attention and a small transformer beside the CNN/LSTM, equal in size.",
    data="synthetic film reviews, made here by a grammar; 5% of the labels are flipped",
    quick_seconds=45,
    full_seconds=150,
    models=("cnn-lstm", "additive", "dot-product", "transformer", "no-places"),
    saved_models=(SavedModelShape(((34,),), (1,)),),
    expected=(
        Expected("MultiHeadAttention, largest difference", 0, 1e-6, "float32 rounding", ARITHMETIC),
        Expected("words shuffled, largest difference", 0, 1e-6, "float32 rounding", ARITHMETIC),
        Expected("cnn-lstm: accuracy - ceiling", -0.01, 0.001, "ceiling proved", CEILING),
        Expected("additive: accuracy - ceiling", -0.01, 0.001, "ceiling proved", CEILING),
        Expected("dot-product: accuracy - ceiling", -0.01, 0.001, "ceiling proved", CEILING),
        Expected("transformer: accuracy - ceiling", -0.01, 0.001, "ceiling proved", CEILING),
        Expected("no-places: accuracy - ceiling", -0.03, 0.02, "ceiling proved, +-1.5% luck", CEILING),
    ),
)
