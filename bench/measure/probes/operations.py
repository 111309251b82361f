"""The operations of the probes on TensorFlow, torch or JAX. Used in the probe process only.

Sizes are in cells of 4 bytes unless stated otherwise. Products use float32 accumulation in every precision.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, Protocol

import numpy as np


class ProbeDevice(Protocol):
    """One framework on one device."""

    name: str
    on_gpu: bool
    pinned: bool
    """Whether copies use page-locked memory, so that they can be compared with the link's rate."""

    def normal(self, size: int, precision: str, seed: int) -> Any: ...
    def product(self, a: Any, b: Any, precision: str) -> Any: ...
    def differs(self, a: Any, b: Any) -> bool: ...
    def plus_one(self, x: Any) -> Any: ...
    def filled(self, cells: int, value: int) -> Any: ...
    def counted(self, cells: int, start: int) -> Any: ...
    def noise(self, cells: int, seed: int) -> Any: ...
    def wrong(self, chunk: Any, expected: Any) -> int: ...
    def upload(self, host: Any) -> Any: ...
    def download(self, x: Any) -> Any: ...
    def host_buffer(self, cells: int) -> Any: ...
    def wait(self, x: Any) -> None: ...
    def is_full(self, error: Exception) -> bool: ...


def open_device(backend: str) -> ProbeDevice:
    """The first device of ``backend``: its first GPU, else the CPU."""
    if backend == "torch":
        return TorchDevice()
    return TensorflowDevice() if backend == "tensorflow" else JaxDevice()


class TorchDevice:
    def __init__(self) -> None:
        import torch

        self.torch = torch
        self.on_gpu = self.pinned = bool(torch.cuda.is_available())
        self.device = torch.device("cuda:0" if self.on_gpu else "cpu")
        self.name = torch.cuda.get_device_name(0) if self.on_gpu else "cpu"
        self.types = {
            "fp32": torch.float32,
            "tf32": torch.float32,
            "fp16": torch.float16,
            "bf16": torch.bfloat16,
        }
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False

    def normal(self, size: int, precision: str, seed: int) -> Any:
        generator = self.torch.Generator(device=self.device).manual_seed(seed)
        return self.torch.randn(size, size, generator=generator, device=self.device).to(self.types[precision])

    def product(self, a: Any, b: Any, precision: str) -> Any:
        self.torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        return a @ b

    def differs(self, a: Any, b: Any) -> bool:
        return not self.torch.equal(a, b)

    def plus_one(self, x: Any) -> Any:
        return self.torch.add(x, 1, out=x)

    def filled(self, cells: int, value: int) -> Any:
        return self.torch.full((cells,), value, dtype=self.torch.int32, device=self.device)

    def counted(self, cells: int, start: int) -> Any:
        return self.torch.arange(start, start + cells, dtype=self.torch.int32, device=self.device)

    def noise(self, cells: int, seed: int) -> Any:
        generator = self.torch.Generator(device=self.device).manual_seed(seed)
        return self.torch.randint(
            -(2**31), 2**31 - 1, (cells,), generator=generator, dtype=self.torch.int32, device=self.device
        )

    def wrong(self, chunk: Any, expected: Any) -> int:
        return int((chunk != expected).sum().item())

    def host_buffer(self, cells: int) -> Any:
        return self.torch.zeros(cells, dtype=self.torch.float32, pin_memory=self.on_gpu)

    def upload(self, host: Any) -> Any:
        return host.to(self.device, non_blocking=True)

    def download(self, x: Any) -> Any:
        return x.cpu()

    def wait(self, x: Any) -> None:
        if self.on_gpu:
            self.torch.cuda.synchronize()

    def is_full(self, error: Exception) -> bool:
        return isinstance(error, self.torch.cuda.OutOfMemoryError) or "out of memory" in str(error).lower()


class TensorflowDevice:
    """TensorFlow keeps 32-bit integers in host memory even with a GPU, so two cells are one 64-bit integer."""

    pinned = False

    def __init__(self) -> None:
        import tensorflow as tf

        self.tf = tf
        gpus = tf.config.list_physical_devices("GPU")
        self.on_gpu = bool(gpus)
        self.name = (
            tf.config.experimental.get_device_details(gpus[0]).get("device_name", "gpu") if gpus else "cpu"
        )
        self.types = {"fp32": tf.float32, "tf32": tf.float32, "fp16": tf.float16, "bf16": tf.bfloat16}
        self.place = "/GPU:0" if gpus else "/CPU:0"
        with contextlib.suppress(ValueError, RuntimeError):
            tf.config.experimental.enable_tensor_float_32_execution(False)

    def normal(self, size: int, precision: str, seed: int) -> Any:
        with self.tf.device(self.place):
            return self.tf.cast(
                self.tf.random.stateless_normal((size, size), seed=(seed, 1)), self.types[precision]
            )

    def product(self, a: Any, b: Any, precision: str) -> Any:
        self.tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
        with self.tf.device(self.place):
            return self.tf.linalg.matmul(a, b)

    def differs(self, a: Any, b: Any) -> bool:
        with self.tf.device(self.place):
            return bool(self.tf.reduce_any(self.tf.not_equal(a, b)).numpy())

    def plus_one(self, x: Any) -> Any:
        with self.tf.device(self.place):
            return x + 1.0

    def filled(self, cells: int, value: int) -> Any:
        pair = int(np.array([value, value], np.int32).view(np.int64)[0])
        with self.tf.device(self.place):
            return self.tf.fill((cells // 2,), self.tf.constant(pair, self.tf.int64))

    def counted(self, cells: int, start: int) -> Any:
        with self.tf.device(self.place):
            # The result of range is in host memory; the sum is computed on the card.
            return self.tf.range(start, start + cells // 2, dtype=self.tf.int64) + self.tf.zeros(
                (1,), self.tf.int64
            )

    def noise(self, cells: int, seed: int) -> Any:
        with self.tf.device(self.place):
            return self.tf.random.stateless_uniform(
                (cells // 2,), seed=(seed, 2), minval=None, maxval=None, dtype=self.tf.int64
            )

    def wrong(self, chunk: Any, expected: Any) -> int:
        with self.tf.device(self.place):
            return int(self.tf.math.count_nonzero(self.tf.not_equal(chunk, expected)).numpy())

    def host_buffer(self, cells: int) -> Any:
        return np.zeros(cells, np.float32)

    def upload(self, host: Any) -> Any:
        with self.tf.device(self.place):
            return self.tf.identity(host)

    def download(self, x: Any) -> Any:
        return x.numpy()

    def wait(self, x: Any) -> None:
        if self.on_gpu:
            self.tf.test.experimental.sync_devices()

    def is_full(self, error: Exception) -> bool:
        return isinstance(error, self.tf.errors.ResourceExhaustedError)


class JaxDevice:
    pinned = False

    def __init__(self) -> None:
        import jax

        self.jax, self.jnp = jax, jax.numpy
        first = jax.devices()[0]
        self.on_gpu = first.platform != "cpu"
        self.name = str(first.device_kind) if self.on_gpu else "cpu"
        jnp = jax.numpy
        self.types = {"fp32": jnp.float32, "tf32": jnp.float32, "fp16": jnp.float16, "bf16": jnp.bfloat16}
        modes = {"fp32": "highest", "tf32": "tensorfloat32", "fp16": "default", "bf16": "default"}
        self._products = {
            precision: jax.jit(lambda a, b, mode=mode: jnp.matmul(a, b, precision=mode))
            for precision, mode in modes.items()
        }
        self._plus_one = jax.jit(lambda x: x + 1, donate_argnums=0)
        self._wrong = jax.jit(lambda a, b: jnp.sum(a != b))

    def normal(self, size: int, precision: str, seed: int) -> Any:
        values = self.jax.random.normal(self.jax.random.key(seed), (size, size))
        return values.astype(self.types[precision])

    def product(self, a: Any, b: Any, precision: str) -> Any:
        return self._products[precision](a, b)

    def differs(self, a: Any, b: Any) -> bool:
        return bool(self._wrong(a, b) > 0)

    def plus_one(self, x: Any) -> Any:
        return self._plus_one(x)

    def filled(self, cells: int, value: int) -> Any:
        return self.jnp.full((cells,), value, self.jnp.int32)

    def counted(self, cells: int, start: int) -> Any:
        return self.jnp.arange(start, start + cells, dtype=self.jnp.int32)

    def noise(self, cells: int, seed: int) -> Any:
        return self.jax.random.bits(self.jax.random.key(seed), (cells,), self.jnp.uint32)

    def wrong(self, chunk: Any, expected: Any) -> int:
        return int(self._wrong(chunk, expected))

    def host_buffer(self, cells: int) -> Any:
        return np.zeros(cells, np.float32)

    def upload(self, host: Any) -> Any:
        return self.jax.device_put(host)

    def download(self, x: Any) -> Any:
        return np.array(x, copy=True)

    def wait(self, x: Any) -> None:
        self.jax.block_until_ready(x)

    def is_full(self, error: Exception) -> bool:
        return "RESOURCE_EXHAUSTED" in str(error) or isinstance(error, MemoryError)


def use_card(index: int) -> None:
    """Hide all cards except the one with this index in NVML's order. Call this before importing the framework."""
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    os.environ["CUDA_VISIBLE_DEVICES"] = str(index)
