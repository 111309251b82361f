"""Which recurrent kernel runs: evidence is found where it is, missed where it is not, and the culprit is named."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import Any

import msgspec
import pytest

from bench.measure.kernel_path import FUSED, Recurrent, judge, why_generic

GOOD = Recurrent(name="lstm", kind="LSTM")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"activation": "sigmoid"}, "activation='sigmoid'"),
        ({"recurrent_activation": "hard_sigmoid"}, "recurrent_activation"),
        ({"recurrent_dropout": 0.2}, "recurrent_dropout=0.2"),
        ({"unroll": True}, "unroll"),
        ({"use_bias": False}, "use_bias"),
        ({"kind": "GRU", "reset_after": False}, "reset_after"),
        ({"masked": True}, "mask"),
        ({"use_cudnn": False}, "use_cudnn=False"),
        ({"kind": "SimpleRNN"}, "SimpleRNN"),
    ],
)
@pytest.mark.parametrize("backend", FUSED)
def test_each_argument_that_costs_the_fused_kernel_is_named_alone(
    change: dict[str, Any], word: str, backend: str
) -> None:
    reasons = why_generic(msgspec.structs.replace(GOOD, **change), backend, "3.15.1")
    if backend == "jax" and change.get("kind") == "GRU":
        reasons = [r for r in reasons if "no fused GRU" not in r]
    assert len(reasons) == 1
    assert word in reasons[0]


@pytest.mark.parametrize(
    ("backend", "kind", "version", "fused"),
    [
        ("tensorflow", "LSTM", "3.9.2", True),
        ("tensorflow", "GRU", "3.15.1", True),
        ("torch", "LSTM", "3.14.1", False),
        ("torch", "GRU", "3.14.0", True),
        ("torch", "LSTM", "3.15.0", True),
        ("torch", "GRU", "3.13.2", False),
        ("jax", "LSTM", "3.13.0", False),
        ("jax", "LSTM", "3.14.0", True),
        ("jax", "GRU", "3.15.1", False),
    ],
)
def test_what_each_version_can_do(backend: str, kind: str, version: str, fused: bool) -> None:
    assert (not why_generic(Recurrent(name="x", kind=kind), backend, version)) is fused


def test_evidence_decides_not_the_arguments() -> None:
    assert judge(["MatMul", "CudnnRNNV3"], [GOOD], "tensorflow", "3.15.1").path == "fused"
    silent = judge(["MatMul", "While"], [GOOD], "tensorflow", "3.15.1")
    assert silent.path == "generic"
    assert "without a word" in silent.why[0]
    named = judge(["While"], [msgspec.structs.replace(GOOD, unroll=True)], "tensorflow", "3.15.1")
    assert named.why == ("lstm: unroll=True",)


def in_a_child(backend: str, code: str) -> str:
    pytest.importorskip(backend, exc_type=ImportError)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tensorflow_s_operation_is_found_inside_a_called_function() -> None:
    out = in_a_child(
        "tensorflow",
        """
        import numpy as np, tensorflow as tf
        from bench.measure.kernel_path import _tensorflow_operations, operations_of_graph, recurrent_layers
        from workshops import models
        @tf.function
        def inner(x, h, c, p):
            return tf.raw_ops.CudnnRNNV3(input=x, input_h=h, input_c=c, params=p,
                                         sequence_lengths=tf.constant([3, 3]), is_training=True)[0]
        outer = tf.function(lambda x, h, c, p: inner(x, h, c, p))
        shapes = [tf.TensorSpec(s) for s in ([5, 2, 4], [1, 2, 3], [1, 2, 3], [108])]
        print("CudnnRNNV3" in operations_of_graph(outer.get_concrete_function(*shapes).graph))
        model = models.build("bilstm", length=12)
        names = _tensorflow_operations(model, np.zeros((2, 12), np.int32))
        print("CudnnRNNV3" in names, len(names) > 20, [(r.kind, r.masked) for r in recurrent_layers(model)])
        """,
    )
    assert out.split("\n")[:2] == ["True", "False True [('LSTM', False), ('LSTM', False)]"]


def test_jax_s_primitive_is_found_inside_an_inner_program() -> None:
    out = in_a_child(
        "jax",
        """
        import jax, jax.numpy as jnp, numpy as np
        from jax.experimental import rnn
        from bench.measure.kernel_path import _jax_primitives, primitives_of
        from workshops import models
        import jaxlib.gpu_rnn  # asks the card how much room it needs; there is none here
        jaxlib.gpu_rnn.compute_rnn_workspace_reserve_space_sizes = lambda *a, **k: (0, 0)
        size = rnn.get_num_params_in_lstm(4, 3, 1, False)
        def fused(weights, x):
            zero = jnp.zeros((1, 2, 3))
            return rnn.lstm(x, zero, zero, weights, jnp.array([5, 5]), 4, 3, 1, 0.0, False)[0]
        program = jax.make_jaxpr(jax.jit(fused))(jnp.zeros(size), jnp.zeros((2, 5, 4)))
        print(any("rnn_fwd" in name for name in primitives_of(program.jaxpr)))
        names = _jax_primitives(models.build("lstm", length=12), np.zeros((2, 12), np.int32))
        print(any("rnn_fwd" in name for name in names), "dot_general" in names)
        """,
    )
    assert out.split("\n")[:2] == ["True", "False True"]


def test_torch_s_profiler_sees_the_operations_of_a_model() -> None:
    out = in_a_child(
        "torch",
        """
        import numpy as np
        from bench.measure.kernel_path import _torch_operations
        from workshops import models
        names = _torch_operations(models.build("gru", length=6), np.zeros((2, 6), np.int32))
        print(any("_cudnn_rnn" in name for name in names), any(name.startswith("aten::") for name in names))
        """,
    )
    assert out.split("\n")[0] == "False True"
