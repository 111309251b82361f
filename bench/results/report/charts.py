"""Charts of training speed and of card readings over time, each with a text alternative."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from bench.health import momentary
from bench.results.record.card import CardSummary, Telemetry
from bench.results.record.document import Result
from bench.results.report.svg import INK, SERIES, svg

_HARMFUL = momentary.HW_SLOWDOWN | momentary.SW_THERMAL | momentary.HW_THERMAL | momentary.POWER_BRAKE
_POWER_LIMIT = 0x04
_FURTHEST = 1.5
"""The axis of relative speeds ends at this factor and its reciprocal; values outside are drawn at the edge."""

_MARKED = 60
"""Maximum number of points with a marker each; with more, only the first point of each process has one. Markers make up
most of the page's size."""

_PANELS = 12
"""Maximum number of models with a separate panel: thirty panels took longer than the rest of the page."""

_ROW = 0.2
"""Range of speeds that the height of a row covers, relative to the model's median."""


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
    """Bars of median samples/s, the slowest at the bottom; beside them, reference speeds relative to this run.

    ``references``: by index in ``results``. Returns SVG.
    """
    import matplotlib.figure

    places = sorted(range(len(results)), key=lambda place: results[place].samples_per_second.median)
    ordered = [results[place] for place in places]
    compared = [(references or {}).get(place, Reference()) for place in places]
    relative = any(k.earlier or k.expected for k in compared) or any(_band(r) for r in ordered)
    figure = matplotlib.figure.Figure(figsize=(7.6, 0.36 * len(ordered) + 1.3), layout="constrained")
    panels = figure.subplots(
        1, 2 if relative else 1, sharey=True, squeeze=False, width_ratios=(3, 2) if relative else None
    )[0]
    axes, rows = panels[0], range(len(ordered))
    rates = [r.samples_per_second.median for r in ordered]
    mads = [r.samples_per_second.mad for r in ordered]
    axes.barh(rows, rates, xerr=mads, color=SERIES[0], ecolor=INK, height=0.62)
    axes.set_yticks(rows, [label(r) for r in ordered])
    for row, (rate, mad) in enumerate(zip(rates, mads, strict=True)):
        axes.annotate(
            f"{rate:,.0f}",
            (rate + mad, row),
            va="center",
            ha="left",
            xytext=(4, 0),
            textcoords="offset points",
        )
    axes.set_xlabel("training samples per second\n(bar: median, line: ± MAD)")
    axes.set_xlim(0, max(rates) * 1.25)
    axes.locator_params(axis="x", nbins=5)
    if relative:
        _relative_speeds(panels[1], ordered, compared)
    described = "; ".join(
        _describe_speed(r, k) for r, k in reversed(list(zip(ordered, compared, strict=True)))
    )
    return svg(figure, f"Training throughput: {described}")


def _relative_speeds(axes: Any, ordered: Sequence[Result], compared: Sequence[Reference]) -> None:
    """Draw the interval expected of another run, the earlier runs and the expected speed, all in percent of this
    run's median."""
    low, high = 0.9, 1.1

    def at(value: float, median: float, row: int) -> float:
        nonlocal low, high
        share = min(max(value / median, 1 / _FURTHEST), _FURTHEST)
        low, high = min(low, share), max(high, share)
        if share != value / median:
            edge = {"marker": ">" if share > 1 else "<", "color": INK, "markersize": 5, "clip_on": False}
            axes.plot([100 * share + (3 if share > 1 else -3)], [row], linestyle="", **edge)
        return 100 * share

    named: set[str] = set()

    def once(name: str) -> str:
        new = name not in named
        named.add(name)
        return name if new else "_"

    for row, (result, reference) in enumerate(zip(ordered, compared, strict=True)):
        median = result.samples_per_second.median
        if band := _band(result):
            ends = [at(end, median, row) for end in band]
            axes.plot(
                ends,
                [row, row],
                color=SERIES[6],
                alpha=0.55,
                linewidth=9,
                solid_capstyle="butt",
                label=once("expected of another run"),
            )
        if reference.earlier:
            dots = [at(rate, median, row) for rate in reference.earlier]
            style = {"marker": "o", "markersize": 5, "linestyle": "", "markerfacecolor": "none"}
            axes.plot(
                dots,
                [row] * len(dots),
                markeredgecolor=SERIES[1],
                label=once("earlier runs on this machine"),
                **style,
            )
        if reference.expected:
            mark = [at(reference.expected, median, row)]
            style = {"marker": "|", "markersize": 14, "markeredgewidth": 2.5, "linestyle": ""}
            axes.plot(mark, [row], color=INK, label=once("expected speed"), **style)
        axes.plot(
            [100], [row], marker="D", markersize=5, linestyle="", color=SERIES[0], label=once("this run")
        )
    axes.set_xlim(100 * low - 4, 100 * high + 4)
    axes.set_xlabel("speed, percent of this run")
    axes.tick_params(axis="y", length=0)
    axes.legend(frameon=False, ncols=1, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, fontsize=9)


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
    """Samples/s of every timed block in order of time: one panel per model, one line per process. Returns SVG.

    More than ``_PANELS`` models share one panel, with one row per model, relative to its median.
    """
    import matplotlib.figure

    if len(results) > _PANELS:
        return _block_rows(results)
    columns = min(3, len(results))
    lines = -(-len(results) // columns)
    height = 1.3 * lines + 0.6
    figure = matplotlib.figure.Figure(figsize=(7.6, height))
    figure.subplots_adjust(0.1, 0.55 / height, 0.99, 1 - 0.25 / height, wspace=0.3, hspace=0.65)
    panels = figure.subplots(lines, columns, squeeze=False).flat
    for axes, result in itertools.zip_longest(panels, results):
        if result is None:
            axes.set_axis_off()
            continue
        _lines(axes, result, lambda rate: rate)
        axes.set_ylim(0, 1.15 * max((b.samples_per_second for b in result.blocks), default=1.0))
        axes.set_xlim(left=0)
        axes.set_title(label(result), fontsize=9.5, loc="left", pad=2, color=INK)
        axes.locator_params(nbins=3)
        axes.tick_params(labelsize=8.5)
    figure.supxlabel("seconds of timed training", fontsize=10, color=INK, y=0.08 / height)
    figure.supylabel("samples per second", fontsize=10, color=INK, x=0.005)
    return svg(figure, _describe_spreads(results))


def _block_rows(results: tuple[Result, ...]) -> str:
    import matplotlib.figure

    height = 0.3 * len(results) + 0.8
    figure = matplotlib.figure.Figure(figsize=(7.6, height))
    figure.subplots_adjust(0.3, 0.6 / height, 0.99, 1 - 0.1 / height)
    axes = figure.subplots()
    for row, result in enumerate(reversed(results)):
        median = result.samples_per_second.median
        axes.axhline(row, color=SERIES[6], linewidth=0.6)
        _lines(
            axes,
            result,
            lambda rate, row=row, median=median: row + min(max((rate / median - 1) / _ROW, -0.48), 0.48),  # type: ignore[misc]
        )
    axes.set_yticks(range(len(results)), [label(r) for r in reversed(results)])
    axes.set_ylim(-0.6, len(results) - 0.4)
    axes.set_xlim(left=0)
    axes.tick_params(labelsize=9)
    axes.set_xlabel(f"seconds of timed training (the height of a row is {_ROW:.0%} of the model's median)")
    return svg(figure, _describe_spreads(results))


def _lines(axes: Any, result: Result, place: Callable[[float], float]) -> None:
    """Draw the blocks of each process in order of time. ``place``: samples/s -> y coordinate."""
    start, many = 0.0, len(result.blocks) > _MARKED
    for number, repeat in enumerate(r for r in result.repeats if r.blocks):
        ends = list(itertools.accumulate((b.seconds for b in repeat.blocks), initial=start))
        axes.plot(
            ends[1:],
            [place(block.samples_per_second) for block in repeat.blocks],
            marker="os"[number % 2],
            markevery=[0] if many else None,
            markersize=2.5,
            linewidth=1.2,
            color=SERIES[number % 2],
        )
        start = ends[-1]


def _describe_spreads(results: tuple[Result, ...]) -> str:
    spreads = "; ".join(
        f"{label(r)} {min(r.samples_per_second.values):,.0f} to {max(r.samples_per_second.values):,.0f}"
        for r in results
    )
    return f"Samples per second of each timed block, by model: {spreads}"


def card(name: str, telemetry: Telemetry) -> str:
    """Clock, temperature and power of the card over time, with the times of reduced clocks; timed training is shaded.

    Returns SVG, or "" without readings to draw.
    """
    import matplotlib.figure

    samples = telemetry.samples
    columns: list[tuple[str, str, tuple[float | int | None, ...]]] = [
        ("clock, MHz", "s", samples.sm_mhz),
        ("temperature, °C", "o", samples.temperature_c),
        ("power, W", "D", samples.power_w),
    ]
    columns = [
        (what, marker, values)
        for what, marker, values in columns
        if len(values) == len(samples.second) and any(value is not None for value in values)
    ]
    if len(samples.second) < 2 or not columns:
        return ""
    height = 1.2 * len(columns) + 0.7
    figure = matplotlib.figure.Figure(figsize=(7.6, height))
    figure.subplots_adjust(0.08, 0.5 / height, 0.99, 1 - 0.35 / height, hspace=0.4)
    panels = figure.subplots(len(columns), 1, sharex=True, squeeze=False)[:, 0]
    for number, (axes, (label, marker, values)) in enumerate(zip(panels, columns, strict=True)):
        for start, end in telemetry.timed:
            axes.axvspan(start, end, color=SERIES[6], alpha=0.18, linewidth=0)
        axes.plot(
            samples.second,
            [float("nan") if value is None else value for value in values],
            color=SERIES[number],
            linewidth=1.2,
            marker=marker if len(values) <= _MARKED else None,
            markersize=3,
        )
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, 0) if label.startswith("power") else low - 0.05 * (high - low), high)
        axes.set_title(label, fontsize=9.5, loc="left", pad=2, color=INK)
        axes.locator_params(axis="y", nbins=4)
    _mark_reduced_clocks(panels[0], telemetry)
    panels[-1].set_xlabel("seconds; shaded: timed training")
    return svg(figure, _describe_card(name, telemetry.summary))


def _mark_reduced_clocks(axes: Any, telemetry: Telemetry) -> None:
    """Mark the times of reduced clocks: those caused by heat or faults at the upper edge, those at the power limit at
    the lower edge."""
    samples = telemetry.samples
    reasons = list(itertools.zip_longest(samples.second, samples.event_reasons[: len(samples.second)]))
    for bits, height, marker, color, label in (
        (_HARMFUL, 0.96, "v", SERIES[1], "clock reduced by heat or a power fault"),
        (_POWER_LIMIT, 0.04, "|", SERIES[4], "at the power limit (normal)"),
    ):
        marked = [second if mask is not None and mask & bits else math.nan for second, mask in reasons]
        begins = [
            n
            for n, second in enumerate(marked)
            if not math.isnan(second) and (n == 0 or math.isnan(marked[n - 1]))
        ]
        if begins:
            axes.plot(
                marked,
                [height] * len(marked),
                marker=marker,
                markevery=begins,
                linewidth=3,
                color=color,
                label=label,
                transform=axes.get_xaxis_transform(),
                clip_on=False,
            )
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)


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
