"""Fast recurrent layers: the same numbers and gradients as Keras' own, the same weights, the same saved file."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import settings

from tests.frameworks import Framework

SAME = """
import json, os, sys
import numpy as np
import torch
import keras
torch.set_num_threads(2)
from hypothesis import given, settings, strategies as st
from workshops import fast

used = {"torch.lstm": 0, "torch.gru": 0, "torch.rnn_tanh": 0}
for name in ("lstm", "gru", "rnn_tanh"):
    def counted(*arguments, _real=getattr(torch, name), _name=name):
        used[f"torch.{_name}"] += 1
        return _real(*arguments)
    setattr(torch, name, counted)
from workshops.fast import torch_loops
class Counted(torch_loops.Passed):
    def __init__(self, kind, *rest):
        used[f"own {kind}"] = used.get(f"own {kind}", 0) + 1
        super().__init__(kind, *rest)
torch_loops.Passed = Counted


def pair(make, steps, width, how):
    models = []
    for quick in (False, True):
        keras.utils.set_random_seed(5)
        inputs = keras.Input((steps, width))
        model = keras.Model(inputs, make()(inputs))
        if quick:
            assert fast.quicken(model, how) > 0
            model.set_weights(weights)
        weights = [np.random.default_rng(i).normal(0, 0.5, w.shape) for i, w in enumerate(model.get_weights())]
        model.set_weights(weights)
        models.append(model)
    return models


def run(model, x, training):
    x = torch.tensor(x, requires_grad=True)
    out = model(x, training=training)
    outs = list(out) if isinstance(out, list | tuple) else [out]
    loss = sum((o * torch.arange(1, o.numel() + 1, dtype=o.dtype).reshape(o.shape).cos()).sum() for o in outs)
    model.zero_grad()
    loss.backward()
    weights = [v.value.grad.numpy() for v in model.trainable_variables]
    return [o.detach().numpy() for o in outs], [x.grad.numpy(), *weights]


@settings(max_examples=int(sys.argv[1]), deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(["LSTM", "GRU", "SimpleRNN"]), batch=st.sampled_from([1, 3, 5, 8, 13]),
    steps=st.integers(1, 9), width=st.integers(1, 6), units=st.integers(1, 7), bias=st.booleans(),
    sequences=st.booleans(), state=st.booleans(), backwards=st.booleans(), training=st.booleans(),
    merge=st.sampled_from(["none", "concat", "sum", "mul", "ave"]),
    how=st.sampled_from(["fast", "split", "loops", None]),
)
def check(how, kind, batch, steps, width, units, bias, sequences, state, backwards, merge, training):
    def make():
        layer = getattr(keras.layers, kind)(units, use_bias=bias, return_sequences=sequences, return_state=state,
                                            go_backwards=backwards and merge == "none")
        return layer if merge == "none" else keras.layers.Bidirectional(layer, merge_mode=merge)
    stock, quick = pair(make, steps, width, how)
    x = np.random.default_rng(7).normal(size=(batch, steps, width)).astype("float32")
    before = sum(used.values())
    (a, da), (b, db) = run(stock, x, training), run(quick, x, training)
    assert sum(used.values()) > before, "the fast kernel did not run"
    for one, other in zip(a + da, b + db, strict=True):
        assert np.abs(one - other).max() <= 1e-5 * max(1.0, np.abs(one).max())

check()
print(json.dumps(used))
"""

ON_TENSORFLOW = """
import json, sys
import numpy as np, tensorflow as tf, keras
from hypothesis import given, settings, strategies as st
from workshops import fast
from workshops.fast import tensorflow_loops

used = {}
class Counted(tensorflow_loops.Passed):
    def __init__(self, kind, *rest):
        used[kind] = used.get(kind, 0) + 1
        super().__init__(kind, *rest)
tensorflow_loops.Passed = Counted
many = []


def run(model, x, training, graph):
    x = tf.constant(x)
    def go():
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = model(x, training=training)
            outs = list(out) if isinstance(out, list | tuple) else [out]
            falls = [tf.cos(tf.reshape(tf.cast(tf.range(1, tf.size(o) + 1), o.dtype), tf.shape(o))) for o in outs]
            loss = sum(tf.reduce_sum(o * fall) for o, fall in zip(outs, falls, strict=True))
        return outs, tape.gradient(loss, [x, *[v.value for v in model.trainable_variables]])
    outs, grads = (tf.function(go) if graph else go)()
    return [np.array(o) for o in outs], [np.array(tf.convert_to_tensor(g)) for g in grads]


@settings(max_examples=int(sys.argv[1]), deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(["LSTM", "GRU"]), batch=st.sampled_from([1, 3, 5, 8, 13]),
    steps=st.integers(1, 9), width=st.integers(1, 6), units=st.integers(1, 7), bias=st.booleans(),
    sequences=st.booleans(), state=st.booleans(), backwards=st.booleans(), training=st.booleans(),
    merge=st.sampled_from(["none", "concat", "mul"]), graph=st.booleans(),
)
def check(kind, batch, steps, width, units, bias, sequences, state, backwards, merge, training, graph):
    models = []
    for quick in (False, True):
        keras.utils.set_random_seed(5)
        layer = getattr(keras.layers, kind)(units, use_bias=bias, return_sequences=sequences, return_state=state,
                                            go_backwards=backwards and merge == "none")
        layer = layer if merge == "none" else keras.layers.Bidirectional(layer, merge_mode=merge)
        inputs = keras.Input((steps, width))
        model = keras.Model(inputs, layer(inputs))
        if quick:
            assert fast.quicken(model, "loops") > 0
        model.set_weights([np.random.default_rng(i).normal(0, 0.5, w.shape) for i, w in enumerate(model.get_weights())])
        models.append(model)
    x = np.random.default_rng(7).normal(size=(batch, steps, width)).astype("float32")
    before = sum(used.values())
    (a, da), (b, db) = [run(model, x, training, graph) for model in models]
    assert sum(used.values()) > before, "the compiled kernel did not run"
    many.append(len(tensorflow_loops._passed))
    for one, other in zip(a + da, b + db, strict=True):
        assert np.abs(one - other).max() <= 1e-5 * max(1.0, np.abs(one).max())

check()
assert max(many) == 0, "a step that went back leaves nothing"
inputs = keras.Input((4, 2))
model = keras.Model(inputs, keras.layers.LSTM(3)(inputs))
fast.quicken(model, "loops")
x = tf.ones((5, 4, 2))
for _ in range(3 * tensorflow_loops.MAX_STORED):
    model(x, training=True)
assert len(tensorflow_loops._passed) == tensorflow_loops.MAX_STORED
with tf.GradientTape() as tape:
    out = model(x, training=True)
    for _ in range(2 * tensorflow_loops.MAX_STORED):
        model(x, training=True)
gone = tape.gradient(out, model.trainable_variables[0].value)
with tf.GradientTape() as tape:
    out = model(x, training=True)
assert np.allclose(gone, tape.gradient(out, model.trainable_variables[0].value)), "computed again"
nan = model.predict(np.full((2, 4, 2), np.nan, "float32"), verbose=0)
assert np.isnan(nan).all(), "what is no number stays none"
model.compile("sgd", "mse", steps_per_execution=2)
assert model.jit_compile is False
model.fit(np.ones((12, 4, 2)), np.ones((12, 3)), batch_size=3, verbose=0)
print(json.dumps(used))
"""

FALL_BACK = """
import json
import numpy as np, torch, keras
from workshops import fast

def forbidden(*_):
    raise AssertionError("the fast kernel ran")

cases = {
    "activation": lambda: keras.layers.LSTM(3, activation="sigmoid"),
    "recurrent_dropout": lambda: keras.layers.LSTM(3, recurrent_dropout=0.5),
    "dropout": lambda: keras.layers.LSTM(3, dropout=0.5),
    "unroll": lambda: keras.layers.GRU(3, unroll=True),
    "reset_before": lambda: keras.layers.GRU(3, reset_after=False),
    "relu": lambda: keras.layers.SimpleRNN(3, activation="relu"),
    "half": lambda: keras.layers.LSTM(3, dtype="mixed_bfloat16"),
}
torch.lstm = torch.gru = torch.rnn_tanh = forbidden
ran = []
for name, make in cases.items():
    inputs = keras.Input((4, 2))
    model = keras.Model(inputs, make()(inputs))
    fast.quicken(model)
    assert model(np.ones((2, 4, 2), "float32"), training=True).shape == (2, 3)
    ran.append(name)
tokens = keras.Input((4,), dtype="int32")
model = keras.Model(tokens, keras.layers.LSTM(3)(keras.layers.Embedding(5, 2, mask_zero=True)(tokens)))
fast.quicken(model)
model(np.array([[0, 0, 1, 2]]))
ran.append("mask")
print(json.dumps(ran))
"""

SAVED = """
import json, sys
import numpy as np, keras
from workshops import fast; from workshops.models import workshop as models
model = models.build("bilstm", length=6)
assert fast.quicken(model) == 2
assert fast.quicken(model) == 0
tokens = np.random.default_rng(0).integers(0, 1000, (3, 6))
told = model.predict(tokens, verbose=0)
model.save(sys.argv[1])
again = keras.saving.load_model(sys.argv[1])
inner = again.get_layer("bilstm").forward_layer
assert type(inner) is keras.layers.LSTM, type(inner)
assert np.abs(again.predict(tokens, verbose=0) - told).max() < 1e-5
print(json.dumps("kept"))
"""


Frameworks = Callable[[str], Framework]


def examples(usual: int) -> str:
    return str(usual if settings.default.max_examples <= 100 else 10 * usual)


def _run(framework: Framework, script: str, *arguments: str) -> object:
    done = framework.run(script, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.search
def test_outputs_and_gradients_are_those_of_the_stock_layer(frameworks: Frameworks) -> None:
    used = _run(frameworks("torch"), SAME, examples(100))
    assert isinstance(used, dict)
    assert used["torch.lstm"] > 5
    assert used["torch.gru"] > 5
    assert used["torch.rnn_tanh"] > 5
    assert used["own lstm"] > 5
    assert used["own gru"] > 5


@pytest.mark.search
def test_the_loops_on_tensorflow_equal_the_stock_layer(frameworks: Frameworks) -> None:
    pytest.importorskip("numba")
    used = _run(frameworks("tensorflow"), ON_TENSORFLOW, examples(20))
    assert isinstance(used, dict)
    assert used["lstm"] > 5
    assert used["gru"] > 5


def test_only_the_products_that_numba_calls_go_to_one_thread(frameworks: Frameworks) -> None:
    pytest.importorskip("numba")
    script = """
    import json, numpy as np, threadpoolctl
    from workshops.fast import recurrence
    def threads(part):
        every = threadpoolctl.threadpool_info()
        return [one["num_threads"] for one in every if f"/{part}.libs/" in one["filepath"]]
    before = threads("numpy")
    recurrence.one_thread_each()
    assert set(threads("scipy")) <= {1}, threads("scipy")
    assert threads("numpy") == before
    print(json.dumps("so"))
    """
    assert _run(frameworks("tensorflow"), script) == "so"


def test_without_numba_the_kernels_of_the_backend_are_used(frameworks: Frameworks) -> None:
    script = """
    import json, sys
    sys.modules["numba"] = None
    import importlib.util
    real = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *rest: None if name == "numba" else real(name, *rest)
    import keras, numpy as np
    from bench.run import tune_candidates as candidates
    from workshops import fast
    assert not [s for s in candidates.candidates(["tensorflow", "torch", "jax"], False) if s.layers == "loops"]
    for how in ("loops", None):
        inputs = keras.Input((4, 2))
        model = keras.Model(inputs, keras.layers.GRU(3)(inputs))
        fast.quicken(model, how)
        assert model.predict(np.ones((2, 4, 2)), verbose=0).shape == (2, 3)
    print(json.dumps("served"))
    """
    assert _run(frameworks("tensorflow"), script) == "served"
    assert _run(frameworks("torch"), script) == "served"


def test_unsupported_layers_use_the_stock_loop(frameworks: Frameworks) -> None:
    ran = _run(frameworks("torch"), FALL_BACK)
    assert ran == [
        "activation",
        "recurrent_dropout",
        "dropout",
        "unroll",
        "reset_before",
        "relu",
        "half",
        "mask",
    ]


def test_a_saved_model_names_the_stock_layers(tmp_path: object, frameworks: Frameworks) -> None:
    assert _run(frameworks("torch"), SAVED, f"{tmp_path}/model.keras") == "kept"


def test_a_worker_on_torch_can_tell_its_versions(frameworks: Frameworks) -> None:
    script = """
    import json, msgspec
    from bench.measure import backend
    print(msgspec.json.encode(backend.versions("torch")).decode())
    """
    versions = _run(frameworks("torch"), script)
    assert isinstance(versions, dict)
    assert versions["torch"][0].isdigit()
