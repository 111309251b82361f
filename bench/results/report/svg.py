"""Colours of all charts, and their conversion to inline SVG that uses the text colour of the page."""

from __future__ import annotations

import io
import re
from typing import Any

SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")
"""Okabe and Ito's palette for colour-blind readers, without the colours that are invisible on white or on black."""

INK = "#010203"
"""Placeholder for the page's text colour while matplotlib draws."""

_UNUSED_IDS = (
    r' id="(?:figure|axes|patch|line2d|text|[xy]tick|matplotlib.axis|legend|[A-Za-z]*Collection)_[^"]*"'
)
"""Pattern of ids that nothing refers to. They are removed, because two charts on a page would have the same ids."""


def svg(figure: Any, description: str) -> str:
    """A matplotlib figure as one <svg> element, with ``description`` as its text alternative; deterministic."""
    import matplotlib

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "dlbox",  # equal results give equal pages
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
    text = re.sub(_UNUSED_IDS, "", text)
    text = text.replace(INK, "currentColor")
    label = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
