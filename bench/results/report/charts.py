"""Charts of training speed and of card readings over time, each with a text alternative.

Bars are HTML, so that names and numbers keep their size on a phone; lines are small SVG drawings beside HTML text.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from markupsafe import escape

from bench.health import momentary
from bench.results.record.card import CardSummary, Telemetry
from bench.results.record.document import Result
from bench.results.report.svg import bar, line, svg

_HARMFUL = momentary.HW_SLOWDOWN | momentary.SW_THERMAL | momentary.HW_THERMAL | momentary.POWER_BRAKE
_POWER_LIMIT = 0x04
_FURTHEST = 1.5
"""The axis of relative speeds ends at this factor and its reciprocal; values outside are drawn at the edge."""

_DRAWN_POINTS = 400
"""Maximum number of points of a line: more do not fit in the width of a screen, and make up most of the page's size."""


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Reference speeds of one result in samples/s: medians of ``earlier`` runs of its kind on this machine, the oldest
    first, and the ``expected`` speed."""

    earlier: tuple[float, ...] = ()
    expected: float | None = None


def label(result: Result) -> str:
    """Name of a result: its workload, with the batch size if it is not the workshop's."""
    batch = "" if result.batch_kind == "workshop" else f", batch {result.batch_size}"
    return result.workload + batch + (f", {result.devices} devices" if result.devices > 1 else "")


def throughput(results: tuple[Result, ...], references: Mapping[int, Reference] | None = None) -> str:
    """Bars of median samples/s, the fastest first; below each, reference speeds relative to this run.

    ``references``: by index in ``results``. Returns HTML.
    """
    places = sorted(range(len(results)), key=lambda place: -results[place].samples_per_second.median)
    pairs = [(results[place], (references or {}).get(place, Reference())) for place in places]
    longest = max(r.samples_per_second.median + r.samples_per_second.mad for r, _ in pairs)
    shares = [share for r, k in pairs for share in _shares(r, k)]
    low, high = 100 * min([0.9, *shares]) - 4, 100 * max([1.1, *shares]) + 4
    compared = bool(shares)
    rows = "".join(_row(r, k, longest, (low, high) if compared else None) for r, k in pairs)
    described = "; ".join(_describe_speed(r, k) for r, k in pairs)
    legend = _legend(pairs, low, high) if compared else ""
    alternative = escape(f"Training throughput: {described}")
    return f'<div class="bars" role="img" aria-label="{alternative}">{rows}</div>{legend}'


def _row(result: Result, reference: Reference, longest: float, axis: tuple[float, float] | None) -> str:
    rates = result.samples_per_second
    width = 100 * rates.median / longest
    mad = 100 * rates.mad / longest
    track = f'<i class="fill" style="width:{width:.2f}%"></i>'
    track += f'<i class="spread" style="left:{max(width - mad, 0):.2f}%;width:{2 * mad:.2f}%"></i>'
    strip = f'<div class="strip">{"".join(_marks(result, reference, *axis))}</div>' if axis else ""
    return (
        f'<div class="bar"><span class="name">{escape(label(result))}</span>'
        f'<span class="value">{_rate(rates.median)}</span><div class="track">{track}</div>{strip}</div>'
    )


def _marks(result: Result, reference: Reference, low: float, high: float) -> Iterator[str]:
    """The interval in which another run is expected, the earlier runs, the expected speed, and this run."""
    median = result.samples_per_second.median

    def at(value: float) -> float:
        return (100 * _limited(value / median) - low) / (high - low) * 100

    if band := _band(result):
        left, right = (at(end) for end in band)
        yield f'<i class="expected" style="left:{left:.2f}%;width:{right - left:.2f}%"></i>'
    for rate in reference.earlier:
        yield f'<i class="earlier{_edge(rate / median)}" style="left:{at(rate):.2f}%"></i>'
    if reference.expected:
        yield f'<i class="should{_edge(reference.expected / median)}" style="left:{at(reference.expected):.2f}%"></i>'
    yield f'<i class="this" style="left:{at(median):.2f}%"></i>'


def _legend(pairs: Sequence[tuple[Result, Reference]], low: float, high: float) -> str:
    shown = (
        ("this", "this run", True),
        ("expected", "expected of another run", any(_band(r) for r, _ in pairs)),
        ("earlier", "earlier runs on this machine", any(k.earlier for _, k in pairs)),
        ("should", "expected speed", any(k.expected for _, k in pairs)),
    )
    keys = "".join(f'<span><i class="{css}"></i>{name}</span>' for css, name, there in shown if there)
    axis = f"Below each bar: speed relative to this run, from {low:.0f}% to {high:.0f}%."
    return f'<p class="legend">{axis}<br>{keys}</p>'


def _limited(share: float) -> float:
    return min(max(share, 1 / _FURTHEST), _FURTHEST)


def _edge(share: float) -> str:
    return " beyond" if _limited(share) != share else ""


def _shares(result: Result, reference: Reference) -> list[float]:
    expected = (reference.expected,) if reference.expected else ()
    values = (*(_band(result) or ()), *reference.earlier, *expected)
    return [_limited(value / result.samples_per_second.median) for value in values]


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _band(result: Result) -> tuple[float, float] | None:
    interval = result.interval
    return (
        None
        if interval is None or interval.low is None or interval.high is None
        else (interval.low, interval.high)
    )


def _describe_speed(result: Result, reference: Reference) -> str:
    text = f"{label(result)} {result.samples_per_second.median:,.0f} samples/s"
    if band := _band(result):
        text += f", expected of another run {band[0]:,.0f} to {band[1]:,.0f}"
    if reference.expected:
        text += f", expected speed {reference.expected:,.0f}"
    if reference.earlier:
        text += (
            f", median of {len(reference.earlier)} earlier runs {statistics.median(reference.earlier):,.0f}"
        )
    return text


def block_rates(results: tuple[Result, ...]) -> str:
    """Samples/s of every timed block in order of time: one panel per model, one line per process. Returns HTML."""
    return f'<div class="panels">{"".join(map(_blocks, results))}</div>'


def _blocks(result: Result) -> str:
    rates = result.samples_per_second
    top = 1.15 * max((b.samples_per_second for b in result.blocks), default=1.0) or 1.0
    seconds = sum(b.seconds for b in result.blocks) or 1.0
    lines, start = [], 0.0
    for number, repeat in enumerate(r for r in result.repeats if r.blocks):
        ends = list(itertools.accumulate((b.seconds for b in repeat.blocks), initial=start))
        points = [
            (200 * end / seconds, 60 - 60 * block.samples_per_second / top)
            for end, block in zip(ends[1:], repeat.blocks, strict=True)
        ]
        lines.append(line(_thinned(points), f"process{number % 2}"))
        start = ends[-1]
    spread = f"{_rate(min(rates.values))} to {_rate(max(rates.values))}"
    described = f"Samples per second of each timed block of {label(result)}: {spread} in {_time(seconds)}"
    return (
        f'<div class="panel"><b>{escape(label(result))}</b> <span>{spread} samples/s, {_time(seconds)}</span>'
        f"{svg(200, 60, described, lines, stretched=True)}</div>"
    )


def _thinned(points: Sequence[tuple[float, float | None]]) -> Sequence[tuple[float, float | None]]:
    return points[:: -(-len(points) // _DRAWN_POINTS)] if points else points


def card(name: str, telemetry: Telemetry) -> str:
    """Clock, temperature and power of the card over time, with the times of reduced clocks; timed training is shaded.

    Returns HTML, or "" without readings to draw.
    """
    samples = telemetry.samples
    columns = [
        (what, values)
        for what, values in (
            ("clock, MHz", samples.sm_mhz),
            ("temperature, °C", samples.temperature_c),
            ("power, W", samples.power_w),
        )
        if any(value is not None for value in values)
    ]
    if not columns or len(samples.second) < 2:
        return ""
    first, end = samples.second[0], samples.second[-1]
    span = (end - first) or 1.0

    def across(second: float) -> float:
        return 300 * min(max((second - first) / span, 0.0), 1.0)

    shade = [bar(across(a), 0, across(b) - across(a), 60, "timed") for a, b in telemetry.timed]
    panels, described = [], _describe_card(name, telemetry.summary)
    for number, (what, values) in enumerate(columns):
        known = [value for value in values if value is not None and math.isfinite(value)]
        if not known:
            continue
        low, high = min(known), max(known)
        height = (high - low) or 1.0
        points = [
            (across(second), None if value is None else 56 - 46 * (value - low) / height)
            for second, value in zip(samples.second, values, strict=False)
        ]
        marks = list(_reduced(telemetry, across)) if number == 0 else []
        drawn = svg(
            300, 60, described if number == 0 else f"{what}: {low:,.0f} to {high:,.0f}",
            [*shade, line(_thinned(points), f"series{number}"), *marks], stretched=True,
        )  # fmt: skip
        panels.append(f'<div class="panel"><b>{what}</b> <span>{low:,.0f} to {high:,.0f}</span>{drawn}</div>')
    keys = '<span><i class="timed"></i>timed training</span>'
    reasons = [mask for mask in samples.event_reasons if mask is not None]
    if any(mask & _HARMFUL for mask in reasons):
        keys += '<span><i class="slow"></i>clock reduced by heat or a power fault</span>'
    if any(mask & _POWER_LIMIT for mask in reasons):
        keys += '<span><i class="limit"></i>at the power limit (normal)</span>'
    return f'<div class="panels">{"".join(panels)}</div><p class="legend">{span:.0f} seconds. {keys}</p>'


def _reduced(telemetry: Telemetry, across: Callable[[float], float]) -> Iterator[str]:
    """Stripes at the times of reduced clocks: those by heat or faults at the upper edge, those at the power limit at
    the lower edge."""
    samples = telemetry.samples
    seconds = samples.second
    for bits, y, css in ((_HARMFUL, 0.0, "slow"), (_POWER_LIMIT, 56.0, "limit")):
        start: float | None = None
        for second, mask in itertools.zip_longest(seconds, samples.event_reasons[: len(seconds)]):
            active = mask is not None and bool(mask & bits)
            if active and start is None:
                start = second
            if not active and start is not None:
                yield bar(across(start), y, across(second) - across(start), 4, css)
                start = None
        if start is not None:
            yield bar(across(start), y, across(seconds[-1]) - across(start), 4, css)


def _describe_card(name: str, summary: CardSummary | None) -> str:
    """Text alternative of the chart, from the summary of the readings."""
    parts = []
    if summary is not None:
        if summary.sm_mhz_min is not None and summary.sm_mhz_max is not None:
            parts.append(f"clock {summary.sm_mhz_min:,} to {summary.sm_mhz_max:,} MHz")
        if summary.temperature_max_c is not None:
            parts.append(f"maximum {summary.temperature_max_c} °C")
        if summary.power_mean_w is not None:
            parts.append(f"{summary.power_mean_w:.0f} W on average")
        if summary.harmful_seconds is not None:
            slow = [f"{reason} for {seconds:.1f} s" for reason, seconds in summary.harmful_seconds.items()]
            parts.append(", ".join(slow) or "clock never reduced by heat or a power fault")
    return f"The card during training of {name}, over time: " + ("; ".join(parts) or "no summary")
