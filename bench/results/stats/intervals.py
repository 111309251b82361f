"""Confidence interval for the ratio of the speeds of two results. Pure functions.

One observation is one *fresh process*. Blocks timed inside one process share its memory layout, its compiled
code and the state of the machine at that time, so they are correlated. An interval computed from blocks describes
how precisely that process was timed, not what the next process would give (Georges, Buytaert and Eeckhout,
"Statistically rigorous Java performance evaluation", OOPSLA 2007; Kalibera and Jones, "Rigorous benchmarking in
reasonable time", ISMM 2013). Three cases, from best to worst:

``processes``: at least three processes on each side. Welch's t interval (Biometrika 34, 1947) of the logarithms of
    the process medians: medians are robust against single disturbed blocks, logarithms make A/B and B/A symmetric,
    and Welch allows unequal variances. A rank test (Mann-Whitney) of three against three cannot go below p = 0.1, and
    gives no ratio.
``borrowed``: at least three processes on one side only (a quick run against a stored baseline). The other side is
    assumed to have the same variance.
``within``: fewer than three on both sides. The interval is computed from the blocks within those processes, their
    number reduced for lag-1 autocorrelation. It does not include the variation between processes, so a difference is
    significant only if it also exceeds ``ONE_PROCESS_FLOOR``.
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
"""Confidence of each interval. A suite has about ten workloads, and only a slow-down gives exit code 1: at 99%,
comparing a machine with itself gives a false slow-down in at most one run of twenty, at 95% in one of four."""

LEAST_PROCESSES = 3
"""Minimum number of processes to estimate the variation between them: the t factor of two against two is up to 64."""

SMALLEST = 0.02
"""Smaller relative differences are never significant. All processes of one run share its temperature, clocks and other
load, so they do not show how runs at different times differ (an RTX 2080 Ti differed by 2.6 to 4.7% between cold and
warm in cnn-gpu-benchmarks). An interval of a tenth of a percent would claim too much."""

ONE_PROCESS_FLOOR = 0.10
"""With ``within``, smaller relative differences are never significant. It is the widest range of one workload over
equal machines and software in published repeats (Tacotron2 on 16 single H100 instances: 10.4%)."""

MOST_REPEATS = 100
"""Largest number of processes per model that `dlbox bench --repeats` accepts."""

Method = Literal["processes", "borrowed", "within"]


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Speed of B divided by the speed of A. ``low`` and ``high`` are null with too few blocks for an interval."""

    a_samples_per_second: float
    """Geometric mean of the process medians."""
    b_samples_per_second: float
    ratio: float
    low: float | None
    high: float | None
    method: Method
    floor: float
    """Smallest relative difference that can be significant."""

    @property
    def significant(self) -> bool:
        """Whether the difference is significant: the interval excludes 1, and the difference exceeds ``floor``."""
        if self.low is None or self.high is None:
            return False
        return (self.low > 1 or self.high < 1) and abs(math.log(self.ratio)) > math.log1p(self.floor)


def estimate(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> Estimate:
    """The ratio of the speeds, with its interval.

    ``a`` and ``b``: samples/s of the timed blocks of each process, all above 0, at least one block per process.
    Raises ValueError for a side without processes.
    """
    if not a or not b:
        raise ValueError("a side has no timed process")
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


def repeats_to_decide(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> int | None:
    """Number of processes per side after which a difference of the measured size would be significant.

    It is the smallest n with t(2n - 2) s sqrt(2 / n) <= |log ratio|, where s is the pooled standard deviation of the
    logarithms of the process medians, and the difference counts as ``SMALLEST`` if it is smaller. Arguments as in
    ``estimate``. None: the variation between processes is not known yet, or more than ``MOST_REPEATS`` are needed.
    """
    medians = [[math.log(statistics.median(blocks)) for blocks in side] for side in (a, b)]
    freedom = sum(len(side) - 1 for side in medians)
    if max(len(side) for side in medians) < LEAST_PROCESSES:
        return None
    squares = math.fsum((value - statistics.fmean(side)) ** 2 for side in medians for value in side)
    deviation = math.sqrt(squares / freedom)
    difference = abs(statistics.fmean(medians[1]) - statistics.fmean(medians[0]))
    target = max(difference, math.log1p(SMALLEST))
    for number in range(LEAST_PROCESSES, MOST_REPEATS + 1):
        if _factor(2 * number - 2) * deviation * math.sqrt(2 / number) <= target:
            return number
    return None


def _exp(value: float) -> float:
    return math.exp(max(-700.0, min(700.0, value)))  # limited to the range of a float


def _welch(a: Sequence[float], b: Sequence[float]) -> float:
    """Half width of Welch's interval, in logarithms."""
    parts = [statistics.variance(side) / len(side) for side in (a, b)]
    if sum(parts) == 0:
        return 0.0
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True)
    )
    return _factor(freedom) * math.sqrt(sum(parts))


def _borrowed(a: Sequence[float], b: Sequence[float]) -> float:
    """Half width of the interval with the variance of the longer side, in logarithms."""
    known = max(a, b, key=len)
    return _factor(len(known) - 1) * math.sqrt(statistics.variance(known) * (1 / len(a) + 1 / len(b)))


def _within(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> float | None:
    """Half width of the interval from the blocks, in logarithms; None if a process has a single block."""
    variance, freedom = 0.0, 0.0
    for side in (a, b):
        for blocks in side:
            if len(blocks) < 2:
                return None
            logs = [math.log(rate) for rate in blocks]
            independent = _independent(logs)
            # pi / 2: variance of the median of normal values, relative to that of their mean
            variance += math.pi / 2 * statistics.variance(logs) / independent / len(side) ** 2
            freedom += independent - 1
    return _factor(freedom) * math.sqrt(variance)


def _independent(values: Sequence[float]) -> float:
    """Effective number of independent values: n (1 - r) / (1 + r), at least 2; r is the lag-1 autocorrelation."""
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
    """Quantile ``share`` (0.5 to 0.9975) of Student's t distribution with ``freedom`` (at least 1) degrees of freedom.

    More than 200 degrees count as 200; the quantile is then at most 1% too large. With t = sqrt(freedom) tan(x) the
    density is a power of the cosine; Simpson's rule and bisection give five exact digits. (The standard library has no
    t distribution, and SciPy is not a dependency of every installation.)
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
