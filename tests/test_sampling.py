"""The fast samplers write the text of the usual predict loop, on every backend and for every cell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.frameworks import Framework
from workshops.models import sampling

EQUAL = """
import sys
import keras, numpy as np
from workshops.models import sampling
layers, symbols, same = keras.layers, 12, True
start = np.random.default_rng(0).integers(0, symbols, 20)
for make in (layers.SimpleRNN, layers.LSTM, layers.GRU, lambda *a, **k: layers.GRU(*a, reset_after=False, **k)):
    keras.utils.set_random_seed(1)
    ids = keras.Input((None,), dtype="int32")
    bold = keras.initializers.RandomNormal(stddev=0.5, seed=2)
    out = make(16, return_sequences=True, bias_initializer=bold)(keras.ops.one_hot(ids, symbols))
    model = keras.Model(ids, layers.Dense(symbols, activation="softmax", kernel_initializer=bold)(out))
    how = dict(temperature=2.0, seed=3)
    usual = list(sampling.predict_loop(model, start, 30, **how))
    fast = np.concatenate(list(sampling.write(model, start, 30, **how))).tolist()
    cell = sampling.RecurrentCell(model)
    for rows in (1, len(start)):
        carry = rows == 1
        compiled = np.concatenate(list(sampling.write(model, start, 1000, carry=carry, **how))).tolist()
        read, go_on = sampling._numpy_run(cell, rows, 1000)
        plain, _ = go_on(read(start), sampling.uniform(1000, 3), np.float32(2.0))
        agree = next((i for i, (a, b) in enumerate(zip(compiled, plain)) if a != b), 1000)
        print(cell.kind, cell.reset_after, rows, usual == fast, len(set(usual)), agree)
"""


@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax"])
def test_same_text_as_the_predict_loop(backend: str, frameworks: Callable[[str], Framework]) -> None:
    done = frameworks(backend).run(EQUAL)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [
        line.split() for line in done.stdout.splitlines() if line.startswith(("SimpleRNN", "LSTM", "GRU"))
    ]
    assert len(rows) == 8
    for kind, _, _, equal, different, agree in rows:
        assert equal == "True", rows
        assert int(different) >= 4, f"{kind} writes hardly anything but one symbol: nothing is tested"
        assert int(agree) >= 500, rows  # rounding may part two texts, but not soon


def test_pick_follows_the_probabilities() -> None:
    p = np.array([0.5, 0.25, 0.25])
    draws = sampling.uniform(40_000, 0)
    counts = np.bincount([sampling.pick(p, 1.0, float(u)) for u in draws], minlength=3) / len(draws)
    assert counts == pytest.approx(p, abs=0.01)
    squared = np.bincount([sampling.pick(p, 0.5, float(u)) for u in draws], minlength=3) / len(draws)
    assert squared == pytest.approx(p**2 / (p**2).sum(), abs=0.01)
    assert sampling.pick(p, 1.0, 0.0) == 0
    assert sampling.pick(p, 1.0, float(np.nextafter(np.float32(1), np.float32(0)))) == 2
    assert sampling.pick(np.array([0.0, 1.0]), 0.01, 0.0) == 1


def test_seed_decides() -> None:
    assert np.array_equal(sampling.uniform(50, 1), sampling.uniform(50, 1))
    assert not np.array_equal(sampling.uniform(50, 1), sampling.uniform(50, 2))
