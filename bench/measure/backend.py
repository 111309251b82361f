"""Differences between TensorFlow, torch and JAX as backends of Keras. Used in a worker only."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable
from typing import Any, NamedTuple


class Device(NamedTuple):
    """Name of the training device ("cpu" or the name of the GPU), and the precision of float32 products: "float32" or
    "tf32"."""

    name: str
    on_gpu: bool
    precision: str


def environment(backend: str) -> dict[str, str]:
    """Environment variables that a worker needs before the first import of a framework."""
    return {
        "KERAS_BACKEND": backend,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # number the cards in the order of NVML
        "TF_CPP_MIN_LOG_LEVEL": "1",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # leave some of the card's memory for the display of a desktop
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "PYTHONUNBUFFERED": "1",
    }


def device(backend: str) -> Device:
    """The device that the framework trains on."""
    return {"tensorflow": _tensorflow_device, "torch": _torch_device, "jax": _jax_device}[backend]()


def synchroniser(backend: str, on_gpu: bool) -> Callable[[Any], None]:
    """A function that takes the model and returns when the device has finished all submitted work."""
    if not on_gpu and backend != "jax":
        return lambda model: None  # on the CPU a step is finished when the call returns
    if backend == "tensorflow":
        import tensorflow as tf

        return lambda model: tf.test.experimental.sync_devices()
    if backend == "torch":
        import torch

        return lambda model: torch.cuda.synchronize()
    import jax  # JAX runs asynchronously, on a CPU too

    def wait(model: Any) -> None:
        # fit() stores the training state in this attribute; the sum below is queued after it.
        jax.block_until_ready(getattr(model, "_jax_state", None) or ())
        jax.block_until_ready(jax.numpy.zeros(()) + 1)

    return wait


def versions(backend: str) -> dict[str, str]:
    """Versions of all packages that affect the speed; CUDA and cuDNN only if the framework uses them."""
    import keras
    import numpy

    found = {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "numpy": numpy.__version__,
        backend: str(
            getattr(__import__(backend), "__version__", "unknown")
        ),  # torch's version is not a plain str
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
    for wheel in ("nvidia-cudnn-cu12", "nvidia-cudnn-cu13"):  # the loaded version is that of the wheel
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
