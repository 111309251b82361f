"""Keras on a machine without a card takes its way to cuDNN, as far as a graph or a profile shows it."""

from __future__ import annotations

import importlib
from typing import Any

import msgspec
import numpy as np

from bench.measure import kernel_path
from bench.measure.worker import tasks
from bench.measure.workloads import SUITES, WORKLOADS

VERSION = "3.15.1"


def look(name: str, backend: str, forced_off: int | None = None) -> kernel_path.Kernels:
    """Look into a shortened workload; the recurrent layer ``forced_off`` does without cuDNN."""
    work = WORKLOADS[name]
    work = msgspec.structs.replace(work, tokens=work.tokens and min(work.tokens, 40))
    model = tasks._build(work)
    if forced_off is not None:
        list(recurrent(model))[forced_off].use_cudnn = False
    shape = [2, *(side or work.tokens for side in model.input_shape[1:])]
    batch = np.zeros(shape, model.inputs[0].dtype)
    return kernel_path.look(model, batch, backend, on_gpu=True, keras_version=VERSION)


def recurrent(model: Any) -> Any:
    return (layer for layer in kernel_path.flat(model.layers) if hasattr(layer, "use_cudnn"))


def suite(backend: str) -> dict[str, str]:
    return {name: look(name, backend).path for name in SUITES["workshop"]}


def keras_own(module: str = "") -> Any:
    return importlib.import_module(f"keras.src.backend.{module}".rstrip("."))


def pretend(backend: str) -> None:
    """From here on Keras believes in a card."""
    {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}[backend]()


def _tensorflow() -> None:
    keras_own("tensorflow.rnn")._is_gpu_available = lambda: True


def _jax() -> None:
    import jaxlib.gpu_rnn  # asks the card how much room it needs

    keras_own("jax.rnn")._is_gpu_available = lambda: True
    jaxlib.gpu_rnn.compute_rnn_workspace_reserve_space_sizes = lambda *a, **k: (0, 0)


def _torch() -> None:
    """cuDNN's call leaves its name in the profile; its answers are zeros."""
    import torch
    from torch.profiler import record_function

    def called(inputs: Any, units: int, states: int, return_sequences: bool) -> Any:
        every = torch.zeros(*inputs.shape[:2], units, device=inputs.device)
        return every[:, -1], every if return_sequences else every[:, -1:], [every[:, -1]] * states

    def one(states: int) -> Any:
        def call(inputs: Any, *_: Any, recurrent_kernel: Any, return_sequences: bool, **__: Any) -> Any:
            with record_function("aten::_cudnn_rnn"), record_function("aten::_cudnn_rnn_flatten_weight"):
                return called(inputs, recurrent_kernel.shape[0], states, return_sequences)

        return call

    def both(inputs: Any, *_: Any, fwd_recurrent_kernel: Any, return_sequences: bool, **__: Any) -> Any:
        with record_function("aten::_cudnn_rnn"):
            return (called(inputs, fwd_recurrent_kernel.shape[0], 2, return_sequences),) * 2

    backend = keras_own()
    backend.lstm, backend.gru, backend.bidirectional_lstm = one(2), one(1), both


def fail_after_the_call() -> None:
    """As where cuDNN's call on torch ends in an exception that Keras catches: its name, then Keras' loop."""
    from torch.profiler import record_function

    def failing(stock: Any) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            with record_function("aten::_cudnn_rnn"):
                pass
            return stock(*args, **named)

        return call

    backend = keras_own()
    backend.lstm, backend.gru = failing(backend.lstm), failing(backend.gru)
