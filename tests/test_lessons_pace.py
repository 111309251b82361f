"""The default speed settings of lessons do not change what a model learns."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.frameworks import Framework

SAME = """
import json, sys
import keras, numpy as np
from keras import layers
from workshops.speed import tuned
from workshops.player.outcome import LessonOptions
from workshops.player.page import LessonPage
from workshops.lessons import catalog

steps = int(sys.argv[1])

def build():
    keras.utils.clear_session()
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((steps, 5))
    for kind in (layers.SimpleRNN, layers.GRU):
        x = kind(6, return_sequences=True)(x)
    x, h, c = layers.LSTM(6, return_sequences=True, return_state=True)(x)
    x = layers.LSTM(6)(x, initial_state=[h, c])
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    model.compile(keras.optimizers.Adam(0.01, clipnorm=1.0), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

rng = np.random.default_rng(0)
x, y = rng.normal(size=(197, steps, 5)).astype("float32"), rng.integers(0, 2, 197)
plain = build()
told = plain.fit(x, y, epochs=3, batch_size=10, validation_data=(x[:50], y[:50]), verbose=0).history
model = build()
seen = []
page = LessonPage(catalog.find("seq2seq"), LessonOptions())
ours = page.fit(model, x, y, epochs=3, batch_size=10, validation=(x[:50], y[:50]), each_epoch=seen.append)
assert seen == [0, 1, 2]
assert told.keys() == ours.keys()
gaps = [abs(a - b) for name in told for a, b in zip(told[name], ours[name], strict=True)]
weights = [float(np.abs(a - b).max()) for a, b in zip(plain.get_weights(), model.get_weights(), strict=True)]
again = keras.models.model_from_json(model.to_json())
print(json.dumps({
    "history": max(gaps), "weights": max(weights), "steps": model.steps_per_execution,
    "unroll": [layer.unroll for layer in again.layers if hasattr(layer, "unroll")],
    "kinds": [type(layer).__module__ for layer in again.layers[1:5]],
    "fast": [getattr(layer, "dlbox_how", None) for layer in model.layers[1:5]],
}))
"""


@pytest.mark.parametrize(
    ("backend", "steps"), [("tensorflow", 7), ("tensorflow", 20), ("torch", 7), ("jax", 7)]
)
def test_the_default_speed_settings_do_not_change_the_training(
    backend: str, steps: int, frameworks: Callable[[str], Framework]
) -> None:
    done = frameworks(backend).run(SAME, str(steps))
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["history"] < 1e-4
    assert told["weights"] < 1e-4
    assert told["unroll"] == [False] * 4
    assert all(module.startswith("keras.") for module in told["kinds"])
    assert (told["steps"] > 1) == (backend == "tensorflow")
    if backend == "torch":
        assert told["fast"] == ["fast", "loops", "fast", "fast"]
    else:  # few steps are unrolled
        assert told["fast"] == (["loops"] * 4 if steps == 20 else [None] * 4)
