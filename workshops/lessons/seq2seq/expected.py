"""The lesson `seq2seq`: description, data, models and the values to expect."""

from __future__ import annotations

from workshops.player.expected import TRAIN_LONGER, Expected, Lesson, SavedModelShape

LESSON = Lesson(
    package=__package__,
    order=70,
    title="Sequence to sequence: learning to add",
    about="A model reads 12+345 and writes 357: first with one vector for the question, then with attention.",
    data="generated sums of two numbers of up to three digits",
    quick_seconds=45,
    full_seconds=300,
    models=("repeat", "not-reversed", "attention"),
    saved_models=(SavedModelShape(((7, 12),), (4, 12)), SavedModelShape(((7, 12), (4, 13)), (4, 12))),
    workloads=(("repeat", "seq2seq"),),
    expected=(
        Expected("leaked", 0.0, 0.0, "no sum is drawn twice in either order", "The data set is broken."),
        Expected("repeat: sums right", 0.5, 1.0, "seeds 0 to 2", TRAIN_LONGER, "quick"),
        Expected("attention: sums right", 0.85, 1.0, "seeds 0 to 2", TRAIN_LONGER, "quick"),
        Expected("repeat: sums right", 0.95, 1.0, "seed 0", TRAIN_LONGER, "full"),
        Expected("attention: sums right", 0.97, 1.0, "seed 0", TRAIN_LONGER, "full"),
    ),
)
