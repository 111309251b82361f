"""What the charts of a page have in common: colours, and inline SVG that takes them from the page around it."""

from __future__ import annotations

import io
import re
from typing import Any

# Okabe and Ito's colour-blind safe palette, the ones that are seen on white and on black.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")
INK = "#010203"
"""Stands for the page's text colour while matplotlib draws."""

_UNUSED = "figure|axes|patch|line2d|text|[xy]tick|matplotlib.axis|legend|[A-Za-z]*Collection"
"""Kinds of names that nothing refers to, and that would be there twice on a page with two charts."""


def svg(figure: Any, description: str) -> str:
    """The figure as one <svg> element, ``description`` for who cannot see it. The same figure gives the same text."""
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
            spine.set_color(INK)
        axes.tick_params(colors=INK)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
        for words in [*axes.texts, *(axes.get_legend().get_texts() if axes.get_legend() else [])]:
            words.set_color(INK)
    with matplotlib.rc_context(settings):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'(<svg [^>]*?)width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"font: [^;\"]*?(\d+(?:\.\d+)?)px [^;\"]*", r"font: \1px system-ui, sans-serif", text)
    text = re.sub(
        r' id="(?:figure|axes|patch|line2d|text|[xy]tick|matplotlib.axis|legend|[A-Za-z]*Collection)_[^"]*"',
        "",
        text,
    )
    text = text.replace(INK, "currentColor")
    label = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
