"""LSTM and GRU for a batch of NumPy arrays, with the compiled kernels. The rows of the batch are divided among the
cores.

Shapes: B rows, T steps, I inputs, H units. Here the batch is the first axis, as in Keras. The values for the backward
pass are stored in buffers that are reused, because allocating memory takes a considerable share of the time.
"""

from __future__ import annotations

import functools
import importlib.util
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from workshops.fast.rows import LEAST_ROWS, cores, everywhere

Array = npt.NDArray[np.float32]
Kind = Literal["lstm", "gru"]
GATES = {"lstm": 4, "gru": 3}


def at_hand() -> bool:
    """Whether Numba, which compiles the kernels, is installed."""
    return all(importlib.util.find_spec(name) for name in ("numba", "scipy", "threadpoolctl"))


class Passed:
    """The forward pass of one batch. Its backward pass can be computed once.

    ``hidden``: the last hidden states (B, H). ``carry``: the last carries (B, H) of an LSTM; None for a GRU.
    """

    def __init__(self, kind: Kind, inputs: Array, states: Sequence[Array], weights: Sequence[Array]) -> None:
        """Inputs (B, T, I); first states, (B, H) each; kernel (I, GH), recurrent kernel (H, GH) and bias as in Keras,
        where G is the number of gates."""
        self._kind: Kind = kind
        self._weights = tuple(np.ascontiguousarray(one, np.float32) for one in weights)
        count = max(1, min(cores(), len(inputs) // LEAST_ROWS))
        cut = zip(*(np.array_split(one, count) for one in (inputs, *states)), strict=True)
        one_thread_each()
        self._parts = everywhere(self._forward, list(cut))
        self.hidden = np.concatenate([part["states"][-1] for part in self._parts])
        self.carry = np.concatenate([part["carries"][-1] for part in self._parts]) if kind == "lstm" else None

    def outputs(self) -> Array:
        """All hidden states (B, T, H)."""
        return np.concatenate([part["states"][1:].transpose(1, 0, 2) for part in self._parts])

    def back(self, of_outputs: Array | None, of_states: Sequence[Array]) -> tuple[Array, ...]:
        """Gradients of the inputs, of each first state, of kernel, recurrent kernel and bias.

        ``of_outputs``: gradients of the outputs (B, T, H), or None. ``of_states``: gradient of each last state (B, H).
        """
        parts, self._parts = self._parts, []
        if not parts:
            raise RuntimeError(
                "the gradient was already computed: call the forward pass again before a second backward pass"
            )
        edges = np.cumsum([part["inputs"].shape[1] for part in parts])[:-1]
        cut = [np.split(one, edges) for one in of_states]
        above = [None] * len(parts) if of_outputs is None else np.split(of_outputs, edges)
        given = [(part, above[n], *(one[n] for one in cut)) for n, part in enumerate(parts)]
        results = everywhere(self._backward, given)
        by_row = 1 + len(of_states)
        return tuple(
            np.concatenate(same) if place < by_row else sum(same[1:], same[0])
            for place, same in enumerate(zip(*results, strict=True))
        )

    def forget(self) -> None:
        """Release the buffers without a backward pass."""
        for part in self._parts:
            _BUFFERS.give(*part.values())
        self._parts = []

    def _forward(self, inputs: Array, *first: Array) -> dict[str, Array]:
        from workshops.fast import kernels

        kernel, recurrent, bias = self._weights
        rows, steps, width = inputs.shape
        units = recurrent.shape[0]
        take = _BUFFERS.take
        part = {
            "inputs": take(steps, rows, width),
            "gates": take(steps, rows, GATES[self._kind] * units),
            "states": take(steps + 1, rows, units),
            "bent": take(steps, rows, units),
        }
        part["inputs"][:] = inputs.transpose(1, 0, 2)
        part["states"][0] = first[0]
        if self._kind == "lstm":
            part["carries"] = take(steps + 1, rows, units)
            part["carries"][0] = first[1]
            kernels.lstm_forward(
                part["inputs"], kernel, recurrent, bias, part["gates"], part["states"], part["carries"], part["bent"]
            )  # fmt: skip
        else:
            kernels.gru_forward(
                part["inputs"], kernel, recurrent, bias, part["gates"], part["states"], part["bent"]
            )
        return part

    def _backward(self, part: dict[str, Array], above: Array | None, *last: Array) -> tuple[Array, ...]:
        from workshops.fast import kernels

        kernel, recurrent, bias = self._weights
        inputs, gates, states, bent = (part[name] for name in ("inputs", "gates", "states", "bent"))
        steps, rows, width = inputs.shape
        units = recurrent.shape[0]
        if above is None:
            above = np.empty((0, rows, units), np.float32)
        else:
            above = np.ascontiguousarray(above.transpose(1, 0, 2), np.float32)
        # These are copies, because the kernels overwrite their arguments.
        down = [np.array(one, np.float32, order="C") for one in last]
        to = [np.empty((steps, rows, width), np.float32), *map(np.empty_like, (kernel, recurrent, bias))]
        if self._kind == "lstm":
            kernels.lstm_backward(
                inputs, kernel, recurrent, gates, states, part["carries"], bent, above, *down, *to
            )
        else:
            across = _BUFFERS.take(*gates.shape)
            kernels.gru_backward(inputs, kernel, recurrent, gates, states, bent, across, above, *down, *to)
            _BUFFERS.give(across)
        _BUFFERS.give(*part.values())
        return (to[0].transpose(1, 0, 2), *down, *to[1:])


class _Buffers:
    """Arrays that can be reused, by shape. The most recently released shape comes last; a shape without arrays is
    removed."""

    MAX_STORED = 32
    """The buffers take at most the memory of one training step; the shapes change with the last batch."""

    def __init__(self) -> None:
        self._free: dict[tuple[int, ...], list[Array]] = {}
        self._lock = threading.Lock()

    def take(self, *shape: int) -> Array:
        with self._lock:
            ready = self._free.pop(shape, [])
            array = ready.pop() if ready else None
            if ready:
                self._free[shape] = ready
        return np.empty(shape, np.float32) if array is None else array

    def give(self, *arrays: Array) -> None:
        with self._lock:
            for array in arrays:
                self._free[array.shape] = [*self._free.pop(array.shape, ()), array]
            while sum(map(len, self._free.values())) > self.MAX_STORED:
                longest_unused = next(iter(self._free))
                self._free[longest_unused].pop()
                if not self._free[longest_unused]:
                    del self._free[longest_unused]


_BUFFERS = _Buffers()


@functools.cache
def one_thread_each() -> None:
    """Make Numba compute each matrix product in the calling thread alone, from now on.

    Numba uses the BLAS library of SciPy's wheel, which is separate from NumPy's, so the products of NumPy keep their
    threads. The number of threads is not restored after each batch, because the library would then stop and start its
    threads: a bidirectional LSTM trained at 182 samples/s when it was restored, and at 290 when it was not.
    """
    import scipy.linalg.cython_blas  # noqa: F401 - so that its library is loaded
    from threadpoolctl import ThreadpoolController

    every = ThreadpoolController().select(user_api="blas")
    own = [one.filepath for one in every.lib_controllers if Path(one.filepath).parent.name == "scipy.libs"]
    (every.select(filepath=own) if own else every).limit(limits=1)
