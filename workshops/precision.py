"""In which numbers a model is trained where `dlbox tune` found others than float32 to be faster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from workshops.settings import Precision


def in_use() -> Precision | None:
    """In which numbers a model that is built now would be trained."""
    import keras

    policy = keras.config.dtype_policy().name
    if policy == "mixed_float16" or policy == "mixed_bfloat16":
        return policy  # type: ignore[no-any-return]
    if keras.backend.backend() == "torch":
        import torch

        return "tf32" if torch.get_float32_matmul_precision() == "high" else None
    return None


def use(precision: Precision | None) -> None:
    """Build models in ``precision`` from now on, in this process; None: in float32, as Keras does by itself.

    "mixed_float16" and "mixed_bfloat16" are Keras' policies of these names: products in 16 bits, weights in 32.
    "tf32" lets torch's products of float32 matrices use TF32 units; TensorFlow and JAX do so by themselves.
    """
    import keras

    keras.config.set_dtype_policy(precision if precision and precision.startswith("mixed") else "float32")
    if keras.backend.backend() == "torch":
        import torch

        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


@contextmanager
def used(precision: Precision | None) -> Iterator[None]:
    """Inside, as ``use`` says; nothing is touched where ``precision`` is None."""
    if precision is None:
        yield
        return
    use(precision)
    try:
        yield
    finally:
        use(None)
