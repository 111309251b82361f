"""The workshop's models as frozen, fingerprinted pieces of work: what is trained, and when it counts."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from bench.results.record.figures import Variant

FAITHFUL = "-faithful"
"""Ends the names of those that ask for exactly what the class's scripts ask for."""


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """One model, its data and its training settings.

    Everything here is part of the fingerprint: two results are of the same work exactly when their
    fingerprints are equal. ``version`` rises when a builder or the data generator changes without these
    fields changing.
    """

    name: str
    version: int = 1
    model: str
    """Builder in ``workshops`` (``bench.measure.worker.tasks`` says which module; "class/..." is the class's own)."""
    data: str = "sentiment-grammar"
    """Generator in ``bench.measure.worker.tasks``; ``DATA_DESCRIPTIONS`` says what it makes."""
    vocabulary: int = 1000
    """Different symbols that a model reads."""
    tokens: int = 300
    """Length of every example; 0 where it is no sequence."""
    train_examples: int = 20_000
    test_examples: int = 1_000
    batch_size: int = 32
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    gradient_clip_norm: float = 1.0
    """Per variable; without it one seed in eight was lost to a gradient spike (docs/evidence/learning-bar.md)."""
    loss: str = "binary_crossentropy"
    examples_before_judging: int = 6_144
    """Training goes on until this many examples were seen, whatever the time budget: see ``accuracy_bar``."""
    judgements: int = 3
    examples_between_judgements: int = 2_048
    """Accuracy under the bar is looked at again after some more training, this often in all: a single look
    can hit a spike that the next hundred steps undo."""
    accuracy_bar: float = 0.75
    """Held-out accuracy below this, after that many examples, is broken training: counting words reaches
    0.68 on these reviews, so 0.75 needs a model that reads them (seeds measured: docs/evidence/learning-bar.md).
    0: not judged."""

    fused: bool = True
    """Whether a fused recurrent kernel is due on a card. False: the class's script asks for what none can do."""

    @property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 of the definition. Fields that came later count where they are set."""
        fields = msgspec.structs.asdict(self)
        if self.fused:
            del fields["fused"]
        return hashlib.sha256(msgspec.json.encode(fields, order="deterministic")).hexdigest()[:16]

    @property
    def variant(self) -> Variant | None:
        """Of the models that the class's scripts write in another way, which one this is."""
        if self.name.endswith(FAITHFUL):
            return "faithful"
        return "fast" if self.name + FAITHFUL in WORKLOADS else None

    @property
    def data_description(self) -> str:
        return DATA_DESCRIPTIONS[self.data]


DATA_DESCRIPTIONS = {
    "sentiment-grammar": "synthetic reviews (sentiment grammar, 5% of the labels flipped)",
    "number-characters": "synthetic text (the numbers 1 to 9,999 in words, by characters)",
    "addition-reversed": "synthetic sums (two numbers of up to three digits, turned round)",
    "glyphs": "synthetic hand signs (24 letters, 5% of the labels replaced)",
}


def _characters(cell: str) -> Workload:
    """128 units, stretches of 200 characters, a guess at every place."""
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
"""At the optimizer's own rate of 0.001 these stay at chance for 10,000 examples (docs/evidence/learning-bar.md)."""

WORKLOADS: dict[str, Workload] = {
    w.name: w
    for w in (
        Workload(name="lstm", model="lstm"),
        Workload(name="gru", model="gru"),
        Workload(name="cnn-lstm", model="cnn-lstm"),
        Workload(  # why it clips so low: docs/decisions/0059-simple-rnn-clipping.md
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
        _of_the_class(  # at chance after 34,816 examples: it is timed, and its learning is not judged
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
"""Name -> workloads in the order they are run."""

BACKENDS = ("tensorflow", "torch", "jax")


class UnknownWorkloadError(ValueError):
    """The name is in no suite; the message lists those that are."""


def select(names: tuple[str, ...], suite: str = "ready") -> list[Workload]:
    """The named workloads in the order asked for, those of ``suite`` for no name; each once.

    "lstm-fast" is ``lstm``: the other one beside "lstm-faithful".
    """
    names = tuple(
        n.removesuffix("-fast") if n.removesuffix("-fast") + FAITHFUL in WORKLOADS else n for n in names
    )
    missing = [n for n in names if n not in WORKLOADS]
    if missing:
        raise UnknownWorkloadError(f"no workload {missing[0]!r}: there are {', '.join(WORKLOADS)}")
    return [WORKLOADS[n] for n in dict.fromkeys(names or SUITES[suite])]
