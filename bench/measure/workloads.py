"""The workshop's models as frozen, fingerprinted pieces of work: what is trained, and when it counts."""

from __future__ import annotations

import hashlib

import msgspec


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """One model, its data and its training settings.

    Everything here is part of the fingerprint: two results are of the same work exactly when their
    fingerprints are equal. ``version`` rises when a builder or the data generator changes without these
    fields changing.
    """

    name: str
    version: int = 1
    model: str
    """Builder in ``workshops.models``."""
    data: str = "sentiment-grammar"
    """Module of ``workshops.data`` (synthetic reviews, 5% of the labels flipped)."""
    vocabulary: int = 1000
    tokens: int = 300
    """Length of every padded review."""
    train_examples: int = 20_000
    test_examples: int = 1_000
    batch_size: int = 32
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    gradient_clip_norm: float = 1.0
    """Per variable; without it one seed in eight was lost to a gradient spike (docs/learning-bar.md)."""
    loss: str = "binary_crossentropy"
    examples_before_judging: int = 6_144
    """Training goes on until this many examples were seen, whatever the time budget: see ``accuracy_bar``."""
    judgements: int = 3
    examples_between_judgements: int = 2_048
    """Accuracy under the bar is looked at again after some more training, this often in all: a single look
    can hit a spike that the next hundred steps undo."""
    accuracy_bar: float = 0.75
    """Held-out accuracy below this, after that many examples, is broken training: counting words reaches
    0.68 on these reviews, so 0.75 needs a model that reads them (seeds measured: docs/learning-bar.md)."""

    @property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 of the definition."""
        canonical = msgspec.json.encode(msgspec.structs.asdict(self), order="deterministic")
        return hashlib.sha256(canonical).hexdigest()[:16]


WORKLOADS: dict[str, Workload] = {
    w.name: w
    for w in (
        Workload(name="lstm", model="lstm"),
        Workload(name="gru", model="gru"),
        Workload(name="cnn-lstm", model="cnn-lstm"),
        Workload(  # forgets over the padding: far from its ceiling after so few examples, but not at chance
            name="simple-rnn", model="simple-rnn", examples_before_judging=8_192, accuracy_bar=0.58
        ),
        Workload(name="bilstm", model="bilstm"),
        Workload(name="deep-lstm", model="deep-lstm"),
        Workload(name="cnn", model="cnn", tokens=1000),
        Workload(name="attention", model="attention"),
    )
}

SUITES: dict[str, tuple[str, ...]] = {
    "ready": ("lstm", "gru", "cnn-lstm"),
    "workshop": ("lstm", "gru", "cnn-lstm", "simple-rnn", "bilstm", "deep-lstm", "cnn", "attention"),
}
"""Name -> workloads in the order they are run."""

BACKENDS = ("tensorflow", "torch", "jax")


class UnknownWorkloadError(ValueError):
    """The name is in no suite; the message lists those that are."""


def select(names: tuple[str, ...], suite: str = "ready") -> list[Workload]:
    """The named workloads in the order asked for, those of ``suite`` for no name; each once."""
    missing = [n for n in names if n not in WORKLOADS]
    if missing:
        raise UnknownWorkloadError(f"no workload {missing[0]!r}: there are {', '.join(WORKLOADS)}")
    return [WORKLOADS[n] for n in dict.fromkeys(names or SUITES[suite])]
