"""What differs between TensorFlow, torch and JAX when Keras trains on them. Called in a worker only."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable
from typing import Any, NamedTuple


class Device(NamedTuple):
    name: str
    on_gpu: bool
    precision: str


def environment(backend: str) -> dict[str, str]:
    """Variables a worker needs before the first import."""
    return {
        "KERAS_BACKEND": backend,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # NVML's order, so that card 0 is card 0 everywhere
        "TF_CPP_MIN_LOG_LEVEL": "1",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # a desktop needs some of the card for its own display
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "PYTHONUNBUFFERED": "1",
    }


def device(backend: str) -> Device:
    """Where training will run, asked of the framework itself."""
    return {"tensorflow": _tensorflow_device, "torch": _torch_device, "jax": _jax_device}[backend]()


def synchroniser(backend: str, on_gpu: bool) -> Callable[[Any], None]:
    """A function of the model that returns when the device has finished all the work it was given."""
    if not on_gpu and backend != "jax":
        return lambda model: None  # a step on the CPU has ended when the call returns
    if backend == "tensorflow":
        import tensorflow as tf

        return lambda model: tf.test.experimental.sync_devices()
    if backend == "torch":
        import torch

        return lambda model: torch.cuda.synchronize()
    import jax  # hands work over and returns, on a CPU too

    def wait(model: Any) -> None:
        # Keras keeps the training state here while fit() runs; the product after it is queued behind it.
        jax.block_until_ready(getattr(model, "_jax_state", None) or ())
        jax.block_until_ready(jax.numpy.zeros(()) + 1)

    return wait


def versions(backend: str) -> dict[str, str]:
    """Versions of everything that decides the speed; CUDA and cuDNN only where the framework uses them."""
    import keras
    import numpy

    found = {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "numpy": numpy.__version__,
        backend: str(getattr(__import__(backend), "__version__", "unknown")),  # torch's is no plain string
    }
    if backend == "tensorflow":
        import tensorflow as tf

        build = tf.sysconfig.get_build_info()
        for key in ("cuda_version", "cudnn_version"):
            if build.get("is_cuda_build") and build.get(key):
                found[key.removesuffix("_version")] = str(build[key])
    elif backend == "torch":
        import torch

        if torch.version.cuda:
            found["cuda"] = torch.version.cuda
    for wheel in ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13"):  # the wheel is what is loaded
        try:
            found["cudnn"] = importlib.metadata.version(wheel)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _tensorflow_device() -> Device:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return Device("cpu", False, "float32")
    details = tf.config.experimental.get_device_details(gpus[0])
    capability = details.get("compute_capability", (0, 0))
    tf32 = capability >= (8, 0) and tf.config.experimental.tensor_float_32_execution_enabled()
    return Device(details.get("device_name", "gpu"), True, "tf32" if tf32 else "float32")


def _torch_device() -> Device:
    import torch

    if not torch.cuda.is_available():
        return Device("cpu", False, "float32")
    tf32 = torch.cuda.get_device_capability(0) >= (8, 0) and torch.backends.cudnn.allow_tf32
    return Device(torch.cuda.get_device_name(0), True, "tf32" if tf32 else "float32")


def _jax_device() -> Device:
    import jax

    first = jax.devices()[0]
    if first.platform == "cpu":
        return Device("cpu", False, "float32")
    capability = str(getattr(first, "compute_capability", "0"))
    full = os.environ.get("JAX_DEFAULT_MATMUL_PRECISION", "") in ("float32", "highest")
    tf32 = float(capability or 0) >= 8.0 and not full
    return Device(first.device_kind, True, "tf32" if tf32 else "float32")
