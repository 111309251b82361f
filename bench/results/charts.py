"""Charts of a result as inline SVG that takes its colours from the page around it."""

from __future__ import annotations

import io
import itertools
import re
from typing import Any

from bench.results.record import Result

# Okabe and Ito's colour-blind safe palette; the page may override each through a CSS variable.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#f0e442")
_INK = "#010203"
"""Stands for the page's text colour while matplotlib draws."""


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
