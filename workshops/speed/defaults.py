"""Settings for training without tuned settings: the fastest for small models on each backend without a card."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workshops import fast
from workshops.fast.recurrence import at_hand

BATCHES_A_CALL = 8
"""Number of batches per call of TensorFlow's compiled training function. A call costs 1 to 2 ms, as much as a small
step."""

FEW_STEPS = 16
"""Maximum number of time steps of a recurrence that is unrolled. For so few steps, a loop in the graph costs more than
their arithmetic."""

WIDE = 64
"""Number of units from which an unrolled recurrence trains one batch per call: with more batches per call, TensorFlow
does not split its matrix products among the cores. The seq2seq model on two cores needs 23.0 ms per step, and 28.6 ms
with eight batches per call."""


@contextmanager
def for_training(model: Any) -> Iterator[None]:
    """Context manager: inside the block ``model`` trains with these defaults. Its results change only by rounding.

    TensorFlow: eight batches per call; short recurrences are unrolled (only during training, so that a saved model can
    use cuDNN), longer ones are compiled for this processor if possible. torch: the layers of ``workshops.fast`` with
    torch's own kernels. On a card, and with JAX, nothing changes.
    """
    import keras

    backend, unrolled = keras.backend.backend(), []
    if fast.helps(backend, on_gpu=has_card()):
        fast.quicken(model, None)
    elif backend == "tensorflow" and not has_card():
        rolled = [layer for layer in model.layers if isinstance(layer, keras.layers.RNN) and not layer.unroll]
        unrolled = [layer for layer in rolled if _steps(layer) <= FEW_STEPS]
        if len(unrolled) < len(rolled) and at_hand():
            fast.quicken(model, "loops")
        if all(getattr(layer, "units", 0) < WIDE for layer in unrolled):
            model.steps_per_execution = BATCHES_A_CALL
    for layer in unrolled:
        layer.unroll = True
    try:
        yield
    finally:
        for layer in unrolled:
            layer.unroll = False


def has_card() -> bool:
    """Whether this machine has a device file of an NVIDIA card, or the device file that WSL2 has instead."""
    return Path("/dev/nvidia0").exists() or Path("/dev/dxg").exists()


def _steps(layer: Any) -> float:
    """Number of time steps that a recurrent layer reads; infinite if the model does not define it."""
    try:
        read = layer.input[0] if isinstance(layer.input, list | tuple) else layer.input
    except (AttributeError, ValueError):  # The layer is called several times, or outside a model.
        return math.inf
    return read.shape[1] or math.inf
