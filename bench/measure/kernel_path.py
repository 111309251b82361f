"""Which recurrent kernel runs: found in the operations that the framework executes, not in the arguments of a layer.

Evidence, by backend: TensorFlow puts an operation ``CudnnRNNV3`` into the traced graph; torch's profiler
reports ``aten::_cudnn_rnn``; in JAX's program the fused call is the primitive ``rnn_fwd``. Only the forward pass is
examined: each operation occurs once per layer, and has to occur for every layer. If some are missing,
:func:`why_generic` names the argument that prevents them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

FUSED = {"tensorflow": "CudnnRNNV3", "torch": "aten::_cudnn_rnn", "jax": "rnn_fwd"}
"""Name of the fused kernel in the operations of each backend; it has to match exactly."""

GATE, GATES = "aten::sigmoid", 8
"""On torch, this many separate gate operations mean that Keras' loop over the steps ran (two or three per step). The
models here have at least four steps, and at most one sigmoid that is not a gate.

This test is needed because Keras catches every exception of the cuDNN call and continues with that loop, while the call
remains in the profile.
"""

Path = Literal["fused", "generic", "none"]


class Kernels(msgspec.Struct, frozen=True, tag="kernels", kw_only=True):
    """``path``: "fused" if all recurrent layers use the fused kernel, "none" if the model has none.

    ``why``: the reasons against the fused kernel. ``unavoidable``: True if the only reason is that Keras has no such
    kernel, so that no other argument or version helps.
    """

    path: Path
    evidence: str
    why: tuple[str, ...] = ()
    unavoidable: bool = False


class Recurrent(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of one recurrent layer that decide which kernel it uses."""

    name: str
    kind: str
    """"LSTM", "GRU" or "SimpleRNN"."""
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    recurrent_dropout: float = 0.0
    unroll: bool = False
    use_bias: bool = True
    reset_after: bool = True
    masked: bool = False
    use_cudnn: bool | str = "auto"
    pair: str = ""
    """The Bidirectional layer that contains this layer as one of its directions; None if there is none."""


def recurrent_layers(model: Any) -> list[Recurrent]:
    """The recurrent layers of a Keras model in order, including those inside wrappers."""
    found = []
    for outer, layer in ((own, inner) for own in model.layers for inner in flat([own])):
        kind = type(layer).__name__
        if kind not in ("LSTM", "GRU", "SimpleRNN"):
            continue
        config = layer.get_config()
        names = {f.name for f in msgspec.structs.fields(Recurrent)} - {"name", "kind", "masked", "use_cudnn"}
        found.append(
            Recurrent(
                name=layer.name,
                kind=kind,
                masked=_is_masked(model),
                use_cudnn=getattr(layer, "use_cudnn", "auto"),
                pair=outer.name if hasattr(outer, "backward_layer") else "",
                **{key: value for key, value in config.items() if key in names},
            )
        )
    return found


def no_fused_kernel(layer: Recurrent, backend: str) -> str | None:
    """A clause that says that Keras has no fused kernel for this kind of layer on ``backend``; None if it has one."""
    if layer.kind == "SimpleRNN":
        return "Keras has no fused kernel for SimpleRNN"
    if backend == "jax" and layer.kind == "GRU":
        return "Keras on JAX has no fused GRU"
    return None


def why_generic(layer: Recurrent, backend: str, keras_version: str) -> list[str]:
    """All reasons why ``layer`` cannot use the fused kernel; empty if it can.

    Source: the conditions in Keras 3.15 (``cudnn_ok`` of each backend) and, by version, the abilities of earlier
    releases.
    """
    version = tuple(int(part) for part in keras_version.split(".")[:2])
    reasons = []
    none = no_fused_kernel(layer, backend)
    if none and layer.kind == "SimpleRNN":
        return [f"{layer.name}: {none}"]
    if layer.use_cudnn is False:
        reasons.append("use_cudnn=False")
    if layer.activation != "tanh":
        reasons.append(f"activation={layer.activation!r} (the fused kernel needs tanh)")
    if layer.recurrent_activation != "sigmoid":
        reasons.append(
            f"recurrent_activation={layer.recurrent_activation!r} (the fused kernel needs sigmoid)"
        )
    if layer.recurrent_dropout:
        reasons.append(f"recurrent_dropout={layer.recurrent_dropout}")
    if layer.unroll:
        reasons.append("unroll=True")
    if not layer.use_bias:
        reasons.append("use_bias=False")
    if layer.kind == "GRU" and not layer.reset_after:
        reasons.append("reset_after=False")
    if layer.masked:
        reasons.append(
            "a mask before the layer"
            + (
                " (the fused kernel supports right-padded masks only)"
                if backend == "tensorflow"
                else " (Keras falls back with any mask)"
            )
        )
    if none:
        reasons.append(none)
    if backend == "jax" and version < (3, 14):
        reasons.append(f"Keras {keras_version} on JAX (support begins with 3.14)")
    if backend == "torch" and version < (3, 15) and layer.kind == "LSTM":
        reasons.append(f"Keras {keras_version} on torch falls back without a warning (fixed in 3.15)")
    if backend == "torch" and version < (3, 14) and layer.kind == "GRU":
        reasons.append(f"Keras {keras_version} on torch (support begins with 3.14)")
    return [f"{layer.name}: {reason}" for reason in reasons]


def look(model: Any, batch: Any, backend: str, *, on_gpu: bool, keras_version: str) -> Kernels:
    """Examine the operations that ``model`` executes for ``batch`` (int32, (rows, tokens)) in training."""
    layers = recurrent_layers(model)
    if not layers:
        return Kernels(path="none", evidence="the model has no recurrent layer")
    if not on_gpu:
        return Kernels(path="generic", evidence="no GPU; the fused recurrent kernels belong to cuDNN")
    seen = {"tensorflow": _tensorflow_operations, "torch": _torch_operations, "jax": _jax_primitives}[
        backend
    ](model, batch)
    return judge(seen, layers, backend, keras_version)


def judge(seen: Iterable[str], layers: list[Recurrent], backend: str, keras_version: str) -> Kernels:
    """The kernel to which the operations in ``seen`` belong, and the reasons if it is not the fused kernel."""
    names = Counter(seen)
    wanted, gates = FUSED[backend], names[GATE]
    count, expected = names[wanted], _calls(layers, backend)
    explained = [why_generic(layer, backend, keras_version) for layer in layers]
    why = tuple(reason for reasons in explained for reason in reasons)
    looped = gates >= GATES
    # On torch one call may compute both directions, so the count cannot prove that every layer is fused.
    if count >= expected and not looped and not (why and backend == "torch"):
        return Kernels(path="fused", evidence=f"{backend} executes {wanted} {count} times", why=why)
    if not count:
        evidence = f"{backend} does not execute {wanted}"
    elif count < expected:
        evidence = f"{backend} executes {wanted} for {count} of {expected} recurrent layers only"
    elif looped:
        evidence = f"{backend} executes {wanted}, but also a loop over the steps ({gates} times {GATE})"
    else:
        evidence = f"{backend} executes {wanted} {count} times, but not for every recurrent layer"
    able = [layer for layer, reasons in zip(layers, explained, strict=True) if not reasons]
    if count < _calls(able, backend) or (looped and not why):
        named = ", ".join(layer.name for layer in able)
        why += (f"{named}: no argument explains it; Keras or the driver fell back without a warning",)
    limits = sum(no_fused_kernel(layer, backend) is not None for layer in layers)
    return Kernels(path="generic", evidence=evidence, why=why, unavoidable=0 < limits == len(why))


def _calls(layers: list[Recurrent], backend: str) -> int:
    """The smallest number of calls of the fused kernel if all ``layers`` use it.

    TensorFlow calls it once per direction, and JAX's primitive is counted in the same way. Keras 3.15 on torch calls it
    once for both directions of a Bidirectional layer, or once for each if they differ.
    """
    return len({layer.pair or layer.name for layer in layers}) if backend == "torch" else len(layers)


def flat(layers: Iterable[Any]) -> Iterable[Any]:
    """``layers`` with wrappers such as Bidirectional replaced by the layers inside them."""
    for layer in layers:
        inner = [getattr(layer, name, None) for name in ("forward_layer", "backward_layer", "layer")]
        inner = [one for one in inner if one is not None]
        yield from flat(inner) if inner else (layer,)


def _is_masked(model: Any) -> bool:
    return any(
        getattr(layer, "mask_zero", False) or type(layer).__name__ == "Masking" for layer in model.layers
    )


def _tensorflow_operations(model: Any, batch: Any) -> list[str]:
    import tensorflow as tf

    forward = tf.function(lambda tokens: model(tokens, training=True))
    return operations_of_graph(forward.get_concrete_function(tf.constant(batch)).graph)


def operations_of_graph(graph: Any) -> list[str]:
    """Names of all operations of a TensorFlow graph and of the functions that it calls."""
    definition = graph.as_graph_def()
    nodes = list(definition.node)
    for function in definition.library.function:
        nodes += function.node_def
    return [node.op for node in nodes]


def _torch_operations(model: Any, batch: Any) -> list[str]:
    import torch
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        model(torch.as_tensor(batch), training=True)
    return [event.key for event in profiler.key_averages() for _ in range(event.count)]


def _jax_primitives(model: Any, batch: Any) -> list[str]:
    import jax

    def forward(weights: Any, others: Any, tokens: Any) -> Any:
        return model.stateless_call(weights, others, tokens, training=True)

    weights = [v.value for v in model.trainable_variables]
    others = [v.value for v in model.non_trainable_variables]
    return primitives_of(jax.make_jaxpr(forward)(weights, others, batch).jaxpr)


def primitives_of(program: Any) -> list[str]:
    """Names of all primitives of a JAX program (a jaxpr) and of the programs inside it.

    A primitive that computes both directions at once, as ``rnn_fwd`` can, is listed twice.
    """
    names = []
    for equation in program.eqns:
        names += [str(equation.primitive)] * (2 if equation.params.get("bidirectional") else 1)
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    names += primitives_of(inner)
    return names
