"""Raw JAX loops of the workshop's models, written for speed; see tuning.py beside this file."""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.benchmarks.raw_common import batches, clock


def parameters(name: str) -> dict[str, Any]:
    rng = np.random.default_rng(0)

    def w(*shape: int) -> Any:
        return jnp.asarray(rng.normal(0, (2 / sum(shape[-2:])) ** 0.5, shape), jnp.float32)

    p: dict[str, Any] = {"embedding": w(1000, 50)}
    if name in ("lstm", "bilstm"):
        for d in range(1 + (name == "bilstm")):
            p[f"r{d}"] = {"k": w(50, 400), "u": w(100, 400), "b": jnp.zeros(400)}
        p["w"] = w(200 if name == "bilstm" else 100, 1)
    elif name == "gru":
        p["r0"] = {"k": w(50, 300), "u": w(100, 300), "b": jnp.zeros(300), "c": jnp.zeros(300)}
        p["w"] = w(100, 1)
    elif name == "cnn-lstm":
        p["conv"] = {"k": w(5, 50, 64), "b": jnp.zeros(64)}
        p["r0"] = {"k": w(64, 280), "u": w(70, 280), "b": jnp.zeros(280)}
        p["w"] = w(70, 1)
    else:
        p["conv"] = {"k": w(3, 50, 50), "b": jnp.zeros(50)}
        p["h"] = {"k": w(998 * 50, 100), "b": jnp.zeros(100)}
        p["w"] = w(100, 1)
    p["b"] = jnp.zeros(1)
    return p


def lstm(p: Any, x: Any, units: int, reverse: bool = False) -> Any:
    projected = (x @ p["k"] + p["b"]).swapaxes(0, 1)

    def step(state: Any, now: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(now + h @ p["u"], 4, 1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zero = jnp.zeros((x.shape[0], units))
    return jax.lax.scan(step, (zero, zero), projected, reverse=reverse, unroll=4)[0][0]


def gru(p: Any, x: Any, units: int) -> Any:
    projected = (x @ p["k"] + p["b"]).swapaxes(0, 1)

    def step(h: Any, now: Any) -> Any:
        xz, xr, xh = jnp.split(now, 3, 1)
        hz, hr, hh = jnp.split(h @ p["u"] + p["c"], 3, 1)
        z, r = jax.nn.sigmoid(xz + hz), jax.nn.sigmoid(xr + hr)
        return z * h + (1 - z) * jnp.tanh(xh + r * hh), None

    return jax.lax.scan(step, jnp.zeros((x.shape[0], units)), projected, unroll=4)[0]


def conv(p: Any, x: Any) -> Any:
    out = jax.lax.conv_general_dilated(x, p["k"], (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"))
    return jax.nn.relu(out + p["b"])


def logits(name: str, p: Any, tokens: Any, key: Any) -> Any:
    x = p["embedding"][tokens]
    if name == "cnn":
        h = jax.nn.relu(conv(p["conv"], x).reshape(x.shape[0], -1) @ p["h"]["k"] + p["h"]["b"])
        h = jnp.where(jax.random.bernoulli(key, 0.5, h.shape), h * 2, 0)
    elif name == "gru":
        h = gru(p["r0"], x, 100)
    elif name == "bilstm":
        h = jnp.concatenate([lstm(p["r0"], x, 100), lstm(p["r1"], x, 100, True)], 1)
    elif name == "cnn-lstm":
        y = conv(p["conv"], x)
        h = lstm(p["r0"], y.reshape(y.shape[0], 74, 4, 64).max(2), 70)
    else:
        h = lstm(p["r0"], x, 100)
    return (h @ p["w"] + p["b"])[:, 0]


def main(name: str, seconds: float) -> float:
    tokens, labels = (jnp.asarray(part) for part in batches(name))

    def loss_of(p: Any, x: Any, y: Any, key: Any) -> Any:
        z = logits(name, p, x, key)
        return jnp.mean(jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z))))

    @jax.jit
    def train(p: Any, m: Any, v: Any, t: Any, place: Any, key: Any) -> Any:
        x = jax.lax.dynamic_slice_in_dim(tokens, place, 32)
        y = jax.lax.dynamic_slice_in_dim(labels, place, 32)
        key, sub = jax.random.split(key)
        loss, g = jax.value_and_grad(loss_of)(p, x, y, sub)
        t = t + 1
        m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
        v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        p = jax.tree.map(lambda a, b, c: a - rate * b / (jnp.sqrt(c) + 1e-7), p, m, v)
        return p, m, v, t, key, loss

    train = jax.jit(train, donate_argnums=(0, 1, 2))
    p = parameters(name)
    state = [
        p,
        jax.tree.map(jnp.zeros_like, p),
        jax.tree.map(jnp.zeros_like, p),
        jnp.zeros(()),
        jax.random.key(0),
    ]

    def step(place: int) -> Any:
        *new, loss = train(*state[:4], place, state[4])
        state[:] = new
        return loss

    return clock(step, len(tokens), seconds, jax.block_until_ready)


if __name__ == "__main__":
    print(main(sys.argv[1], float(sys.argv[2])))
