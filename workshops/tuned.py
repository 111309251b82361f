"""What `dlbox tune` stored, put to use in a lesson: the backend of the model asked for, and how a model is trained."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from workshops import pace, precision, settings
from workshops.settings import Setting

_REVIEWS = ("lstm", "gru", "deep-lstm", "cnn", "cnn-lstm", "attention")
WORKLOADS = {
    "text-classification": {**{name: name for name in _REVIEWS}, "bidirectional": "bilstm"},
    "text-generation": {"lstm": "lstm-text-gen", "gru": "gru-text-gen"},
    "sign": {"cnn": "sign-cnn"},
    "seq2seq": {"repeat": "seq2seq"},
}
"""Lesson -> its model -> the workload that stands for it; any other is trained as ``workshops.pace`` says."""


def setting(lesson: str, model: str) -> Setting | None:
    """The stored setting of a lesson's model, None where there is none that counts here.

    Versions and the number of threads are compared; `dlbox bench --tuned`, which may look longer, also compares the
    processor, the card and the workload. Raises SettingsError.
    """
    name = WORKLOADS.get(lesson, {}).get(model.replace("_", "-"))
    entry = settings.read().entries.get(name) if name else None
    if entry is None:
        return None
    here = {**entry.versions, **settings.installed(entry.setting.backend)}
    device = entry.device if _may_be_here(entry.device) else "another machine"
    return None if settings.stale(
        entry, fingerprint=entry.fingerprint, device=device, versions=here
    ) else entry.setting  # fmt: skip


def apply(model: Any, chosen: Setting) -> Setting | None:
    """Train ``model`` (compiled, not yet trained) as ``chosen`` says; None where it is of another backend.

    Gives what of it is used: a lesson has a batch of its own, and its models are in the numbers they were built in.
    """
    import keras

    if chosen.backend != keras.backend.backend():
        return None
    chosen = msgspec.structs.replace(chosen, batch_size=None, precision=precision.in_use())
    if chosen.layers != "stock":
        from workshops import fast

        fast.quicken(model, chosen.layers)
    if chosen.jit is not None:
        model.jit_compile = chosen.jit
    model.steps_per_execution = chosen.steps_per_execution
    return chosen


def _may_be_here(device: str) -> bool:
    if device.endswith(" threads"):
        return device.endswith(f", {os.cpu_count()} threads")
    return pace.has_card()
