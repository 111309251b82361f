"""Charts of a result as inline SVG that takes its colours from the page around it."""

from __future__ import annotations

import io
import itertools
import re
from typing import Any

from bench.health import thermal
from bench.results.record import Result
from bench.results.telemetry import CardSummary, Telemetry

# Okabe and Ito's colour-blind safe palette; the page may override each through a CSS variable.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#f0e442")
_INK = "#010203"
"""Stands for the page's text colour while matplotlib draws."""

_HARMFUL = thermal.HW_SLOWDOWN | thermal.SW_THERMAL | thermal.HW_THERMAL | thermal.POWER_BRAKE
_POWER_LIMIT = 0x04


def throughput(results: tuple[Result, ...]) -> str:
    """Bars of median samples/s, each with its median absolute deviation, slowest at the bottom."""
    import matplotlib.figure

    ordered = sorted(results, key=lambda r: r.samples_per_second.median)
    figure = matplotlib.figure.Figure(figsize=(7, 0.6 * len(ordered) + 0.9), layout="constrained")
    axes = figure.subplots()
    names = [r.workload for r in ordered]
    rates = [r.samples_per_second.median for r in ordered]
    axes.barh(
        names,
        rates,
        xerr=[r.samples_per_second.mad for r in ordered],
        color=SERIES[0],
        ecolor=_INK,
        height=0.6,
    )
    for place, rate in enumerate(rates):
        axes.annotate(
            f" {rate:,.0f}", (rate, place), va="bottom", ha="left", xytext=(2, 3), textcoords="offset points"
        )
    axes.set_xlabel("training samples per second (bar: median, line: ± median absolute deviation)")
    axes.set_xlim(0, max(rates) * 1.15)
    return _svg(
        figure,
        "Training throughput: "
        + "; ".join(f"{n} {r:,.0f} samples/s" for n, r in zip(names, rates, strict=True)),
    )


def block_rates(results: tuple[Result, ...]) -> str:
    """Samples/s of every timed block in the order it was measured: drift and disturbance are seen here."""
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(7, 2.8), layout="constrained")
    axes = figure.subplots()
    for number, result in enumerate(results):
        seconds = list(itertools.accumulate(block.seconds for block in result.blocks))
        axes.plot(
            seconds,
            [block.samples_per_second for block in result.blocks],
            marker="os^Dv<>P"[number % 8],
            markersize=4,
            linewidth=1.2,
            color=SERIES[number % len(SERIES)],
            label=result.workload,
        )
    axes.set_xlabel("seconds of timed training")
    axes.set_ylabel("samples per second")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, ncols=4, loc="lower right")
    return _svg(figure, "Samples per second of each timed block, by model; a flat line is a steady machine")


def card(name: str, telemetry: Telemetry) -> str:
    """Clock, temperature and power of the card over time, as far as it tells them, with the moments when its
    clock was held down; timed training is shaded. Empty where there is nothing to draw."""
    import matplotlib.figure

    samples = telemetry.samples
    columns: list[tuple[str, str, tuple[float | int | None, ...]]] = [
        ("clock, MHz", "s", samples.sm_mhz),
        ("temperature, °C", "o", samples.temperature_c),
        ("power, W", "D", samples.power_w),
    ]
    columns = [column for column in columns if any(value is not None for value in column[2])]
    if len(samples.second) < 2 or not columns:
        return ""
    figure = matplotlib.figure.Figure(figsize=(7, 1.0 * len(columns) + 0.7), layout="constrained")
    panels = figure.subplots(len(columns), 1, sharex=True, squeeze=False)[:, 0]
    for number, (axes, (label, marker, values)) in enumerate(zip(panels, columns, strict=True)):
        for start, end in telemetry.timed:
            axes.axvspan(start, end, color=SERIES[6], alpha=0.18, linewidth=0)
        axes.plot(
            samples.second,
            [float("nan") if value is None else value for value in values],
            color=SERIES[number],
            linewidth=1.2,
            marker=marker if len(values) <= 60 else None,
            markersize=3,
        )
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, 0) if label.startswith("power") else low - 0.05 * (high - low), high)
        axes.set_ylabel(label)
    _marks(panels[0], telemetry)
    panels[-1].set_xlabel("seconds; shaded: timed training")
    return _svg(figure, _told(name, telemetry.summary))


def _marks(axes: Any, telemetry: Telemetry) -> None:
    """When the clock was held down: along the upper edge for harm, along the lower for the power limit."""
    reasons = list(zip(telemetry.samples.second, telemetry.samples.event_reasons, strict=True))
    for bits, height, marker, color, label in (
        (_HARMFUL, 0.96, "v", SERIES[1], "held down by heat or a power fault"),
        (_POWER_LIMIT, 0.04, "|", SERIES[4], "at its power limit (harmless)"),
    ):
        seconds = [second for second, mask in reasons if mask is not None and mask & bits]
        if seconds:
            axes.plot(
                seconds,
                [height] * len(seconds),
                linestyle="",
                marker=marker,
                color=color,
                label=label,
                transform=axes.get_xaxis_transform(),
                clip_on=False,
            )
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)


def _told(name: str, summary: CardSummary | None) -> str:
    """The same in words."""
    parts = []
    if summary is not None:
        if summary.sm_mhz_min is not None:
            parts.append(f"clock {summary.sm_mhz_min:,} to {summary.sm_mhz_max:,} MHz")
        if summary.temperature_max_c is not None:
            parts.append(f"at most {summary.temperature_max_c} °C")
        if summary.power_mean_w is not None:
            parts.append(f"{summary.power_mean_w:.0f} W on average")
        if summary.harmful_seconds is not None:
            slow = [f"{reason} for {seconds:.1f} s" for reason, seconds in summary.harmful_seconds.items()]
            parts.append(", ".join(slow) or "never held down by heat or a power fault")
    return f"The card while {name} trained, over time: " + ("; ".join(parts) or "no summary")


def _svg(figure: Any, description: str) -> str:
    import matplotlib

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "dlbox",  # the same result gives the same page
        "font.family": "sans-serif",
        "font.size": 10,
    }
    for axes in figure.axes:
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for spine in axes.spines.values():
            spine.set_color(_INK)
        axes.tick_params(colors=_INK)
        axes.xaxis.label.set_color(_INK)
        axes.yaxis.label.set_color(_INK)
        for text in [*axes.texts, *(axes.get_legend().get_texts() if axes.get_legend() else [])]:
            text.set_color(_INK)
    with matplotlib.rc_context(settings):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", svg, count=1)
    svg = re.sub(r'(<svg [^>]*?)width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"font: [^;\"]*?(\d+(?:\.\d+)?)px [^;\"]*", r"font: \1px system-ui, sans-serif", svg)
    svg = svg.replace(_INK, "currentColor")
    label = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
