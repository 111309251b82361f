"""How a lesson trains without tuned settings: the fastest way for small models on each backend without a card."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workshops import fast
from workshops.fast.recurrence import at_hand

BATCHES_A_CALL = 8
"""Batches in one call of TensorFlow's compiled training function: a call costs 1 to 2 ms, as long as a small step."""

FEW_STEPS = 16
"""Recurrences up to this length are unrolled: a loop over a graph costs more than the arithmetic of these steps."""

WIDE = 64
"""With so many units an unrolled recurrence trains one batch a call: in a longer call TensorFlow does not split its
matrix products among the cores (the seq2seq model on two cores: 23.0 ms a step, 28.6 ms with eight batches a call)."""


@contextmanager
def for_training(model: Any) -> Iterator[None]:
    """Inside the block ``model`` trains with these defaults; its results change only by rounding.

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
    """Whether there is a device of an NVIDIA card, or of WSL2 for one."""
    return Path("/dev/nvidia0").exists() or Path("/dev/dxg").exists()


def _steps(layer: Any) -> float:
    """Steps of the sequences that a recurrent layer reads; infinite if the model does not define it."""
    try:
        read = layer.input[0] if isinstance(layer.input, list | tuple) else layer.input
    except (AttributeError, ValueError):  # a layer that is called several times, or outside a model
        return math.inf
    return read.shape[1] or math.inf
