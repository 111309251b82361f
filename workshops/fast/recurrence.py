"""LSTM and GRU through all steps, forward and backward, with what need not stand in the loop outside of it.

In the loop stand one product a step and the gates, in place. The projection of the inputs is one product for all steps
before it; the gradients of the weights are one product for ``BLOCK`` steps after it. The derivatives of the gates do
not depend on what comes back through time, so they too are computed for a block at once; the way back is then one
product a step as well.

The functions are TorchScript where torch can compile them: a call then runs without Python's lock, so that threads can
each take some rows of a batch (``workshops.fast.split``). Gates stand in Keras' order in every weight. Shapes: B rows,
T steps, I inputs, H units; time first. The equations are those of ``keras.layers.LSTMCell`` and ``GRUCell``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

BLOCK = 25
"""Steps whose derivatives lie in the processor's cache at one time."""


def _lstm_forward(
    inputs: torch.Tensor,
    hidden: torch.Tensor,
    carry: torch.Tensor,
    kernel: torch.Tensor,
    recurrent: torch.Tensor,
    bias: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(T, B, I), (B, H) twice, (I, 4H), (H, 4H), (4H) -> states (T+1, B, H), carries, tanh of these, gates (T, B, 4H).

    The gates stand as input, forget, output, candidate here: three sigmoids side by side.
    """
    steps, rows, width = inputs.shape
    units = hidden.size(1)
    order = [kernel[:, : 2 * units], kernel[:, 3 * units :], kernel[:, 2 * units : 3 * units]]
    across = [recurrent[:, : 2 * units], recurrent[:, 3 * units :], recurrent[:, 2 * units : 3 * units]]
    offset = [bias[: 2 * units], bias[3 * units :], bias[2 * units : 3 * units]]
    weights = torch.cat(across, 1)
    gates = torch.addmm(torch.cat(offset), inputs.reshape(steps * rows, width), torch.cat(order, 1))
    gates = gates.view(steps, rows, 4 * units)
    states, carries = gates.new_empty(steps + 1, rows, units), gates.new_empty(steps + 1, rows, units)
    bent = gates.new_empty(steps, rows, units)
    states[0].copy_(hidden)
    carries[0].copy_(carry)
    whole, hs, cs, tanhs = gates.unbind(0), states.unbind(0), carries.unbind(0), bent.unbind(0)
    sigmoids = gates[:, :, : 3 * units].unbind(0)
    let_in, forget = gates[:, :, :units].unbind(0), gates[:, :, units : 2 * units].unbind(0)
    let_out, candidate = gates[:, :, 2 * units : 3 * units].unbind(0), gates[:, :, 3 * units :].unbind(0)
    for t in range(steps):
        whole[t].addmm_(hs[t], weights)
        sigmoids[t].sigmoid_()
        candidate[t].tanh_()
        torch.mul(forget[t], cs[t], out=cs[t + 1])
        cs[t + 1].addcmul_(let_in[t], candidate[t])
        torch.tanh(cs[t + 1], out=tanhs[t])
        torch.mul(let_out[t], tanhs[t], out=hs[t + 1])
    return states, carries, bent, gates


def _lstm_backward(
    inputs: torch.Tensor,
    states: torch.Tensor,
    carries: torch.Tensor,
    bent: torch.Tensor,
    gates: torch.Tensor,
    kernel: torch.Tensor,
    recurrent: torch.Tensor,
    of_outputs: torch.Tensor,
    of_hidden: torch.Tensor,
    of_carry: torch.Tensor,
    block: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of inputs, both states, both weights and the bias. ``of_outputs``: (T, B, H), or (0,) for none."""
    steps, rows, width = inputs.shape
    units = bent.size(2)
    to_inputs, to_kernel = torch.empty_like(inputs), torch.zeros_like(kernel)
    to_recurrent, to_bias = torch.zeros_like(recurrent), kernel.new_zeros(4 * units)
    back, down = recurrent.t().contiguous(), kernel.t().contiguous()
    dh, dc = of_hidden.clone(), of_carry.clone()
    stop = steps
    while stop > 0:
        start = max(0, stop - block)
        size = stop - start
        i, f = gates[start:stop, :, :units], gates[start:stop, :, units : 2 * units]
        o, g = gates[start:stop, :, 2 * units : 3 * units], gates[start:stop, :, 3 * units :]
        slopes = gates.new_empty(size, rows, 4, units)
        torch.mul(i - i * i, g, out=slopes[:, :, 0])
        torch.mul(f - f * f, carries[start:stop], out=slopes[:, :, 1])
        torch.mul(i, 1 - g * g, out=slopes[:, :, 2])
        torch.mul(o - o * o, bent[start:stop], out=slopes[:, :, 3])
        through = o * (1 - bent[start:stop] * bent[start:stop])
        flat = slopes.view(size, rows, 4 * units)
        of_dc, of_dh, whole = slopes[:, :, :3].unbind(0), slopes[:, :, 3].unbind(0), flat.unbind(0)
        outs, forget = through.unbind(0), f.unbind(0)
        for place in range(size):
            t = size - 1 - place
            if of_outputs.dim() == 3:
                dh.add_(of_outputs[start + t])
            dc.addcmul_(dh, outs[t])
            of_dc[t].mul_(dc.unsqueeze(1))
            of_dh[t].mul_(dh)
            torch.mm(whole[t], back, out=dh)
            dc.mul_(forget[t])
        many = flat.view(size * rows, 4 * units)
        to_kernel.addmm_(inputs[start:stop].reshape(size * rows, width).t(), many)
        to_recurrent.addmm_(states[start:stop].view(size * rows, units).t(), many)
        to_bias.add_(many.sum(0))
        torch.mm(many, down, out=to_inputs[start:stop].view(size * rows, width))
        stop = start
    return to_inputs, dh, dc, to_kernel, to_recurrent, to_bias


def _gru_forward(
    inputs: torch.Tensor,
    hidden: torch.Tensor,
    kernel: torch.Tensor,
    recurrent: torch.Tensor,
    bias: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(T, B, I), (B, H), (I, 3H), (H, 3H), (2, 3H) -> states (T+1, B, H), update and reset (T, B, 2H), candidates,
    and what the reset gate multiplies."""
    steps, rows, width = inputs.shape
    units = hidden.size(1)
    flat = inputs.reshape(steps * rows, width)
    first = bias[0, : 2 * units] + bias[1, : 2 * units]
    gates = torch.addmm(first, flat, kernel[:, : 2 * units]).view(steps, rows, 2 * units)
    candidates = torch.addmm(bias[0, 2 * units :], flat, kernel[:, 2 * units :]).view(steps, rows, units)
    resettable = gates.new_empty(steps, rows, units)
    states = gates.new_empty(steps + 1, rows, units)
    states[0].copy_(hidden)
    of_gates, of_candidate = recurrent[:, : 2 * units].contiguous(), recurrent[:, 2 * units :].contiguous()
    offset = bias[1, 2 * units :]
    both, hs, cs, rs = gates.unbind(0), states.unbind(0), candidates.unbind(0), resettable.unbind(0)
    update, reset = gates[:, :, :units].unbind(0), gates[:, :, units:].unbind(0)
    for t in range(steps):
        both[t].addmm_(hs[t], of_gates)
        both[t].sigmoid_()
        torch.addmm(offset, hs[t], of_candidate, out=rs[t])
        cs[t].addcmul_(reset[t], rs[t])
        cs[t].tanh_()
        torch.lerp(cs[t], hs[t], update[t], out=hs[t + 1])
    return states, gates, candidates, resettable


def _gru_backward(
    inputs: torch.Tensor,
    states: torch.Tensor,
    gates: torch.Tensor,
    candidates: torch.Tensor,
    resettable: torch.Tensor,
    kernel: torch.Tensor,
    recurrent: torch.Tensor,
    of_outputs: torch.Tensor,
    of_hidden: torch.Tensor,
    block: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of inputs, state, both weights and the bias. ``of_outputs``: (T, B, H), or (0,) for none.

    The slopes stand as recurrent candidate, update, reset, input's candidate: the first three go through the recurrent
    weights, the last three through the kernel.
    """
    steps, rows, width = inputs.shape
    units = candidates.size(2)
    to_inputs, to_kernel = torch.empty_like(inputs), torch.zeros_like(kernel)
    turned, to_bias = torch.zeros_like(recurrent), kernel.new_zeros(4 * units)
    back = torch.cat([recurrent[:, 2 * units :], recurrent[:, : 2 * units]], 1).t().contiguous()
    down = kernel.t().contiguous()
    dh = of_hidden.clone()
    stop = steps
    while stop > 0:
        start = max(0, stop - block)
        size = stop - start
        z, r = gates[start:stop, :, :units], gates[start:stop, :, units:]
        c = candidates[start:stop]
        slopes = gates.new_empty(size, rows, 4, units)
        torch.mul(1 - z, 1 - c * c, out=slopes[:, :, 3])
        torch.mul(slopes[:, :, 3], r, out=slopes[:, :, 0])
        torch.mul(z - z * z, states[start:stop] - c, out=slopes[:, :, 1])
        torch.mul(slopes[:, :, 0] * resettable[start:stop], 1 - r, out=slopes[:, :, 2])
        flat = slopes.view(size, rows, 4 * units)
        each, across, update = slopes.unbind(0), flat[:, :, : 3 * units].unbind(0), z.unbind(0)
        for place in range(size):
            t = size - 1 - place
            if of_outputs.dim() == 3:
                dh.add_(of_outputs[start + t])
            each[t].mul_(dh.unsqueeze(1))
            dh.mul_(update[t])
            dh.addmm_(across[t], back)
        many = flat.view(size * rows, 4 * units)
        to_kernel.addmm_(inputs[start:stop].reshape(size * rows, width).t(), many[:, units:])
        turned.addmm_(states[start:stop].view(size * rows, units).t(), many[:, : 3 * units])
        to_bias.add_(many.sum(0))
        torch.mm(many[:, units:], down, out=to_inputs[start:stop].view(size * rows, width))
        stop = start
    to_recurrent = torch.cat([turned[:, units:], turned[:, :units]], 1)
    of_bias = torch.stack([to_bias[units:], torch.cat([to_bias[units : 3 * units], to_bias[:units]])])
    return to_inputs, dh, to_kernel, to_recurrent, of_bias


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """As TorchScript; where this torch or this Python cannot compile it, as it is: slower, not wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces that TorchScript will go one day
        try:
            compiled: Callable[..., Any] = torch.jit.script(function)
        except Exception:
            return function
    return compiled


lstm_forward, lstm_backward = _compiled(_lstm_forward), _compiled(_lstm_backward)
gru_forward, gru_backward = _compiled(_gru_forward), _compiled(_gru_backward)
