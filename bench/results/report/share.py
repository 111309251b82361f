"""A picture and a badge of a run, to show elsewhere."""

from __future__ import annotations

import io
from typing import Any

from markupsafe import escape

from bench.results.record.document import Document
from bench.results.report import headline
from bench.results.report.charts import label

WIDTH, HEIGHT = 1200, 630
"""Pixels of the picture: the size that sites show for a link."""

_BARS = 6
"""Maximum number of models in the picture: the text of more is too small in a preview."""

_COLOURS = {
    "ready": "#00694b",
    "cpu-only": "#00694b",
    "not-ready": "#b3261e",
    "uncertain": "#8a5300",
    "partial": "#8a5300",
}


def badge(document: Document) -> str:
    """An SVG of 20 pixels height with verdict and score. It needs no font of a site and loads nothing."""
    head = headline.of(document)
    left, right = "dlbox", f"{head.word}{f' {head.score_text}' if head.score_text else ''}"
    widths = [7 * len(words) + 12 for words in (left, right)]
    total, description = sum(widths), escape(f"{left}: {right}, {head.subject}")
    texts = "".join(
        f'<text x="{x}" y="14" textLength="{width - 12}" fill="#fff">{escape(words)}</text>'
        for x, width, words in ((6, widths[0], left), (widths[0] + 6, widths[1], right))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="20" role="img" aria-label="{description}">'
        f"<title>{description}</title>"
        f'<rect width="{total}" height="20" rx="3" fill="#3a424b"/>'
        f'<path d="M{widths[0]} 0h{widths[1] - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1 -3 3h-{widths[1] - 3}z" '
        f'fill="{_COLOURS[head.state]}"/>'
        f'<g font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">{texts}</g></svg>\n'
    )


def picture(document: Document) -> bytes:
    """A PNG of 1200 by 630 pixels: card or processor, verdict, score, and speeds. Raises ImportError without
    matplotlib."""
    import matplotlib
    import matplotlib.figure

    head = headline.of(document)
    with matplotlib.rc_context({"font.family": "sans-serif", "text.parse_math": False}):
        figure = matplotlib.figure.Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100, facecolor="#15181c")

        def write(x: float, y: float, words: str, size: float, color: str = "#e8eaed", **style: Any) -> None:
            figure.text(x, y, words, fontsize=size, color=color, va="top", **style)

        colour = {
            "ready": "#5fd3a5",
            "cpu-only": "#5fd3a5",
            "not-ready": "#ff8a80",
            "uncertain": "#f0b35a",
        }.get(head.state, "#f0b35a")
        name = _short(head.subject, 34)
        write(0.05, 0.93, name, 40 if len(name) <= 20 else 28, weight="bold")
        write(0.05, 0.79, head.word, 24, colour, weight="bold")
        if head.score_text:
            write(0.95, 0.93, head.score_text, 68, ha="right", weight="bold")
            count = len(head.score.models) if head.score else 0
            what = f"{head.half_text + ', ' if head.half_text else ''}score of {count} models"
            write(0.95, 0.75, what, 15, "#a5adb6", ha="right")
        if head.should:
            write(0.05, 0.69, _short(head.should, 90), 16)
        results = sorted(document.results, key=lambda r: -r.samples_per_second.median)[:_BARS]
        longest = max((r.samples_per_second.median for r in results), default=0.0) or 1.0
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        for row, result in enumerate(results):
            y = 0.56 - 0.075 * row
            rate = result.samples_per_second.median
            axes.barh(y, 0.55, left=0.26, height=0.044, color="#2b323a")
            axes.barh(y, 0.55 * rate / longest, left=0.26, height=0.044, color="#4aa8e8")
            figure.text(0.05, y, _short(label(result), 26), fontsize=15, color="#e8eaed", va="center")
            figure.text(0.95, y, f"{rate:,.0f}/s", fontsize=15, color="#e8eaed", va="center", ha="right")
        footer = f"training samples per second · dlbox {document.dlbox_version} · {head.day}"
        write(
            0.05,
            0.085,
            _short(footer if results else f"dlbox {document.dlbox_version} · {head.day}", 100),
            13,
            "#a5adb6",
        )
        buffer = io.BytesIO()
        figure.savefig(
            buffer, format="png", dpi=100, facecolor=figure.get_facecolor(), metadata={"Software": "dlbox"}
        )
    return buffer.getvalue()


def _short(words: str, length: int) -> str:
    return words if len(words) <= length else words[: length - 1].rstrip() + "…"
