"""Which recurrent kernel really runs: looked for in what the framework is about to execute, never in a flag.

Evidence, by backend: TensorFlow puts an operation ``CudnnRNNV3`` into the traced graph; torch's profiler
sees ``aten::_cudnn_rnn``; in JAX's program the fused call is the primitive ``rnn_fwd``. It is looked at going
forward alone, so each is there once a layer, and has to be there for every layer. Where some of the evidence is
missing, :func:`why_generic` names the argument that cost it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

FUSED = {"tensorflow": "CudnnRNNV3", "torch": "aten::_cudnn_rnn", "jax": "rnn_fwd"}
"""What the fused kernel is called where each backend can be looked into; names that only contain it are others."""

GATE, GATES = "aten::sigmoid", 8
"""On torch, so many gates worked out by themselves are Keras' loop over the steps, at two or three a step: the models
here have four steps at least, and at most one sigmoid that is no gate.

It has to be looked for: Keras catches whatever cuDNN's call raises and goes on in that loop, and the call stays in
the profile.
"""

Path = Literal["fused", "generic", "none"]


class Kernels(msgspec.Struct, frozen=True, tag="kernels", kw_only=True):
    """``path``: "fused" where every recurrent layer is, "none" where the model has none. ``why``: what stands in the
    fused kernel's way. ``unavoidable``: all of it is the lack of such a kernel in Keras, so no argument or version
    helps."""

    path: Path
    evidence: str
    why: tuple[str, ...] = ()
    unavoidable: bool = False


class Recurrent(msgspec.Struct, frozen=True, kw_only=True):
    """What decides the kernel of one recurrent layer."""

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
    """The Bidirectional layer of which this is one direction."""


def recurrent_layers(model: Any) -> list[Recurrent]:
    """The recurrent layers of a Keras model, those inside wrappers too, in order."""
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
    """Why Keras has no fused kernel at all for this kind of layer on ``backend``, or None where it has one."""
    if layer.kind == "SimpleRNN":
        return "Keras has no fused kernel for SimpleRNN"
    if backend == "jax" and layer.kind == "GRU":
        return "Keras on JAX has no fused GRU"
    return None


def why_generic(layer: Recurrent, backend: str, keras_version: str) -> list[str]:
    """Every reason for which ``layer`` cannot use the fused kernel; none when it should be able to.

    Source: Keras 3.15's own conditions (``cudnn_ok`` of each backend) and, by version, what earlier
    releases could do.
    """
    version = tuple(int(part) for part in keras_version.split(".")[:2])
    reasons = []
    none = no_fused_kernel(layer, backend)
    if none and layer.kind == "SimpleRNN":
        return [f"{layer.name}: {none}"]
    if layer.use_cudnn is False:
        reasons.append("use_cudnn=False")
    if layer.activation != "tanh":
        reasons.append(f"activation={layer.activation!r} (only tanh can)")
    if layer.recurrent_activation != "sigmoid":
        reasons.append(f"recurrent_activation={layer.recurrent_activation!r} (only sigmoid can)")
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
                " (right-padded ones alone can)"
                if backend == "tensorflow"
                else " (Keras falls back with any)"
            )
        )
    if none:
        reasons.append(none)
    if backend == "jax" and version < (3, 14):
        reasons.append(f"Keras {keras_version} on JAX (3.14 is the first that can)")
    if backend == "torch" and version < (3, 15) and layer.kind == "LSTM":
        reasons.append(f"Keras {keras_version} on torch loses it without a word (3.15 does not)")
    if backend == "torch" and version < (3, 14) and layer.kind == "GRU":
        reasons.append(f"Keras {keras_version} on torch (3.14 is the first that can)")
    return [f"{layer.name}: {reason}" for reason in reasons]


def look(model: Any, batch: Any, backend: str, *, on_gpu: bool, keras_version: str) -> Kernels:
    """Look into what ``model`` executes for ``batch`` (int32, (rows, tokens)) in training."""
    layers = recurrent_layers(model)
    if not layers:
        return Kernels(path="none", evidence="the model has no recurrent layer")
    if not on_gpu:
        return Kernels(path="generic", evidence="there is no GPU: fused recurrent kernels are cuDNN's")
    seen = {"tensorflow": _tensorflow_operations, "torch": _torch_operations, "jax": _jax_primitives}[
        backend
    ](model, batch)
    return judge(seen, layers, backend, keras_version)


def judge(seen: Iterable[str], layers: list[Recurrent], backend: str, keras_version: str) -> Kernels:
    """Operation names that were seen -> which kernel it is, and why not the fused one. Pure."""
    names = Counter(seen)
    wanted, gates = FUSED[backend], names[GATE]
    count, due = names[wanted], _calls(layers, backend)
    explained = [why_generic(layer, backend, keras_version) for layer in layers]
    why = tuple(reason for reasons in explained for reason in reasons)
    looped = gates >= GATES
    # On torch one call may be of both directions, so that the count alone cannot clear a layer that should not.
    if count >= due and not looped and not (why and backend == "torch"):
        return Kernels(
            path="fused", evidence=f"{wanted} is in what {backend} executes, {count} times", why=why
        )
    if not count:
        evidence = f"{wanted} is nowhere in what {backend} executes"
    elif count < due:
        evidence = f"{wanted} is in what {backend} executes for {count} of {due} recurrent layers only"
    elif looped:
        evidence = f"{wanted} is in what {backend} executes, but a loop over the steps as well ({gates} times {GATE})"
    else:
        evidence = f"{wanted} is in what {backend} executes, {count} times, but not for every recurrent layer"
    able = [layer for layer, reasons in zip(layers, explained, strict=True) if not reasons]
    if count < _calls(able, backend) or (looped and not why):
        named = ", ".join(layer.name for layer in able)
        why += (f"{named}: no argument explains it, Keras or the driver fell back without a word",)
    limits = sum(no_fused_kernel(layer, backend) is not None for layer in layers)
    return Kernels(path="generic", evidence=evidence, why=why, unavoidable=0 < limits == len(why))


def _calls(layers: list[Recurrent], backend: str) -> int:
    """How often the fused kernel is seen where all of ``layers`` use it, at the least.

    TensorFlow calls it once a direction, and JAX's primitive is counted so. Keras 3.15 on torch calls it once for
    both directions of a Bidirectional layer, or once for each where they differ.
    """
    return len({layer.pair or layer.name for layer in layers}) if backend == "torch" else len(layers)


def flat(layers: Iterable[Any]) -> Iterable[Any]:
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
    """Names of all operations of a TensorFlow graph and of every function it calls."""
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
    """Names of all primitives of a JAX program (a jaxpr) and of every program inside it.

    One that goes in both directions at once, as ``rnn_fwd`` can, is named for each of them.
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
