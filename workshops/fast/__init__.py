"""Keras' recurrent layers over the fused kernels that a processor has, where the stock ones go step by step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

USUAL = {"LSTM": "fast", "GRU": "loops", "SimpleRNN": "fast"}
"""What pays most on two cores for each kind (docs/evidence/tuning.md)."""


def quicken(model: Any, how: str | None = "fast") -> int:
    """Let the recurrent layers of a Keras model, wrapped ones too, use the fast kernels; how many do now.

    The layers stay the objects that they are, with their variables: only their class becomes a subclass with
    another inner loop. Do it before the model is compiled. What no fast kernel can do keeps Keras' own way:
    see ``workshops.fast.layers``. A saved model names the stock layers and opens without dlbox.

    ``how``: "fast", torch's own kernels; "split", these with the rows of a batch shared among the threads; "loops",
    compiled for this processor, the rows shared likewise (``workshops.fast.kernels``; a SimpleRNN is split, and stays
    stock on TensorFlow); None: what is usual for each layer.

    TensorFlow knows "loops" alone. Where Numba is not installed, torch's own kernels are taken in their place.
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
            layer.supports_jit = False  # XLA cannot compile a call of Python
            changed += 1
    return changed


def helps(backend: str, on_gpu: bool) -> bool:
    """Whether a fast layer is another than the stock one there. On a card Keras itself calls cuDNN."""
    return backend == "torch" and not on_gpu


def _flat(layers: Iterable[Any]) -> Iterator[Any]:
    for layer in layers:
        inner = [getattr(layer, name, None) for name in ("forward_layer", "backward_layer", "layer")]
        inner = [one for one in inner if one is not None] or list(getattr(layer, "layers", ()))
        if inner:
            yield from _flat(inner)
        else:
            yield layer
