"""Set the precision of training, for models that `dlbox tune` found to train faster in another precision than
float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from workshops.speed.settings import Precision


def current() -> Precision | None:
    """The precision of models that are built now. None: float32."""
    import keras

    policy = keras.config.dtype_policy().name
    if policy == "mixed_float16" or policy == "mixed_bfloat16":
        return policy  # type: ignore[no-any-return]
    if keras.backend.backend() == "torch":
        import torch

        return "tf32" if torch.get_float32_matmul_precision() == "high" else None
    return None


def use(precision: Precision | None) -> None:
    """Build models in ``precision`` from now on, in this process; None: float32, the default of Keras.

    "mixed_float16" and "mixed_bfloat16" are the Keras policies: matrix products in 16 bits, weights in 32. "tf32"
    lets torch use TF32 for products of float32 matrices; TensorFlow and JAX do so by default.
    """
    import keras

    keras.config.set_dtype_policy(precision if precision and precision.startswith("mixed") else "float32")
    if keras.backend.backend() == "torch":
        import torch

        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


@contextmanager
def using(precision: Precision | None) -> Iterator[None]:
    """Context manager: ``use(precision)`` applies inside the block. If ``precision`` is None, nothing changes."""
    if precision is None:
        yield
        return
    use(precision)
    try:
        yield
    finally:
        use(None)
