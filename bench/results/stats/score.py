"""One score of a run: the geometric mean of its models' speeds relative to a reference machine, and where it is among
the cards of the catalogue. Pure functions.

The geometric mean gives the same ratio of two machines whatever machine is the reference (Fleming and Wallace, "How
not to lie with statistics", Communications of the ACM 29(3), 1986). 100 is the speed of the reference.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from bench.results.record.document import Document, Result
from bench.results.record.figures import units
from bench.results.stats import compare, derived, intervals, steadiness
from inventory.cards import cards
from inventory.cards.cards import Card

REFERENCE = "two cores of an AMD EPYC (Zen 4) in a virtual machine, TensorFlow 2.21, batch 32"

BATCH = 32

_REFERENCE_RATES = {
    "d472eaf8b35bf67f": ("lstm", 418.0),
    "7626b3885b769fa9": ("gru", 390.0),
    "8cd1613a62fd1847": ("cnn-lstm", 1203.0),
    "79329a6f2707a4a4": ("simple-rnn", 1077.0),
    "d1be181f5e2420d6": ("bilstm", 272.0),
    "60da1821f9cecf75": ("deep-lstm", 204.0),
    "1d4570ec72f2ebc7": ("cnn", 495.0),
    "fc997f424a7610eb": ("attention", 370.0),
    "5401fdf36a06f5ee": ("lstm-text-gen", 273.0),
    "01ec0fa5e7269813": ("gru-text-gen", 399.0),
    "6e22c03d5a0d7531": ("seq2seq", 3087.0),
    "0c0acde00163de30": ("sign-cnn", 3554.0),
}
"""Fingerprint of a workload -> its name and its samples/s on the reference: medians of five processes each, the first
run of the second table in docs/evidence/repeat.md. A changed workload has no reference speed until it is measured."""

_NEIGHBOURS = 4
"""Maximum number of slower and of faster cards that are listed."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """``value``: 100 times the geometric mean of the speeds relative to ``REFERENCE``.

    ``low`` and ``high``: the interval with 95% confidence, or None where a model has fewer than three processes.
    ``models``: labels of the results in the mean. ``backend``: of these results.
    """

    value: float
    low: float | None
    high: float | None
    models: tuple[str, ...]
    backend: str

    @property
    def half(self) -> float | None:
        """Half the width of the interval, in points."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One card and its score. ``kind``: "this" (the measured machine), "measured" (bands of other machines) or
    "prediction" (from the data sheet)."""

    name: str
    score: float
    kind: str


def of(document: Document) -> Score | None:
    """The score of a run; None if no usable result is at batch 32 on one device with default settings, or if the
    workloads have no reference speed.

    Of several backends the one with the most models counts, then the fastest.
    """
    found: dict[str, list[Result]] = {}
    for result in document.results:
        if _counts(result):
            found.setdefault(result.backend, []).append(result)
    made = [_of(backend, results) for backend, results in found.items()]
    return max(made, key=lambda score: (len(score.models), score.value), default=None)


def of_rates(rates: Mapping[str, float]) -> float | None:
    """The score of samples/s by fingerprint; None without a known fingerprint."""
    logs = [
        math.log(rate / _REFERENCE_RATES[fingerprint][1])
        for fingerprint, rate in rates.items()
        if fingerprint in _REFERENCE_RATES and math.isfinite(rate) and rate > 0
    ]
    return 100 * math.exp(statistics.fmean(logs)) if logs else None


def _counts(result: Result) -> bool:
    return (
        result.fingerprint in _REFERENCE_RATES
        and (result.batch_size, result.devices, result.setting) == (BATCH, 1, None)
        and compare.unusable(result, "it") is None
        and math.isfinite(result.samples_per_second.median)
        and result.samples_per_second.median > 0
    )


def _of(backend: str, results: Sequence[Result]) -> Score:
    chosen = {result.fingerprint: result for result in results}
    value = of_rates({f: r.samples_per_second.median for f, r in chosen.items()}) or 0.0
    half = _half(list(chosen.values()))
    return Score(
        value=value,
        low=None if half is None else value * math.exp(-half),
        high=None if half is None else value * math.exp(half),
        models=tuple(r.label for r in chosen.values()),
        backend=backend,
    )


def _half(results: Sequence[Result]) -> float | None:
    """Half width of the interval, in logarithms: sqrt(t^2 sum(s^2 / n) / N^2 + z^2 d^2).

    s is the standard deviation of the n process medians of each of N models; d is the one between whole runs, which
    changes all models together, so averaging does not reduce it.
    """
    variance, freedom, drift = 0.0, 0, 0.0
    for result in results:
        medians = [math.log(rate) for rate in steadiness.medians(result)]
        if len(medians) < intervals.LEAST_PROCESSES:
            return None
        variance += statistics.variance(medians) / len(medians)
        freedom += len(medians) - 1
        drift = max(drift, (result.interval or derived.interval(result)).drift)
    level = 0.5 + derived.CONFIDENCE / 2
    t, z = intervals.student_t(level, freedom), statistics.NormalDist().inv_cdf(level)
    return min(math.sqrt(t**2 * variance / len(results) ** 2 + z**2 * drift**2), 50.0)


def standings(document: Document, measured: Mapping[str, float] | None = None) -> list[Standing]:
    """This machine between cards of the catalogue, the fastest first; [] without a known card that trained.

    ``measured``: scores of cards that were measured elsewhere, by name in the catalogue. Other cards are predicted:
    each model reaches the same share of the lower of the two limits of the data sheet (peak, memory bandwidth) as on
    this card. The prediction ignores launch latency, so it is too high for cards that are much faster.
    """
    score = of(document)
    own = _card_of(document) if score else None
    if score is None or own is None:
        return []
    results = [r for r in document.results if _counts(r) and r.backend == score.backend]
    known = dict(measured or {})
    others = []
    for card in cards.catalogue():
        if card.name == own.name or card.kind != "consumer" or card.laptop:
            continue
        if card.name in known:
            others.append(Standing(name=card.name, score=known[card.name], kind="measured"))
        elif factor := _factor(results, own, card):
            others.append(Standing(name=card.name, score=score.value * factor, kind="prediction"))
    others.sort(key=lambda one: one.score, reverse=True)
    mine = Standing(name=own.name, score=score.value, kind="this")
    return [
        *[one for one in others if one.score > mine.score][-_NEIGHBOURS:],
        mine,
        *[one for one in others if one.score <= mine.score][:_NEIGHBOURS],
    ]


def _card_of(document: Document) -> Card | None:
    """The catalogue's entry of the card that trained."""
    names = [gpu.name.value for gpu in document.machine.gpus if gpu.name.value]
    names += [r.device for r in document.results]
    if not any(r.on_gpu for r in document.results):
        return None
    for name in names:
        try:
            return cards.find(name)
        except cards.UnknownCard:
            continue
    return None


def _factor(results: Iterable[Result], own: Card, other: Card) -> float | None:
    """Geometric mean of the limits of ``other`` divided by those of ``own``; None if a figure is missing."""
    logs = []
    for result in results:
        mine, theirs = _limit(result, own), _limit(result, other)
        if not result.on_gpu or mine is None or theirs is None:
            return None
        logs.append(math.log(theirs / mine))
    return math.exp(statistics.fmean(logs)) if logs else None


def _limit(result: Result, card: Card) -> float | None:
    """TFLOP/s that the data sheet allows: min(peak in this precision, bandwidth times FLOP per byte)."""
    name = units(result.precision)
    peak = card.peak_tflops(name) if name in ("fp32", "tf32", "fp16", "bf16") else None  # type: ignore[arg-type]
    peak = peak or card.fp32_tflops
    if result.work is None or not peak or not card.memory_bandwidth_gb_s or result.work.bytes_per_sample <= 0:
        return None
    limit = min(peak, card.memory_bandwidth_gb_s / 1e3 * result.work.intensity)
    return limit if math.isfinite(limit) and limit > 0 else None
