"""What `dlbox tune` stored, put to use in a lesson: the backend of the model asked for, and how a model is trained."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workshops import settings
from workshops.settings import Setting

_REVIEWS = ("lstm", "gru", "deep-lstm", "cnn", "cnn-lstm", "attention")
WORKLOADS = {
    "text-classification": {**{name: name for name in _REVIEWS}, "bidirectional": "bilstm"},
    "text-generation": {"lstm": "lstm-text-gen", "gru": "gru-text-gen"},
    "sign": {"cnn": "sign-cnn"},
    "seq2seq": {"repeat": "seq2seq"},
}
"""Lesson -> its model -> the workload that stands for it; any other model is trained as Keras does by itself."""

BATCHES_A_CALL = 8
"""Of TensorFlow's compiled training function: calling it takes a millisecond or two, as long as a small step."""
FEW_STEPS = 16
"""Recurrences up to this long are unrolled: the step as a graph of its own costs more than the arithmetic."""

WIDE = 64
"""An unrolled recurrence with as many units goes one batch a call: within a longer call its products share no cores
(the seq2seq model on two cores: 23.0 ms a step, 28.6 with eight batches a call)."""


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


@contextmanager
def on_a_processor(model: Any) -> Iterator[None]:
    """Train ``model`` as small models go fastest without a card; what it computes stays the same beyond rounding.

    TensorFlow: eight batches a call, and recurrences of few steps unrolled (while training only, so that a saved
    model can use cuDNN). torch: the layers of ``workshops.fast``, torch's own loop over the steps. On a card, and
    with JAX, nothing is changed.
    """
    import keras

    backend, changed = keras.backend.backend(), []
    if backend == "torch" and not _has_card():
        from workshops import fast

        fast.quicken(model, None)
    if backend == "tensorflow" and not _has_card():
        for layer in model.layers:
            if isinstance(layer, keras.layers.RNN) and not layer.unroll and _steps(layer) <= FEW_STEPS:
                layer.unroll = True
                changed.append(layer)
        if not any(layer.units >= WIDE for layer in changed if hasattr(layer, "units")):
            model.steps_per_execution = BATCHES_A_CALL
    try:
        yield
    finally:
        for layer in changed:
            layer.unroll = False


def _steps(layer: Any) -> float:
    """Steps of the sequences that a recurrent layer reads; infinite where the model does not say."""
    try:
        read = layer.input[0] if isinstance(layer.input, list | tuple) else layer.input
    except (AttributeError, ValueError):  # a layer that is called in several places, or by hand
        return math.inf
    return read.shape[1] or math.inf


def _has_card() -> bool:
    return Path("/dev/nvidia0").exists() or Path("/dev/dxg").exists()


def _may_be_here(device: str) -> bool:
    if device.endswith(" threads"):
        return device.endswith(f", {os.cpu_count()} threads")
    return _has_card()
