"""What `dlbox tune` stored, put to use in a lesson: the backend of the model asked for, and how a model is trained."""

from __future__ import annotations

import os
from typing import Any

from workshops import pace, settings
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


def apply(model: Any, chosen: Setting) -> bool:
    """Train ``model`` (compiled, not yet trained) as ``chosen`` says; False where it is of another backend."""
    import keras

    if chosen.backend != keras.backend.backend():
        return False
    if chosen.layers != "stock":
        from workshops import fast

        fast.quicken(model, chosen.layers)
    if chosen.jit is not None:
        model.jit_compile = chosen.jit
    model.steps_per_execution = chosen.steps_per_execution
    return True


def _may_be_here(device: str) -> bool:
    if device.endswith(" threads"):
        return device.endswith(f", {os.cpu_count()} threads")
    return pace.has_card()
