"""Figures that follow from what was measured: achieved FLOP/s, shares of peaks, price, interval. Pure."""

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

Drift = Literal["cpu", "shared", "gpu"]
DRIFT: dict[Drift, float] = {"cpu": 0.04, "shared": 0.107, "gpu": 0.02}
"""Relative standard deviation between whole runs of one commit where no earlier ones tell: on a processor of one's own
an assumption that nobody has measured yet; on one that others may use too measured (docs/evidence/repeat.md); on a card
from cold to warm (2.6 to 4.7% in cnn-gpu-benchmarks, taken as two deviations)."""

_ASSUMED: dict[Drift, str] = {
    "cpu": "assumed for a processor",
    "shared": "as measured on a virtual machine, whose processor others use too",
    "gpu": "assumed for a card",
}

_ALIKE = 1e-6
"""Relative difference of a figure from the blocks that it is made of; JSON keeps every digit."""

LEAST_RUNS = 4
"""Earlier runs of the same kind that show a machine's own drift; fewer are luck."""


def with_figures(
    result: Result,
    *,
    probes: Probes | None = None,
    card_tflops: float | None = None,
    bill: tuple[str, float, str] | None = None,
    earlier: Sequence[float] = (),
    shared: bool = False,
) -> Result:
    """``result`` with all that follows from it.

    ``card_tflops``: the card's figure in this precision. ``bill``: name of a build, its price in US dollars and the
    date of that. ``earlier``: median samples/s of earlier runs of the same kind on this machine. ``shared``: the
    processor may be others' too.
    """
    median = result.samples_per_second.median
    achieved = None if result.work is None else median * result.work.flop_per_sample / 1e12
    peak = measured_peak(result, probes)
    if result.on_gpu:  # virtual devices of a processor share its peak
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


def renewed(result: Result, repeats: tuple[Repeat, ...], *, partial: bool) -> Result:
    """``result`` with all its figures taken anew from ``repeats``, at least one of which has a block.

    What needs more than the blocks goes with samples/s where these change: shares and prices in proportion, the
    interval and the single steps not at all.
    """
    blocks = [block for repeat in repeats for block in repeat.blocks]
    rates = Spread.of([block.samples_per_second for block in blocks])
    times = rates.median / result.samples_per_second.median
    alike = math.isclose(times, 1.0, rel_tol=_ALIKE)
    times = 1.0 if alike else times

    def scaled(value: float | None) -> float | None:
        return None if value is None else value * times

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
        single_step_seconds=result.single_step_seconds if alike else None,
        interval=result.interval if alike else None,
        achieved_tflops=achieved,
        share_of_measured_peak=scaled(result.share_of_measured_peak),
        share_of_card_peak=scaled(result.share_of_card_peak),
        price=price
        and msgspec.structs.replace(
            price, samples_per_second_per_usd=price.samples_per_second_per_usd * times
        ),
    )
    return msgspec.structs.replace(made, tokens=token_rate(made, made.interval))


def tokens_per_second(tokens_per_sample: int | None, samples_per_second: float) -> float | None:
    """None where a sample has no tokens (pictures): all samples of a workload have as many."""
    return tokens_per_sample * samples_per_second if tokens_per_sample else None


def measured_peak(result: Result, probes: Probes | None) -> float | None:
    """TFLOP/s of large products on the device and in the precision of ``result``; None where neither was probed."""
    if probes is None or probes.on_gpu != result.on_gpu:
        return None
    return probes.matmul_tflops.get(units(result.precision))


def interval(result: Result, earlier: Sequence[float] = (), *, shared: bool = False) -> Interval:
    """Where another run's median is expected: how processes scatter, and how whole runs do.

    In logarithms, half the width is sqrt(2 t^2 s^2 / n + 2 z^2 d^2): s the standard deviation of the n process
    medians, d that between runs, twice because both runs have their own.
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
    """Tokens/s with the spread of ``result``'s samples/s; None where a sample has no tokens (pictures)."""
    each, rates = result.tokens_per_sample, result.samples_per_second
    if not each:
        return None
    ends = (expected.low, expected.high) if expected else (None, None)
    low, high = (None if end is None else end * each for end in ends)
    median = tokens_per_second(each, rates.median) or 0.0
    return TokenRate(median=median, mad=rates.mad * each, low=low, high=high)


def drift_of(result: Result, earlier: Sequence[float], *, shared: bool = False) -> tuple[float, str]:
    """Relative standard deviation between runs, and where it comes from."""
    if len(earlier) >= LEAST_RUNS:
        return scatter(earlier), f"{len(earlier)} earlier runs on this machine"
    kind: Drift = "gpu" if result.on_gpu else "shared" if shared else "cpu"
    return DRIFT[kind], _ASSUMED[kind]


def scatter(rates: Sequence[float]) -> float:
    """Standard deviation of the logarithms of two samples/s or more."""
    return statistics.stdev(math.log(rate) for rate in rates)
