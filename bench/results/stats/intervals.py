"""How sure a difference between two results is: the ratio of their speeds with an interval. Pure arithmetic.

What counts as one observation is a *fresh process*. Blocks timed inside one process share its memory
layout, its compiled code and its minute of the machine, so they are correlated, and an interval made of
them says how well that one process was timed, not what the next one would give (Georges, Buytaert and
Eeckhout, "Statistically rigorous Java performance evaluation", OOPSLA 2007; Kalibera and Jones,
"Rigorous benchmarking in reasonable time", ISMM 2013). Three cases, from best to worst:

``processes``: at least three a side. Welch's t interval (Biometrika 34, 1947) on the logarithms of the
    process medians: the medians shrug off single disturbed blocks, the logarithm makes A/B and B/A mirror
    images, and Welch lets the two sides scatter differently. A rank test (Mann-Whitney) cannot fall below
    p = 0.1 with three against three, and gives no ratio.
``borrowed``: three or more on one side only (a quick run against a stored baseline). The short side is
    taken to scatter like the long one.
``within``: fewer on both sides. The interval is of the blocks within those processes, their number reduced
    for lag-1 autocorrelation, and leaves out what one process differs from the next. So it never makes a
    difference significant by itself: that must also exceed ``ONE_PROCESS_FLOOR``.
"""

from __future__ import annotations

import functools
import itertools
import math
import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec

CONFIDENCE = 0.99
"""Of each interval. A suite is about ten workloads and only a slow-down ends in exit code 1: at 99% a machine
held against itself is called slower somewhere in at most one run of twenty, at 95% in one of four."""

LEAST_PROCESSES = 3
"""Fewer say nothing of how processes scatter: the t factor of two against two is up to 64."""

SMALLEST = 0.02
"""Differences below this are never called significant. The processes of one run share its hour: temperature,
clocks, neighbours; they do not sample how hours differ (an RTX 2080 Ti gave 2.6 to 4.7% between cold
and warm in cnn-gpu-benchmarks), so an interval of a tenth of a percent would claim too much."""

ONE_PROCESS_FLOOR = 0.10
"""With ``within`` a smaller difference is never called significant: the widest range of one workload over
equal machines and software in published repeats (Tacotron2 on 16 single H100 instances: 10.4%)."""

Method = Literal["processes", "borrowed", "within"]


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Speed of B over that of A. ``low`` and ``high`` are null where too little was timed for an interval."""

    a_samples_per_second: float
    """Geometric mean of the process medians."""
    b_samples_per_second: float
    ratio: float
    low: float | None
    high: float | None
    method: Method
    floor: float
    """Least relative difference that counts."""

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 1 and the difference exceeds the floor."""
        if self.low is None or self.high is None:
            return False
        return (self.low > 1 or self.high < 1) and abs(math.log(self.ratio)) > math.log1p(self.floor)


def estimate(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> Estimate:
    """``a`` and ``b``: samples/s of the timed blocks of each process, all above 0, no process empty.

    Raises ValueError where a side holds no process.
    """
    if not a or not b:
        raise ValueError("nothing was timed")
    medians_a = [math.log(statistics.median(blocks)) for blocks in a]
    medians_b = [math.log(statistics.median(blocks)) for blocks in b]
    centre_a, centre_b = statistics.fmean(medians_a), statistics.fmean(medians_b)
    method: Method
    half: float | None
    if min(len(a), len(b)) >= LEAST_PROCESSES:
        method, half = "processes", _welch(medians_a, medians_b)
    elif max(len(a), len(b)) >= LEAST_PROCESSES:
        method, half = "borrowed", _borrowed(medians_a, medians_b)
    else:
        method, half = "within", _within(a, b)
    difference = centre_b - centre_a
    return Estimate(
        a_samples_per_second=math.exp(centre_a),
        b_samples_per_second=math.exp(centre_b),
        ratio=_exp(difference),
        low=None if half is None else _exp(difference - half),
        high=None if half is None else _exp(difference + half),
        method=method,
        floor=ONE_PROCESS_FLOOR if method == "within" else SMALLEST,
    )


def _exp(value: float) -> float:
    return math.exp(max(-700.0, min(700.0, value)))  # what a float can hold


def _welch(a: Sequence[float], b: Sequence[float]) -> float:
    """Half the width of the interval, in log units."""
    parts = [statistics.variance(side) / len(side) for side in (a, b)]
    if sum(parts) == 0:
        return 0.0
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True)
    )
    return _factor(freedom) * math.sqrt(sum(parts))


def _borrowed(a: Sequence[float], b: Sequence[float]) -> float:
    known = max(a, b, key=len)
    return _factor(len(known) - 1) * math.sqrt(statistics.variance(known) * (1 / len(a) + 1 / len(b)))


def _within(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> float | None:
    variance, freedom = 0.0, 0.0
    for side in (a, b):
        for blocks in side:
            if len(blocks) < 2:
                return None
            logs = [math.log(rate) for rate in blocks]
            independent = _independent(logs)
            # pi / 2: a median of normal values varies by that much more than their mean
            variance += math.pi / 2 * statistics.variance(logs) / independent / len(side) ** 2
            freedom += independent - 1
    return _factor(freedom) * math.sqrt(variance)


def _independent(values: Sequence[float]) -> float:
    """As how many independent values these count: n (1 - r) / (1 + r), r the lag-1 autocorrelation, at least 2."""
    mean = statistics.fmean(values)
    total = math.fsum((v - mean) ** 2 for v in values)
    if total == 0:
        return len(values)
    lagged = math.fsum((v - mean) * (w - mean) for v, w in itertools.pairwise(values))
    r = min(max(lagged / total, 0.0), 0.99)
    return max(2.0, len(values) * (1 - r) / (1 + r))


def _factor(freedom: float) -> float:
    return student_t(0.5 + CONFIDENCE / 2, round(freedom, 2))


@functools.lru_cache(maxsize=512)
def student_t(share: float, freedom: float) -> float:
    """The value below which ``share`` (0.5 to 0.9975) of Student's t distribution lies; ``freedom`` from 1.

    More than 200 degrees count as 200, which is 1% too careful at most. With t = sqrt(freedom) tan(x)
    the density becomes a power of the cosine: Simpson's rule on that, and bisection, are exact to five digits.
    """
    freedom = min(freedom, 200.0)
    weight = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)

    def below(x: float, strips: int = 200) -> float:
        step = x / strips
        inner = math.fsum((4 if i % 2 else 2) * math.cos(i * step) ** (freedom - 1) for i in range(1, strips))
        ends = 1.0 + math.pow(math.cos(x), freedom - 1)
        return 0.5 + weight * step / 3 * (ends + inner)

    low, high = 0.0, math.pi / 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < share else (low, middle)
    return math.sqrt(freedom) * math.tan(low)
