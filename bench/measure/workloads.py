"""The workloads: the workshop's models with fixed data and training settings, identified by fingerprints."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from bench.results.record.figures import Variant
from common.command_line.suggestions import did_you_mean

FAITHFUL = "-faithful"
"""Suffix of the workloads that use exactly the arguments of the class's scripts."""


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """One model, its data and its training settings.

    All fields are part of the fingerprint: two results belong to the same workload if and only if their
    fingerprints are equal. ``version`` rises when a builder or the data generator changes without these
    fields changing.
    """

    name: str
    version: int = 1
    model: str
    """Builder in ``workshops`` (see ``bench.measure.worker.tasks``); "class/..." is a model of the class."""
    data: str = "sentiment-grammar"
    """Generator in ``bench.measure.worker.tasks``; ``DATA_DESCRIPTIONS`` describes its data."""
    vocabulary: int = 1000
    """Number of different symbols in the input."""
    tokens: int = 300
    """Length of every example; 0 if the data are not sequences."""
    train_examples: int = 20_000
    test_examples: int = 1_000
    batch_size: int = 32
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    gradient_clip_norm: float = 1.0
    """Gradients are clipped to this norm per variable. Without clipping, one seed in eight failed because of a
    gradient spike (docs/evidence/learning-bar.md)."""
    loss: str = "binary_crossentropy"
    examples_before_judging: int = 6_144
    """Minimum number of training examples, regardless of the time budget: see ``accuracy_bar``."""
    judgements: int = 3
    examples_between_judgements: int = 2_048
    """If the accuracy is below ``accuracy_bar``, it is measured again after this much more training, ``judgements``
    times in
    all: a single measurement can fall on a spike of the loss that disappears within a hundred steps."""
    accuracy_bar: float = 0.75
    """If the test accuracy after ``examples_before_judging`` is below this, training does not work. A model that only
    counts words reaches 0.68 on these reviews, so 0.75 needs a model that uses their order.
    docs/evidence/learning-bar.md has the measured accuracies of several seeds. 0: the accuracy is not judged."""

    fused: bool = True
    """Whether a card is expected to use a fused recurrent kernel. False: the class's arguments prevent it."""

    @property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 of the definition. The field ``fused`` was added later, so it is part
        of the definition only where it is False."""
        fields = msgspec.structs.asdict(self)
        if self.fused:
            del fields["fused"]
        return hashlib.sha256(msgspec.json.encode(fields, order="deterministic")).hexdigest()[:16]

    @property
    def variant(self) -> Variant | None:
        """ "faithful" or "fast" if the workload exists in both variants, else None."""
        if self.name.endswith(FAITHFUL):
            return "faithful"
        return "fast" if self.name + FAITHFUL in WORKLOADS else None

    @property
    def data_description(self) -> str:
        """One line about the data, for reports."""
        return DATA_DESCRIPTIONS[self.data]


DATA_DESCRIPTIONS = {
    "sentiment-grammar": "synthetic reviews (sentiment grammar, 5% of the labels flipped)",
    "number-characters": "synthetic text (the numbers 1 to 9,999 in words, by characters)",
    "addition-reversed": "synthetic sums (two numbers of up to three digits, reversed)",
    "glyphs": "synthetic hand signs (24 letters, 5% of the labels replaced)",
}


def _characters(cell: str) -> Workload:
    """A model of 128 units that predicts the next character at each position of 200 characters."""
    return Workload(
        name=f"{cell}-text-gen",
        model=cell,
        data="number-characters",
        vocabulary=20,
        tokens=200,
        loss="sparse_categorical_crossentropy",
        learning_rate=4e-3,
        accuracy_bar=0.6,
    )


def _of_the_class(name: str, **changes: Any) -> Workload:
    return Workload(name=name + FAITHFUL, model=f"class/{name}", optimizer="rmsprop", fused=False, **changes)


_SIGMOID: dict[str, Any] = {"learning_rate": 1e-2, "examples_before_judging": 12_288}
"""Learning rate of these models. With Keras' default of 0.001 they stay at chance level for 10,000 examples
(docs/evidence/learning-bar.md)."""

WORKLOADS: dict[str, Workload] = {
    w.name: w
    for w in (
        Workload(name="lstm", model="lstm"),
        Workload(name="gru", model="gru"),
        Workload(name="cnn-lstm", model="cnn-lstm"),
        Workload(  # the reason for the low clipping limit: docs/decisions/0059-simple-rnn-clipping.md
            name="simple-rnn", version=2, model="simple-rnn", gradient_clip_norm=0.1,
            examples_before_judging=8_192, accuracy_bar=0.58, judgements=8,
        ),
        Workload(name="bilstm", model="bilstm"),
        Workload(name="deep-lstm", model="deep-lstm"),
        Workload(name="cnn", model="cnn", tokens=1000),
        Workload(name="attention", version=2, model="attention", learning_rate=3e-3, judgements=8),
        _characters("lstm"),
        _characters("gru"),
        Workload(
            name="seq2seq", model="repeat", data="addition-reversed", vocabulary=12, tokens=7,
            loss="sparse_categorical_crossentropy", learning_rate=4e-3, accuracy_bar=0.42,
            examples_before_judging=30_720, examples_between_judgements=10_240,
        ),
        Workload(
            name="sign-cnn", model="cnn", data="glyphs", vocabulary=256, tokens=0,
            loss="sparse_categorical_crossentropy", accuracy_bar=0.4,
        ),
        _of_the_class("lstm", **_SIGMOID),
        _of_the_class("lstm-dropout"),
        _of_the_class(  # at chance level after 34,816 examples: this model is timed, but its accuracy is not judged
            "deep-lstm", version=2, learning_rate=1e-2, accuracy_bar=0.0, judgements=1,
        ),
        _of_the_class("cnn-lstm", **_SIGMOID),
    )
}  # fmt: skip

SUITES: dict[str, tuple[str, ...]] = {
    "ready": ("lstm", "gru", "cnn-lstm"),
    "workshop": (
        "lstm", "gru", "cnn-lstm", "simple-rnn", "bilstm", "deep-lstm", "cnn", "attention",
        "lstm-text-gen", "gru-text-gen", "seq2seq", "sign-cnn",
    ),
    "full": tuple(WORKLOADS),
}  # fmt: skip
"""Workloads of each suite, in the order of execution."""

BACKENDS = ("tensorflow", "torch", "jax")


class UnknownWorkloadError(ValueError):
    """The name of a workload is unknown; the message lists the known names."""


def select(names: tuple[str, ...], suite: str = "ready") -> list[Workload]:
    """The workloads ``names`` in this order without duplicates; those of ``suite`` if there are no names.

    "lstm-fast" means ``lstm``, the variant beside "lstm-faithful". Raises UnknownWorkloadError.
    """
    names = tuple(
        n.removesuffix("-fast") if n.removesuffix("-fast") + FAITHFUL in WORKLOADS else n for n in names
    )
    missing = [n for n in names if n not in WORKLOADS]
    if missing:
        raise UnknownWorkloadError(
            f"unknown workload {missing[0]!r}{did_you_mean(missing[0], WORKLOADS)}; "
            f"the workloads are {', '.join(WORKLOADS)}"
        )
    return [WORKLOADS[n] for n in dict.fromkeys(names or SUITES[suite])]
