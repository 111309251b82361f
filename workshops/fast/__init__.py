"""Recurrent layers of Keras with fused kernels for a processor, where the stock layers compute step by step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

USUAL = {"LSTM": "fast", "GRU": "loops", "SimpleRNN": "fast"}
"""The fastest kernel for each kind of layer on two cores (docs/evidence/tuning.md)."""


def quicken(model: Any, how: str | None = "fast") -> int:
    """Make the recurrent layers of a Keras model use the fast kernels. Returns the number of changed layers.

    Layers inside wrappers such as Bidirectional are included. The layer objects and their variables stay the same; only
    their class changes, to a subclass with another inner loop. Call this before the model is compiled. Where no fast
    kernel is possible, the layer uses the loop of Keras: see ``workshops.fast.layers``. A saved model contains the
    stock layers and can be loaded without dlbox.

    ``how``: "fast", the kernels of torch; "split", these kernels with the rows of a batch divided among threads;
    "loops", kernels compiled for this processor, also with divided rows (``workshops.fast.kernels``; a SimpleRNN uses
    "split", and stays stock on TensorFlow); None: the entry in ``USUAL``.

    TensorFlow supports only "loops". Without Numba, the kernels of torch are used instead.
    """
    from workshops.fast import layers
    from workshops.fast.recurrence import at_hand

    if how in ("loops", None) and not at_hand():
        how = "fast"
    changed = 0
    for layer in _flat(model.layers):
        fast = layers.FAST.get(type(layer))
        if fast is not None:
            layer.__class__ = fast
            layer.dlbox_how = how or USUAL[fast.__name__]
            layer.supports_jit = False  # XLA cannot compile a call to Python.
            changed += 1
    return changed


def helps(backend: str, on_gpu: bool) -> bool:
    """Whether a fast layer differs from the stock layer on this device. On a card Keras itself calls cuDNN."""
    return backend == "torch" and not on_gpu


def _flat(layers: Iterable[Any]) -> Iterator[Any]:
    for layer in layers:
        inner = [getattr(layer, name, None) for name in ("forward_layer", "backward_layer", "layer")]
        inner = [one for one in inner if one is not None] or list(getattr(layer, "layers", ()))
        if inner:
            yield from _flat(inner)
        else:
            yield layer
