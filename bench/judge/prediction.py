"""The expected speed of a workload on this machine, computed from its probes with a simple model of a training step.

One step of ``fit`` with B samples takes, in this model,

    fit + 1 step of the loop x dependent steps + B x (recurrent FLOP / r + other FLOP / c + bytes / w)

with ``fit`` and the step of the loop timed on models without arithmetic (``bench.measure.probes.step``), r and c the
FLOP/s of products as small as those of a recurrent step and of a convolution, and w the memory bandwidth. FLOP, bytes
and steps are counted (``bench.measure.worker.arithmetic``). Nothing overlaps and nothing is fitted. The measured
error of each workload on each tested machine: docs/evidence/prediction.md; the limits: prediction.yml. r is measured
at batch 32, so only batch 32 is predicted.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec

from bench.finding import TRAINING, Finding, Status
from bench.results.record.document import Result
from bench.results.record.figures import Probes, Work
from bench.results.stats import intervals, steadiness
from common.file_access import yaml_lines

FACTOR = 2.0
"""Limit for a workload that was never compared on that kind of device and backend: the judgement is a warning if the
speed is lower than predicted by more than this factor."""

MARGIN = math.exp(statistics.NormalDist().inv_cdf(intervals.CONFIDENCE) * 2 * steadiness.PROCESS_NOISE["cpu"])
"""Allowance for chance, multiplied with the largest measured error factor of a prediction. Four measured values (two
speeds, two sets of probes) vary as processes do; the 99% point of their combined variation is a factor of 1.27."""

PATH = Path(__file__).with_name("prediction.yml")

BATCH = 32


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """Predicted seconds of each part of a training step, and the resulting speed in samples/s."""

    fit: float
    loop: float
    products: float
    memory: float
    samples_per_second: float

    @property
    def text(self) -> str:
        parts = (
            ("dependent steps", self.loop),
            ("products", self.products),
            ("memory", self.memory),
            ("fit", self.fit),
        )
        return ", ".join(f"{1e3 * seconds:.3g} ms {name}" for name, seconds in parts)


class PredictionRatios(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Measured samples/s divided by predicted samples/s on one machine, by workload."""

    machine: str
    backend: str
    on_gpu: bool
    source: str
    ratios: dict[str, Annotated[float, msgspec.Meta(gt=0)]]


class _PredictionFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    machines: tuple[PredictionRatios, ...]


@functools.cache
def measured(path: Path = PATH) -> tuple[PredictionRatios, ...]:
    """The machines in prediction.yml. Raises yaml_lines.YamlError, whose message is one sentence with the line."""
    return yaml_lines.convert(yaml_lines.read(path), _PredictionFile).machines


def worst(result: Result, tried: Iterable[PredictionRatios]) -> float | None:
    """The largest factor by which predictions of this workload were too high or too low; None if it was never
    measured."""
    ratios = [
        one.ratios[result.workload]
        for one in tried
        if (one.backend, one.on_gpu) == (result.backend, result.on_gpu) and result.workload in one.ratios
    ]
    return max((max(ratio, 1 / ratio) for ratio in ratios), default=None)


_NEEDED = {
    "recurrent_tflops": "matrix products of the size of a recurrent step",
    "convolution_tflops": "matrix products of the size of a convolution",
    "bandwidth_gb_s": "the memory bandwidth",
    "train_step_seconds": "a training step",
    "step_seconds": "a step of a loop",
}
"""The probes that a prediction needs -> what each measures."""


def predict(work: Work, batch_size: int, probes: Probes) -> Prediction | None:
    """The predicted training speed; None if a probe is missing that this workload needs."""
    rates = (probes.recurrent_tflops, probes.convolution_tflops, probes.bandwidth_gb_s)
    if any(not rate for rate in rates) or probes.train_step_seconds is None or probes.step_seconds is None:
        return None
    recurrent, convolution, bandwidth = (float(rate or 0.0) for rate in rates)
    other = work.flop_per_sample - work.recurrent_flop_per_sample
    loop = probes.step_seconds * work.recurrent_steps
    products = batch_size * (work.recurrent_flop_per_sample / recurrent + other / convolution) / 1e12
    memory = batch_size * work.bytes_per_sample / bandwidth / 1e9
    return Prediction(
        fit=probes.train_step_seconds,
        loop=loop,
        products=products,
        memory=memory,
        samples_per_second=batch_size / (probes.train_step_seconds + loop + products + memory),
    )


def judge(
    result: Result, probes: Probes | None, tried: Iterable[PredictionRatios] | None = None
) -> tuple[Finding | None, str]:
    """A finding and "", or None and the reason why there is no prediction.

    tried: Known ratios of measured to predicted speed; None: those of prediction.yml. Raises yaml_lines.YamlError if
    that file cannot be read.
    """
    made, why = _made(result, probes)
    if made is None:
        return None, f"no prediction ({why})"
    speed = result.samples_per_second.median
    ratio = speed / made.samples_per_second
    off = worst(result, measured() if tried is None else tried)
    factor = FACTOR if off is None else off * MARGIN
    slow = not ratio >= 1 / factor  # NaN must not pass
    message = (
        f"{speed:,.0f} samples/s; the probes predict {made.samples_per_second:,.0f} "
        f"({made.text} per batch), ratio {ratio:.2f}; the limit is {1 / factor:.2f}, "
    )
    if off is None:
        where = f"{result.backend} on a {'card' if result.on_gpu else 'processor'}"
        message += f"a default, because {result.workload} was never compared with {where}"
    else:
        message += f"because predictions of {result.workload} were wrong by a factor of up to {off:.2f}"
    return Finding(
        theme=TRAINING,
        check="predicted",
        subject=result.label,
        status=Status.WARN if slow else Status.PASS,
        title=f"{result.label} matches the speed predicted from this machine's probes",
        message=message,
        measured=round(speed, 3),
        expected=round(made.samples_per_second, 3),
        unit="samples/s",
        remedy="run it again without other programs; if it persists, `dlbox tune` searches for a faster setting, and "
        "`dlbox bench --baseline` makes this machine's own speed the reference"
        if slow
        else None,
    ), ""


def _made(result: Result, probes: Probes | None) -> tuple[Prediction | None, str]:
    """The prediction, or None and the reason why there is none."""
    if result.devices > 1:
        return None, "it applies to one device only"
    if result.batch_size != BATCH:
        return None, f"it applies to batch {BATCH} only"
    if probes is None or result.work is None:
        return (
            None,
            "the probes did not run" if probes is None else "the operations of the model were not counted",
        )
    if (probes.backend, probes.on_gpu) != (result.backend, result.on_gpu):
        there, here = (f"{on.backend} on a {'card' if on.on_gpu else 'processor'}" for on in (probes, result))
        return None, f"the probes ran with {there}, the training with {here}"
    made = predict(result.work, result.batch_size, probes)
    if made is None:
        lacking = [what for name, what in _NEEDED.items() if not getattr(probes, name)]
        return None, f"the probe of {lacking[0]} is missing"
    return made, ""
