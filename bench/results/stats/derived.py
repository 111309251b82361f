"""Figures computed from measurements: achieved FLOP/s, shares of peaks, price, interval. Pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec

from bench.results.record.document import Percentiles, Repeat, Result, Spread
from bench.results.record.figures import Interval, Price, Probes, TokenRate, units
from bench.results.stats import intervals, steadiness

CONFIDENCE = 0.95
"""Confidence of the interval in which another run is expected."""

Drift = Literal["cpu", "shared", "gpu"]
DRIFT: dict[Drift, float] = {"cpu": 0.04, "shared": 0.107, "gpu": 0.02}
"""Relative standard deviation between whole runs of one commit, used without enough earlier runs. "cpu", a processor
that only this machine uses: assumed, not measured. "shared", the processor of a virtual machine: measured
(docs/evidence/repeat.md). "gpu": the difference between a cold and a warm card (2.6 to 4.7% in cnn-gpu-benchmarks),
taken as two standard deviations."""

_ASSUMED: dict[Drift, str] = {
    "cpu": "assumed for a processor",
    "shared": "measured on a virtual machine, which shares its processor",
    "gpu": "assumed for a card",
}

_SAME = 1e-6
"""Largest acceptable relative difference between a stored figure and the one computed from its blocks. It is tiny,
because JSON stores numbers without rounding."""

LEAST_RUNS = 4
"""Minimum number of earlier runs of the same kind from which the drift of a machine is estimated."""


def with_figures(
    result: Result,
    *,
    probes: Probes | None = None,
    card_tflops: float | None = None,
    bill: tuple[str, float, str] | None = None,
    earlier: Sequence[float] = (),
    shared: bool = False,
) -> Result:
    """``result`` with all figures that are computed from it.

    ``card_tflops``: the card's nominal TFLOP/s in this precision. ``bill``: name of a build, its price in US dollars
    and the date of the price. ``earlier``: median samples/s of earlier runs of the same kind on this machine.
    ``shared``: other machines may use the same processor.
    """
    median = result.samples_per_second.median
    achieved = None if result.work is None else median * result.work.flop_per_sample / 1e12
    peak = measured_peak(result, probes)
    if result.on_gpu:  # on a processor, virtual devices share its peak
        peak = peak * result.devices if peak else peak
        card_tflops = card_tflops * result.devices if card_tflops else card_tflops
    expected = interval(result, earlier, shared=shared)
    return msgspec.structs.replace(
        result,
        interval=expected,
        tokens=token_rate(result, expected),
        achieved_tflops=achieved,
        share_of_measured_peak=achieved / peak if achieved is not None and peak else None,
        share_of_card_peak=achieved / card_tflops if achieved is not None and card_tflops else None,
        price=None
        if bill is None
        else Price(
            build=bill[0], usd=bill[1], priced_on=bill[2], samples_per_second_per_usd=median / bill[1]
        ),
    )


def recompute(result: Result, repeats: tuple[Repeat, ...], *, partial: bool) -> Result:
    """``result`` with all figures computed from ``repeats``, of which at least one has a block.

    If samples/s change, figures that cannot be computed from the blocks alone are adjusted: shares and samples/s per
    dollar change in proportion; the interval and the single steps are removed.
    """
    blocks = [block for repeat in repeats for block in repeat.blocks]
    rates = Spread.of([block.samples_per_second for block in blocks])
    factor = rates.median / result.samples_per_second.median
    unchanged = math.isclose(factor, 1.0, rel_tol=_SAME)
    factor = 1.0 if unchanged else factor

    def scaled(value: float | None) -> float | None:
        return None if value is None else value * factor

    achieved, price = scaled(result.achieved_tflops), result.price
    if achieved is not None and result.work is not None:
        achieved = rates.median * result.work.flop_per_sample / 1e12
    made = msgspec.structs.replace(
        result,
        repeats=repeats,
        partial=partial,
        samples_per_second=rates,
        step_seconds=Percentiles.of([block.seconds / block.steps for block in blocks]),
        tokens_per_second=tokens_per_second(result.tokens_per_sample, rates.median)
        or scaled(result.tokens_per_second),
        single_step_seconds=result.single_step_seconds if unchanged else None,
        interval=result.interval if unchanged else None,
        achieved_tflops=achieved,
        share_of_measured_peak=scaled(result.share_of_measured_peak),
        share_of_card_peak=scaled(result.share_of_card_peak),
        price=price
        and msgspec.structs.replace(
            price, samples_per_second_per_usd=price.samples_per_second_per_usd * factor
        ),
    )
    return msgspec.structs.replace(made, tokens=token_rate(made, made.interval))


def tokens_per_second(tokens_per_sample: int | None, samples_per_second: float) -> float | None:
    """Tokens/s, or None where samples have no tokens (pictures). All samples of a workload have equally many."""
    return tokens_per_sample * samples_per_second if tokens_per_sample else None


def measured_peak(result: Result, probes: Probes | None) -> float | None:
    """TFLOP/s of large matrix products on the device and in the precision of ``result``; None if not measured."""
    if probes is None or probes.on_gpu != result.on_gpu:
        return None
    return probes.matmul_tflops.get(units(result.precision))


def interval(result: Result, earlier: Sequence[float] = (), *, shared: bool = False) -> Interval:
    """The interval in which the median samples/s of another run are expected.

    It combines the variation between processes and between whole runs. In logarithms, its half width is
    sqrt(2 t^2 s^2 / n + 2 z^2 d^2): s is the standard deviation of the n process medians, d the one between runs; the
    factor 2 counts both runs. ``earlier`` and ``shared``: as in ``with_figures``.
    """
    medians = [math.log(rate) for rate in steadiness.medians(result)]
    drift, source = drift_of(result, earlier, shared=shared)
    made = Interval(
        low=None, high=None, confidence=CONFIDENCE, processes=len(medians), drift=drift, drift_from=source
    )
    if len(medians) < intervals.LEAST_PROCESSES:
        return made
    n, level = len(medians), 0.5 + CONFIDENCE / 2
    t, z = intervals.student_t(level, n - 1), statistics.NormalDist().inv_cdf(level)
    half = math.sqrt(2 * t**2 * statistics.variance(medians) / n + 2 * z**2 * drift**2)
    median = result.samples_per_second.median
    return msgspec.structs.replace(made, low=median * math.exp(-half), high=median * math.exp(half))


def token_rate(result: Result, expected: Interval | None) -> TokenRate | None:
    """Tokens/s with the spread of ``result``'s samples/s; None where samples have no tokens (pictures)."""
    each, rates = result.tokens_per_sample, result.samples_per_second
    if not each:
        return None
    ends = (expected.low, expected.high) if expected else (None, None)
    low, high = (None if end is None else end * each for end in ends)
    median = tokens_per_second(each, rates.median) or 0.0
    return TokenRate(median=median, mad=rates.mad * each, low=low, high=high)


def drift_of(result: Result, earlier: Sequence[float], *, shared: bool = False) -> tuple[float, str]:
    """Relative standard deviation between runs, and its source in words."""
    if len(earlier) >= LEAST_RUNS:
        return scatter(earlier), f"{len(earlier)} earlier runs on this machine"
    kind: Drift = "gpu" if result.on_gpu else "shared" if shared else "cpu"
    return DRIFT[kind], _ASSUMED[kind]


def scatter(rates: Sequence[float]) -> float:
    """Standard deviation of the logarithms of two samples/s or more."""
    return statistics.stdev(math.log(rate) for rate in rates)
