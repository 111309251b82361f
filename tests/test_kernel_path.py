"""Which recurrent kernel runs: fused kernels are found, missing ones are detected, and the reason is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from bench.finding import Finding, Status
from bench.judge import training
from bench.measure.kernel_path import FUSED, GATE, Kernels, Recurrent, judge, why_generic
from bench.results.record.document import Kernel
from tests.frameworks import Framework
from tests.samples import result

GOOD = Recurrent(name="lstm", kind="LSTM")
PAIR = [msgspec.structs.replace(GOOD, name=f"{way}_lstm", pair="bilstm") for way in ("forward", "backward")]


def found(kernels: Kernels) -> Finding:
    """The finding of the kernel on a card."""
    kernel = Kernel(
        path=kernels.path, evidence=kernels.evidence, why=kernels.why, unavoidable=kernels.unavoidable
    )
    findings = training.judge(result(on_gpu=True, kernel=kernel), gpu_expected=True)
    return next(finding for finding in findings if finding.id == "training.lstm-kernel")


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
def test_each_argument_that_prevents_the_fused_kernel_is_named(
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
def test_the_support_of_each_keras_version(backend: str, kind: str, version: str, fused: bool) -> None:
    assert (not why_generic(Recurrent(name="x", kind=kind), backend, version)) is fused


def test_executed_operations_decide_not_the_arguments() -> None:
    assert judge(["MatMul", "CudnnRNNV3"], [GOOD], "tensorflow", "3.15.1").path == "fused"
    silent = judge(["MatMul", "While"], [GOOD], "tensorflow", "3.15.1")
    assert silent.path == "generic"
    assert "without a warning" in silent.why[0]
    named = judge(["While"], [msgspec.structs.replace(GOOD, unroll=True)], "tensorflow", "3.15.1")
    assert named.why == ("lstm: unroll=True",)


@pytest.mark.parametrize("backend", FUSED)
@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"activation": "sigmoid"}, "activation='sigmoid'"),
        ({"recurrent_dropout": 0.2}, "recurrent_dropout=0.2"),
        ({"unroll": True}, "unroll=True"),
        ({"use_cudnn": False}, "use_cudnn=False"),
        ({"kind": "GRU", "reset_after": False}, "reset_after=False"),
        ({}, "no argument explains it"),
    ],
)
def test_a_fused_layer_does_not_hide_a_generic_one(backend: str, change: dict[str, Any], word: str) -> None:
    layers = [
        msgspec.structs.replace(GOOD, name="below"),
        msgspec.structs.replace(GOOD, name="above", **change),
    ]
    told = judge(["MatMul", FUSED[backend], "While"], layers, backend, "3.15.1")
    assert told.path == "generic"
    assert "for 1 of 2 recurrent layers only" in told.evidence
    finding = found(told)
    assert finding.status is Status.FAIL
    assert "above: " + word in finding.message
    assert "below: " not in finding.message
    sound = [layers[0], msgspec.structs.replace(GOOD, name="above")]
    assert judge([FUSED[backend]] * 2, sound, backend, "3.15.1").path == "fused"


def test_tensorflow_runs_the_fused_kernel_with_a_mask() -> None:
    masked = [msgspec.structs.replace(GOOD, masked=True)]
    assert found(judge(["CudnnRNNV3"], masked, "tensorflow", "3.15.1")).status is Status.PASS
    assert found(judge(["aten::_cudnn_rnn"], masked, "torch", "3.15.1")).status is Status.FAIL


@pytest.mark.parametrize(("backend", "calls"), [("tensorflow", 2), ("jax", 2), ("torch", 1), ("torch", 2)])
def test_only_on_torch_one_call_can_compute_both_directions(backend: str, calls: int) -> None:
    assert judge([FUSED[backend]] * calls, PAIR, backend, "3.15.1").path == "fused"
    assert judge([FUSED[backend]] * (calls - 1), PAIR, backend, "3.15.1").path == (
        "fused" if (backend, calls) == ("torch", 2) else "generic"
    )
    one_off = [PAIR[0], msgspec.structs.replace(PAIR[1], recurrent_activation="hard_sigmoid")]
    told = judge([FUSED[backend]], one_off, backend, "3.15.1")
    assert told.path == "generic"
    assert told.why == (
        "backward_lstm: recurrent_activation='hard_sigmoid' (the fused kernel needs sigmoid)",
    )


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        ("torch", "aten::_cudnn_rnn_flatten_weight"),
        ("torch", "aten::_cudnn_rnn_backward"),
        ("tensorflow", "CudnnRNNV3Grad"),
        ("jax", "rnn_fwd_other"),
    ],
)
def test_a_longer_operation_name_is_not_the_fused_kernel(backend: str, name: str) -> None:
    told = judge([name], [GOOD], backend, "3.15.1")
    assert told.path == "generic"
    assert "does not execute" in told.evidence


def test_a_failed_call_on_torch_is_detected_by_the_loop_after_it() -> None:
    steps = ["aten::matmul", *[GATE] * 3] * 4
    told = judge(["aten::_cudnn_rnn", *steps], [GOOD], "torch", "3.15.1")
    assert told.path == "generic"
    assert "12 times aten::sigmoid" in told.evidence
    assert "without a warning" in found(told).message
    old = judge(["aten::_cudnn_rnn", *steps], [GOOD], "torch", "3.14.1")
    assert len(old.why) == 1
    assert "3.14.1" in old.why[0]
    assert judge(["aten::_cudnn_rnn", GATE], [GOOD], "torch", "3.15.1").path == "fused"


def test_a_gru_on_jax_does_not_hide_a_generic_lstm() -> None:
    layers = [GOOD, Recurrent(name="gru", kind="GRU")]
    assert found(judge(["rnn_fwd", "scan"], layers, "jax", "3.15.1")).status is Status.SKIP
    silent = found(judge(["scan", "scan"], layers, "jax", "3.15.1"))
    assert silent.status is Status.FAIL
    assert "lstm: no argument explains it" in silent.message


Frameworks = Callable[[str], Framework]


def in_a_child(framework: Framework, code: str) -> str:
    done = framework.run(code)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tensorflow_s_operation_is_found_inside_a_called_function(frameworks: Frameworks) -> None:
    out = in_a_child(
        frameworks("tensorflow"),
        """
        import numpy as np, tensorflow as tf
        from bench.measure.kernel_path import _tensorflow_operations, operations_of_graph, recurrent_layers
        from workshops.models import workshop as models
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


def test_jax_s_primitive_is_found_inside_an_inner_program(frameworks: Frameworks) -> None:
    out = in_a_child(
        frameworks("jax"),
        """
        import jax, jax.numpy as jnp, numpy as np
        from jax.experimental import rnn
        from bench.measure.kernel_path import _jax_primitives, primitives_of
        from workshops.models import workshop as models
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


def test_torch_s_profiler_reports_the_operations_of_a_model(frameworks: Frameworks) -> None:
    out = in_a_child(
        frameworks("torch"),
        """
        import numpy as np
        from bench.measure.kernel_path import _torch_operations
        from workshops.models import workshop as models
        names = _torch_operations(models.build("gru", length=6), np.zeros((2, 6), np.int32))
        print(any("_cudnn_rnn" in name for name in names), any(name.startswith("aten::") for name in names))
        """,
    )
    assert out.split("\n")[0] == "False True"


@pytest.mark.parametrize("backend", FUSED)
def test_workshop_models_are_fused_and_a_layer_without_cudnn_is_named(
    backend: str, frameworks: Frameworks
) -> None:
    """Keras calls cuDNN on TensorFlow and JAX; on torch the calls are replaced by ones that return zeros."""
    out = in_a_child(
        frameworks(backend),
        f"""
        import json
        from tests import fused_keras
        fused_keras.pretend({backend!r})
        deep = ("deep-lstm", "seq2seq", "bilstm")
        off = {{(name, at): fused_keras.look(name, {backend!r}, at) for name in deep for at in (0, 1)}}
        told = [[*key, kernels.path, kernels.evidence, kernels.why] for key, kernels in off.items()]
        print(json.dumps([fused_keras.suite({backend!r}), told]))
        """,
    )
    paths, off = json.loads(out.splitlines()[-1])
    never = {"simple-rnn"} | ({"gru", "gru-text-gen"} if backend == "jax" else set())
    assert {name for name, path in paths.items() if path == "none"} == {"cnn", "sign-cnn"}
    assert {name for name, path in paths.items() if path == "generic"} == never
    assert len(off) == 6
    for name, at, path, evidence, why in off:
        assert path == "generic", name
        assert f"{backend} executes {FUSED[backend]}" in evidence
        assert len(why) == 1
        assert why[0].startswith(
            {
                "deep-lstm": ("lstm_below", "lstm_above"),
                "seq2seq": ("encoder", "decoder"),
                "bilstm": ("forward_lstm", "backward_lstm"),
            }[name][at]
        )
        assert why[0].endswith("use_cudnn=False")


def test_keras_loop_after_a_failed_call_is_found_in_torch_s_profile(frameworks: Frameworks) -> None:
    out = in_a_child(
        frameworks("torch"),
        """
        import json
        from tests import fused_keras
        fused_keras.fail_after_the_call()
        seen = [fused_keras.look(name, "torch") for name in ("lstm", "gru", "bilstm", "cnn-lstm", "seq2seq")]
        print(json.dumps([[kernels.path, kernels.evidence, kernels.why] for kernels in seen]))
        """,
    )
    for path, evidence, why in json.loads(out.splitlines()[-1]):
        assert path == "generic"
        assert "also a loop over the steps" in evidence
        assert "no argument explains it" in why[0]
