"""LSTM and GRU over all time steps, forward and backward, compiled by Numba for this processor.

The loop contains one product per step and the gates. The projection of the inputs is one product for all steps before
the loop; the gradients of the weights are one product for all steps after it. The functions release Python's lock and
start no threads: callers give each thread some rows of a batch (``workshops.fast.recurrence``).

float32, C order. Gates are in the order of Keras. Shapes: B rows, T steps, I inputs, H units; time first. The equations
are those of ``keras.layers.LSTMCell`` and of ``GRUCell`` with ``reset_after=True``. Compiled code is cached beside this
file, or in the user's cache folder if that is not writable: the first call on a machine takes some seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_QUICK: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
_VECTOR: dict[str, Any] = {**_QUICK, "fastmath": {"contract", "reassoc", "arcp", "nsz"}}  # NaN stays NaN.

_ONE, _HALF, _END = np.float32(1), np.float32(0.5), np.float32(8)
# tanh(x) / x as a ratio of polynomials in x * x on [-8, 8]: fitted for the smallest maximum relative error, 6e-9, by
# weighted least squares on Chebyshev points; in float32 within 3.3e-7 of tanh.
_P0, _P1, _P2 = (
    np.float32(0.999999993568818),
    np.float32(0.13444496027395345),
    np.float32(0.0035715957054068565),
)
_P3, _P4 = np.float32(2.189462365995829e-05), np.float32(1.5230364122873784e-08)
_Q1, _Q2 = np.float32(0.46777823346246844), np.float32(0.02616443411592659)
_Q3, _Q4 = np.float32(0.0003411288221118508), np.float32(8.522424817053691e-07)


@njit(inline="always", **_VECTOR)
def _tanh(x: Any) -> Any:
    bounded = min(max(x, -_END), _END)
    square = bounded * bounded
    above = _P0 + square * (_P1 + square * (_P2 + square * (_P3 + square * _P4)))
    below = _ONE + square * (_Q1 + square * (_Q2 + square * (_Q3 + square * _Q4)))
    found = bounded * above / below
    return found if x == x else x


@njit(inline="always", **_VECTOR)
def _sigmoid(x: Any) -> Any:
    return _HALF * _tanh(_HALF * x) + _HALF


# Each function works on one row: slices that the compiler knows not to overlap become vector instructions.


@njit(**_VECTOR)
def _bend_sigmoid(gates: Any, more: Any, bias: Any) -> None:
    for j in range(gates.shape[0]):
        gates[j] = _sigmoid(gates[j] + more[j] + bias[j])


@njit(**_VECTOR)
def _bend_tanh(gates: Any, more: Any, bias: Any) -> None:
    for j in range(gates.shape[0]):
        gates[j] = _tanh(gates[j] + more[j] + bias[j])


@njit(**_VECTOR)
def _lstm_cell(i: Any, f: Any, g: Any, o: Any, carry: Any, next_carry: Any, bent: Any, hidden: Any) -> None:
    for j in range(i.shape[0]):
        new_carry = f[j] * carry[j] + i[j] * g[j]
        next_carry[j] = new_carry
        bent[j] = _tanh(new_carry)
        hidden[j] = o[j] * bent[j]


@njit(**_VECTOR)
def _lstm_slopes(i: Any, f: Any, g: Any, o: Any, carry: Any, bent: Any, dh: Any, dc: Any) -> None:
    for j in range(i.shape[0]):
        let_in, forget, candidate, let_out, b, d = i[j], f[j], g[j], o[j], bent[j], dh[j]
        of_carry = dc[j] + d * let_out * (_ONE - b * b)
        i[j] = of_carry * candidate * let_in * (_ONE - let_in)
        f[j] = of_carry * carry[j] * forget * (_ONE - forget)
        g[j] = of_carry * let_in * (_ONE - candidate * candidate)
        o[j] = d * b * let_out * (_ONE - let_out)
        dc[j] = of_carry * forget


@njit(**_VECTOR)
def _gru_cell(
    z: Any, r: Any, c: Any, turned: Any, more: Any, of_candidate: Any, of_turned: Any, old: Any, new: Any
) -> None:
    for j in range(z.shape[0]):
        turned[j] = more[j] + of_turned[j]
        candidate = _tanh(c[j] + of_candidate[j] + r[j] * turned[j])
        c[j] = candidate
        new[j] = candidate + z[j] * (old[j] - candidate)


@njit(**_VECTOR)
def _gru_slopes(
    z: Any, r: Any, c: Any, turned: Any, old: Any, dh: Any, across_z: Any, across_r: Any, across_c: Any
) -> None:
    for j in range(z.shape[0]):
        update, reset, candidate, d = z[j], r[j], c[j], dh[j]
        of_candidate = d * (_ONE - update) * (_ONE - candidate * candidate)
        of_update = d * (old[j] - candidate) * update * (_ONE - update)
        of_reset = of_candidate * turned[j] * reset * (_ONE - reset)
        z[j], r[j], c[j] = of_update, of_reset, of_candidate
        across_z[j], across_r[j], across_c[j] = of_update, of_reset, of_candidate * reset
        dh[j] = d * update


@njit(**_VECTOR)
def _add(total: Any, rows: Any) -> None:
    for r in range(rows.shape[0]):
        row = rows[r]
        for j in range(total.shape[0]):
            total[j] += row[j]


@njit(**_QUICK)
def lstm_forward(
    inputs: Any, kernel: Any, recurrent: Any, bias: Any, gates: Any, states: Any, carries: Any, bent: Any
) -> None:
    """Read the inputs (T, B, I) and fill the buffers: gates (T, B, 4H); states and carries (T+1, B, H), except their
    first entry; ``bent`` (T, B, H), the tanh of the carries."""
    steps, rows, width = inputs.shape
    units = bent.shape[2]
    np.dot(inputs.reshape(steps * rows, width), kernel, gates.reshape(steps * rows, 4 * units))
    more = np.empty((rows, 4 * units), np.float32)
    for t in range(steps):
        np.dot(states[t], recurrent, more)
        for b in range(rows):
            row, on_top = gates[t, b], more[b]
            _bend_sigmoid(row[: 2 * units], on_top[: 2 * units], bias[: 2 * units])
            _bend_tanh(row[2 * units : 3 * units], on_top[2 * units : 3 * units], bias[2 * units : 3 * units])
            _bend_sigmoid(row[3 * units :], on_top[3 * units :], bias[3 * units :])
            _lstm_cell(
                row[:units], row[units : 2 * units], row[2 * units : 3 * units], row[3 * units :],
                carries[t, b], carries[t + 1, b], bent[t, b], states[t + 1, b],
            )  # fmt: skip


@njit(**_QUICK)
def lstm_backward(
    inputs: Any, kernel: Any, recurrent: Any, gates: Any, states: Any, carries: Any, bent: Any, of_outputs: Any,
    dh: Any, dc: Any, to_inputs: Any, to_kernel: Any, to_recurrent: Any, to_bias: Any,
) -> None:  # fmt: skip
    """``of_outputs``: gradients of the outputs (T, B, H), or (0, B, H) if there are none. ``dh`` and ``dc`` (B, H):
    on entry the gradients of the last states, on return those of the first states. The gates are overwritten with
    their gradients.
    """
    steps, rows, width = inputs.shape
    units = bent.shape[2]
    back = np.ascontiguousarray(recurrent.T)
    for t in range(steps - 1, -1, -1):
        if of_outputs.shape[0] > 0:
            _add(dh.reshape(rows * units), of_outputs[t].reshape(1, rows * units))
        for b in range(rows):
            row = gates[t, b]
            _lstm_slopes(
                row[:units], row[units : 2 * units], row[2 * units : 3 * units], row[3 * units :],
                carries[t, b], bent[t, b], dh[b], dc[b],
            )  # fmt: skip
        np.dot(gates[t], back, dh)
    many = gates.reshape(steps * rows, 4 * units)
    np.dot(inputs.reshape(steps * rows, width).T, many, to_kernel)
    np.dot(states[:steps].reshape(steps * rows, units).T, many, to_recurrent)
    np.dot(many, kernel.T, to_inputs.reshape(steps * rows, width))
    to_bias[:] = 0
    _add(to_bias, many)


@njit(**_QUICK)
def gru_forward(
    inputs: Any, kernel: Any, recurrent: Any, bias: Any, gates: Any, states: Any, turned: Any
) -> None:
    """Like ``lstm_forward``. The gates (T, B, 3H) are update, reset and candidate. ``turned`` (T, B, H): the
    recurrent term of the candidate, which the reset gate multiplies."""
    steps, rows, width = inputs.shape
    units = turned.shape[2]
    np.dot(inputs.reshape(steps * rows, width), kernel, gates.reshape(steps * rows, 3 * units))
    more = np.empty((rows, 3 * units), np.float32)
    both = bias[0] + bias[1]
    for t in range(steps):
        np.dot(states[t], recurrent, more)
        for b in range(rows):
            row, on_top = gates[t, b], more[b]
            _bend_sigmoid(row[: 2 * units], on_top[: 2 * units], both[: 2 * units])
            _gru_cell(
                row[:units], row[units : 2 * units], row[2 * units :], turned[t, b], on_top[2 * units :],
                bias[0, 2 * units :], bias[1, 2 * units :], states[t, b], states[t + 1, b],
            )  # fmt: skip


@njit(**_QUICK)
def gru_backward(
    inputs: Any, kernel: Any, recurrent: Any, gates: Any, states: Any, turned: Any, across: Any, of_outputs: Any,
    dh: Any, to_inputs: Any, to_kernel: Any, to_recurrent: Any, to_bias: Any,
) -> None:  # fmt: skip
    """Like ``lstm_backward``. ``across`` (T, B, 3H): buffer for the gradients through the recurrent weights."""
    steps, rows, width = inputs.shape
    units = turned.shape[2]
    back = np.ascontiguousarray(recurrent.T)
    through = np.empty((rows, units), np.float32)
    flat, added = dh.reshape(rows * units), through.reshape(1, rows * units)
    for t in range(steps - 1, -1, -1):
        if of_outputs.shape[0] > 0:
            _add(flat, of_outputs[t].reshape(1, rows * units))
        for b in range(rows):
            row, other = gates[t, b], across[t, b]
            _gru_slopes(
                row[:units], row[units : 2 * units], row[2 * units :], turned[t, b], states[t, b], dh[b],
                other[:units], other[units : 2 * units], other[2 * units :],
            )  # fmt: skip
        np.dot(across[t], back, through)
        _add(flat, added)
    many, beside = gates.reshape(steps * rows, 3 * units), across.reshape(steps * rows, 3 * units)
    np.dot(inputs.reshape(steps * rows, width).T, many, to_kernel)
    np.dot(states[:steps].reshape(steps * rows, units).T, beside, to_recurrent)
    np.dot(many, kernel.T, to_inputs.reshape(steps * rows, width))
    to_bias[:] = 0
    _add(to_bias[0], many)
    _add(to_bias[1], beside)
