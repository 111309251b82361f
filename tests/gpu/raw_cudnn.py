"""cuDNN's recurrent kernels without Keras: ``python -m tests.gpu.raw_cudnn BACKEND MODEL SECONDS`` prints one line.

samples_per_second: forward and backward pass and an Adam step of the workshop's model at batch 32. kernels: names of
kernels that ran, of which those of cuDNN prove the fused path. null if the backend has no public call for the model.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.benchmarks.raw_common import batches, clock

SIZES = {"lstm": (50, 100), "gru": (50, 100), "cnn-lstm": (64, 70)}
"""Inputs and units of the recurrent layer."""


def of_torch(model: str, seconds: float, device: str) -> dict[str, Any]:
    """PyTorch's LSTM and GRU call cuDNN directly."""
    import torch

    from tests.benchmarks.raw_torch import Model

    torch.manual_seed(0)
    net = Model(model).to(device)
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    tokens, labels = (torch.as_tensor(part).to(device) for part in batches(model))
    loss_of = torch.nn.BCEWithLogitsLoss()

    def step(place: int) -> Any:
        adam.zero_grad(set_to_none=True)
        loss = loss_of(net(tokens[place : place + 32]).squeeze(1), labels[place : place + 32])
        loss.backward()
        adam.step()
        return loss

    wait = (lambda _: torch.cuda.synchronize()) if device == "cuda" else (lambda value: value)
    rate = clock(step, len(tokens), seconds, wait)
    kernels: list[str] = []
    if device == "cuda":
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profile:
            step(0)
            torch.cuda.synchronize()
        kernels = sorted({event.key for event in profile.key_averages()})
    return {"samples_per_second": rate, "kernels": kernels, "version": torch.backends.cudnn.version()}


def of_jax(model: str, seconds: float) -> dict[str, Any]:
    """JAX's public call of cuDNN's LSTM; there is none for the GRU."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.experimental import rnn

    inputs, units = SIZES[model]
    length = 74 if model == "cnn-lstm" else 300
    generator = np.random.default_rng(0)
    x = jnp.asarray(generator.normal(size=(32, length, inputs)), jnp.float32)
    y = jnp.asarray(generator.normal(size=(32,)), jnp.float32)
    weights = rnn.init_lstm_weight(jax.random.key(0), inputs, units, 1, False)
    lengths = jnp.full((32,), length, jnp.int32)
    zero = jnp.zeros((1, 32, units))

    def loss_of(w: Any) -> Any:
        out, _, _ = rnn.lstm(x, zero, zero, w, lengths, inputs, units, 1, 0.0, False)
        return jnp.mean((out[:, -1].sum(-1) - y) ** 2)

    train = jax.jit(lambda w: w - 1e-3 * jax.grad(loss_of)(w))
    state = [weights]

    def step(_: int) -> Any:
        state[0] = train(state[0])
        return state[0]

    rate = clock(step, 2048, seconds, jax.block_until_ready)
    text = train.lower(weights).compile().as_text() or ""
    kernels = sorted({word.strip('",') for word in text.replace("=", " ").split() if "cudnn" in word.lower()})
    return {
        "samples_per_second": rate,
        "kernels": kernels[:20],
        "version": jax.__version__,
        "layer_only": True,
    }


def main(backend: str, model: str, seconds: float) -> int:
    found: dict[str, Any] | None
    if backend == "torch":
        import torch

        found = of_torch(model, seconds, "cuda" if torch.cuda.is_available() else "cpu")
    elif backend == "jax" and model != "gru":
        found = of_jax(model, seconds)
    else:
        found = None
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
