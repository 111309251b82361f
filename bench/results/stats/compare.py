"""Comparison of two runs: how much faster or slower B is, with a confidence interval, or why they are not comparable.
Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from bench.results.record.document import Document, Result
from bench.results.stats import intervals, steadiness
from common.command_line.json_output import SCHEMA_VERSION
from inventory.machine.records import Machine

IMPOSSIBLE = 1.05
"""Largest plausible share of the measured matrix peak. Large matrix products are the fastest arithmetic of a machine,
and the best training reaches 0.33 of them on a processor; the margin above 1 allows for probes that other programs
slowed down."""

PairOutcome = Literal["faster", "slower", "not-significant", "disturbed", "not-comparable"]
""""disturbed": the speeds differ, but during one of the runs other programs used so much of the processor that the
cause is unknown."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two runs. ``name``: as shown to the user, "run 3" or a path."""

    name: str
    run_id: int | None
    started_at: str
    hostname: str


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A property that differs between the two runs, and that may explain different speeds."""

    what: str
    a: str
    b: str


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One workload on both sides. ``ratio``: samples/s of B divided by those of A; ``low`` and ``high``: its interval.

    ``method``: how the interval is computed (see ``bench.results.stats.intervals``); ``processes``: their number in A
    and B. All of these are null where ``outcome`` is "not-comparable"; then ``reason`` is the reason.
    """

    workload: str
    backend: str
    precision: str
    batch_size: int
    outcome: PairOutcome
    reason: str
    significant: bool = False
    a_samples_per_second: float | None = None
    b_samples_per_second: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    method: intervals.Method | None = None
    processes: tuple[int, int] | None = None
    repeats_to_decide: int | None = None
    """Processes per side after which a difference of the measured size would be significant; null if it is significant
    already, if the variation between processes is not known yet, or if more than 100 are needed."""

    @property
    def equal(self) -> bool:
        """Whether the whole interval is within ``intervals.SMALLEST`` of 1: the speeds are equal for every purpose."""
        return (
            self.low is not None
            and self.high is not None
            and max(abs(math.log(self.low)), abs(math.log(self.high))) <= math.log1p(intervals.SMALLEST)
        )


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """``slower``: B is significantly slower than A in at least one workload.

    ``disturbed``: B is significantly slower in a workload where other programs used the processor during A or B, which
    may be the cause. ``same_run``: both sides are the same run, under one name or two. ``same_machine``: host name,
    processor and cards are equal. Runs of two machines are comparable, and ``differences`` lists how they differ; other
    workloads, precisions or batch sizes are not comparable.
    """

    schema_version: int = SCHEMA_VERSION
    command: str = "compare"
    a: Side
    b: Side
    confidence: float = intervals.CONFIDENCE
    same_machine: bool
    same_run: bool = False
    differences: tuple[Difference, ...]
    pairs: tuple[Pair, ...]
    slower: bool
    disturbed: bool = False

    @property
    def comparable(self) -> bool:
        """Whether at least one workload could be compared."""
        return any(pair.outcome != "not-comparable" for pair in self.pairs)


def compare(a: Document, b: Document, *, a_name: str = "A", b_name: str = "B") -> Comparison:
    """Compare all workloads of both runs, in the order of A, then of B."""
    pairs = tuple(_pair(one, other) for one, other in _matched(a.results, b.results))
    return Comparison(
        a=_side(a, a_name),
        b=_side(b, b_name),
        same_machine=identity(a.machine) == identity(b.machine),
        same_run=bool(a.results)
        and (a.started_at, a.machine, a.results) == (b.started_at, b.machine, b.results),
        differences=tuple(_differences(a, b)),
        pairs=pairs,
        slower=any(pair.outcome == "slower" for pair in pairs),
        disturbed=any(pair.outcome == "disturbed" and (pair.ratio or 1) < 1 for pair in pairs),
    )


def identity(machine: Machine) -> tuple[str, ...]:
    """Host name, processor and cards: equal for the same machine."""
    host = machine.host
    return (host.hostname, f"{host.cpu_model}, {host.cpu_threads} threads", *sorted(_cards(machine)))


def key(result: Result) -> tuple[str, str, str, int, int, str]:
    """The properties that two results must share to be compared (workload, backend, batch size, ...). Two results
    with equal keys did the same work if their fingerprints are equal too."""
    return (
        result.workload,
        result.backend,
        result.precision,
        result.batch_size,
        result.devices,
        result.trained_as,
    )


def refusal(a: Result, b: Result) -> str | None:
    """One clause that says why the speeds of two results cannot be compared, or None if they can."""
    for name, one, other in (
        ("backend", a.backend, b.backend),
        ("precision", a.precision, b.precision),
        ("number of devices", a.devices, b.devices),
        ("batch size", a.batch_size, b.batch_size),
        ("setting", a.trained_as, b.trained_as),
    ):
        if one != other:
            return f"different {name}: {one} in A, {other} in B"
    if a.fingerprint != b.fingerprint:
        return f"different work: fingerprint {a.fingerprint} in A, {b.fingerprint} in B"
    return unusable(a, "A") or unusable(b, "B")


def unusable(result: Result, name: str) -> str | None:
    """One clause that says why the speed of a result cannot be used, or None if it can. The clause calls the result
    ``name``."""
    if result.partial:
        return f"{name} was interrupted"
    if result.accuracy is None:
        return f"the accuracy of {name} was not measured"
    if result.diverged:
        return f"the training of {name} diverged (the loss is NaN), so its speed does not count"
    if result.accuracy < result.accuracy_bar:
        return f"{name} did not learn (accuracy {result.accuracy:.3f}), so its speed does not count"
    if result.share_of_measured_peak is not None and result.share_of_measured_peak > IMPOSSIBLE:
        return f"{name} has {result.share_of_measured_peak:.0%} of the machine's peak, which is impossible"
    if not any(repeat.blocks for repeat in result.repeats):
        return f"{name} has no timed block"
    for block in result.blocks:
        if not (block.seconds > 0 and block.examples > 0 and math.isfinite(block.samples_per_second)):
            return f"{name} has a block with an impossible time"
    return None


def processes(result: Result) -> list[list[float]]:
    """Samples/s of the timed blocks, one list per process that has any."""
    return [[b.samples_per_second for b in repeat.blocks] for repeat in result.repeats if repeat.blocks]


def outcome(estimate: intervals.Estimate) -> PairOutcome:
    """Whether B is faster than A, slower, or not significantly different."""
    if not estimate.significant:
        return "not-significant"
    return "slower" if estimate.ratio < 1 else "faster"


def interval(estimate: intervals.Estimate) -> str:
    """ "99% interval 0.710 to 0.830", or a clause that says that there is no interval."""
    if estimate.low is None or estimate.high is None:
        return "too few blocks for an interval"
    return f"{intervals.CONFIDENCE:.0%} interval {estimate.low:.3f} to {estimate.high:.3f}"


def in_words(low: float, high: float) -> str:
    """An interval of the ratio B/A in words: "44% slower to 22% faster", "2% to 9% slower"."""
    below, above = abs(1 - low), abs(1 - high)
    if low < 1 < high:
        return f"{below:.0%} slower to {above:.0%} faster"
    if high <= 1:
        return f"{above:.0%} to {below:.0%} slower"
    return f"{below:.0%} to {above:.0%} faster"


def speed(samples_per_second: float) -> str:
    """Samples/s with three or more significant digits: "1,118", "48.3"."""
    return f"{samples_per_second:,.0f}" if samples_per_second >= 100 else f"{samples_per_second:.3g}"


def _matched(a: tuple[Result, ...], b: tuple[Result, ...]) -> Iterator[tuple[Result | None, Result | None]]:
    """Each result of A with the most similar one of B, or None; then the remaining ones of B.

    The most similar result has the same key, else the same label, else the same workload.
    """
    left = list(b)
    partners: list[Result | None] = [None] * len(a)
    criteria: tuple[Callable[[Result], object], ...] = (
        key,
        lambda r: (r.label, r.backend),
        lambda r: (r.workload, r.backend),
        lambda r: r.workload,
    )
    for criterion in criteria:
        for place, one in enumerate(a):
            if partners[place] is None:
                found = next((other for other in left if criterion(other) == criterion(one)), None)
                if found is not None:
                    left.remove(found)
                    partners[place] = found
    yield from zip(a, partners, strict=True)
    yield from ((None, other) for other in left)


def _pair(a: Result | None, b: Result | None) -> Pair:
    one = a or b
    assert one is not None  # noqa: S101 - for the type checker
    workload, backend, precision, batch_size, *_ = key(one)
    if a is None or b is None:
        why: str | None = f"only in {'B' if a is None else 'A'}"
    else:
        why = refusal(a, b)
    if why is not None or a is None or b is None:
        return Pair(
            workload=workload,
            backend=backend,
            precision=precision,
            batch_size=batch_size,
            outcome="not-comparable",
            reason=why or "",
        )
    speeds_a, speeds_b = processes(a), processes(b)
    estimate = intervals.estimate(speeds_a, speeds_b)
    counts = (len(speeds_a), len(speeds_b))
    return Pair(
        workload=workload,
        backend=backend,
        precision=precision,
        batch_size=batch_size,
        outcome="disturbed"
        if estimate.significant and any(map(steadiness.disturbed, (a, b)))
        else outcome(estimate),
        reason="; ".join([_reason(estimate, counts), *_doubts("A", a), *_doubts("B", b)]),
        significant=estimate.significant,
        a_samples_per_second=estimate.a_samples_per_second,
        b_samples_per_second=estimate.b_samples_per_second,
        ratio=estimate.ratio,
        low=estimate.low,
        high=estimate.high,
        method=estimate.method,
        processes=counts,
        repeats_to_decide=None if estimate.significant else intervals.repeats_to_decide(speeds_a, speeds_b),
    )


def _doubts(side: str, result: Result) -> Iterator[str]:
    """Why the result of one side may be unreliable, by the limits of ``steadiness``."""
    others, rates, unlike = steadiness.others(result), result.samples_per_second, steadiness.unlike(result)
    if steadiness.is_busy(result):
        yield f"other programs used {others:.1f} cores during {side}, so its speed is too low"
    if rates.median > 0 and rates.mad / rates.median > steadiness.UNSTEADY[steadiness.kind(result)]:
        yield f"{side} is unsteady (MAD {rates.mad / rates.median:.1%} over its blocks)"
    if len(steadiness.governors(result)) > 1:
        yield f"the processor's governor changed during {side} ({', then '.join(steadiness.governors(result))})"
    if unlike is not None:
        yield f"{side} is unsteady: {unlike}"


def _reason(estimate: intervals.Estimate, counts: tuple[int, int]) -> str:
    basis = {
        "processes": f"{counts[0]} processes against {counts[1]}",
        "borrowed": f"{counts[0]} processes against {counts[1]}, both with the variance of the {max(counts)}",
        "within": f"{counts[0]} process{'es' if counts[0] > 1 else ''} against {counts[1]}, too few to estimate the "
        f"variation between processes, so differences below {intervals.ONE_PROCESS_FLOOR:.0%} are not significant; "
        "measure both with --repeats 5",
    }[estimate.method]
    change = abs(estimate.ratio - 1)
    difference = f"{change:.1%} {'slower' if estimate.ratio < 1 else 'faster'}"
    significance = "" if estimate.significant else " is not significant"
    return f"{difference}{significance}, {interval(estimate)}; {basis}"


def _side(document: Document, name: str) -> Side:
    return Side(
        name=name,
        run_id=document.run_id,
        started_at=document.started_at,
        hostname=document.machine.host.hostname,
    )


def _differences(a: Document, b: Document) -> Iterator[Difference]:
    for what, one, other in (
        ("host", a.machine.host.hostname, b.machine.host.hostname),
        ("processor", *(identity(d.machine)[1] for d in (a, b))),
        ("card", *(", ".join(_cards(d.machine)) or "none" for d in (a, b))),
        ("driver", *(d.machine.driver.library_version.value or "none" for d in (a, b))),
        ("governor", *(d.machine.host.cpu_governor.value or "unknown" for d in (a, b))),
        ("kernel", a.machine.host.kernel, b.machine.host.kernel),
        ("trained on", *(", ".join(sorted({r.device for r in d.results})) for d in (a, b))),
        ("dlbox", a.dlbox_version, b.dlbox_version),
    ):
        if one != other:
            yield Difference(what=what, a=one, b=other)
    versions_a, versions_b = _versions(a), _versions(b)
    for name in sorted(versions_a.keys() | versions_b.keys()):
        one, other = versions_a.get(name, "none"), versions_b.get(name, "none")
        if one != other:
            yield Difference(what=name, a=one, b=other)


def _cards(machine: Machine) -> list[str]:
    """Names of the cards from NVML; PCI ids if NVML gives no name."""
    named = [gpu.name.value for gpu in machine.gpus if gpu.name.value]
    return named or [card.pci_id for card in machine.cards]


def _versions(document: Document) -> dict[str, str]:
    return {name: version for result in document.results for name, version in result.versions.items()}
