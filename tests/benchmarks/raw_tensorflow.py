"""Raw TensorFlow loops of the workshop's models, written for speed; see tuning.py beside this file.

The recurrences are plain ``tf.while_loop``s over a hoisted input projection, the step one XLA-compiled function
("xla") or one graph ("graph").
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import tensorflow as tf

from tests.benchmarks.raw_common import batches, clock


def variables(name: str) -> dict[str, Any]:
    rng = np.random.default_rng(0)

    def w(*shape: int) -> Any:
        return tf.Variable(rng.normal(0, (2 / sum(shape[-2:])) ** 0.5, shape).astype(np.float32))

    def b(n: int) -> Any:
        return tf.Variable(np.zeros(n, np.float32))

    p: dict[str, Any] = {"embedding": w(1000, 50)}
    units, inputs, gates = (70, 64, 4) if name == "cnn-lstm" else (100, 50, 3 if name == "gru" else 4)
    if name != "cnn":
        for d in range(1 + (name == "bilstm")):
            p[f"k{d}"], p[f"u{d}"], p[f"b{d}"] = (
                w(inputs, gates * units),
                w(units, gates * units),
                b(gates * units),
            )
    if name == "gru":
        p["c0"] = b(300)
    if name == "cnn-lstm":
        p["ck"], p["cb"] = w(5, 50, 64), b(64)
    if name == "cnn":
        p["ck"], p["cb"], p["hk"], p["hb"] = w(3, 50, 50), b(50), w(998 * 50, 100), b(100)
    p["w"], p["b"] = w(2 * units if name == "bilstm" else units, 1), b(1)
    return p


def recur(p: dict[str, Any], x: Any, units: int, kind: str, d: int = 0) -> Any:
    length = x.shape[1]
    shape = (32, length, p[f"k{d}"].shape[1])
    flat = tf.reshape(x, (32 * length, x.shape[2])) @ p[f"k{d}"] + p[f"b{d}"]
    projected = tf.transpose(tf.reshape(flat, shape), (1, 0, 2))
    if d:
        projected = tf.reverse(projected, [0])
    zero = tf.zeros((32, units))

    def lstm(t: Any, h: Any, c: Any) -> Any:
        i, f, g, o = tf.split(tf.gather(projected, t) + h @ p[f"u{d}"], 4, 1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        return t + 1, tf.sigmoid(o) * tf.tanh(c), c

    def gru(t: Any, h: Any, c: Any) -> Any:
        xz, xr, xh = tf.split(tf.gather(projected, t), 3, 1)
        hz, hr, hh = tf.split(h @ p["u0"] + p["c0"], 3, 1)
        z, r = tf.sigmoid(xz + hz), tf.sigmoid(xr + hr)
        return t + 1, z * h + (1 - z) * tf.tanh(xh + r * hh), c

    body = gru if kind == "gru" else lstm
    return tf.while_loop(lambda t, h, c: t < length, body, (0, zero, zero), maximum_iterations=length)[1]


def logits(name: str, p: dict[str, Any], tokens: Any) -> Any:
    x = tf.gather(p["embedding"], tokens)
    if name == "cnn":
        y = tf.nn.relu(tf.nn.conv1d(x, p["ck"], 1, "VALID") + p["cb"])
        h = tf.nn.dropout(tf.nn.relu(tf.reshape(y, (32, 998 * 50)) @ p["hk"] + p["hb"]), 0.5)
    elif name == "cnn-lstm":
        y = tf.nn.max_pool1d(tf.nn.relu(tf.nn.conv1d(x, p["ck"], 1, "VALID") + p["cb"]), 4, 4, "VALID")
        h = recur(p, y, 70, "lstm")
    elif name == "bilstm":
        h = tf.concat([recur(p, x, 100, "lstm"), recur(p, x, 100, "lstm", 1)], 1)
    else:
        h = recur(p, x, 100, name)
    return (h @ p["w"] + p["b"])[:, 0]


def main(name: str, seconds: float, how: str) -> float:
    tokens, labels = (tf.constant(part) for part in batches(name))
    p = variables(name)
    flat = list(p.values())
    m, v = ([tf.Variable(tf.zeros_like(one)) for one in flat] for _ in range(2))
    count = tf.Variable(0.0)

    @tf.function(jit_compile=how == "xla")
    def train(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(y, logits(name, p, x)))
        count.assign_add(1.0)
        rate = 1e-3 * tf.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        for one, mean, var, g in zip(flat, m, v, tape.gradient(loss, flat), strict=True):
            g = tf.convert_to_tensor(g)
            mean.assign(0.9 * mean + 0.1 * g)
            var.assign(0.999 * var + 0.001 * g * g)
            one.assign_sub(rate * mean / (tf.sqrt(var) + 1e-7))
        return loss

    return clock(lambda at: train(tokens[at : at + 32], labels[at : at + 32]), len(labels), seconds)


if __name__ == "__main__":
    print(main(sys.argv[1], float(sys.argv[2]), sys.argv[3]))
