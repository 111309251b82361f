"""Small drawings as inline SVG that uses the colours of the page; text in them stays readable on a phone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import escape


def svg(
    width: float, height: float, description: str, parts: Iterable[str], *, stretched: bool = False
) -> str:
    """One <svg> element with ``description`` as its text alternative.

    ``width``, ``height``: of the drawing's coordinates. ``stretched``: the drawing fills its box in both directions, so
    it must not contain text.
    """
    aspect = ' preserveAspectRatio="none"' if stretched else ""
    return (
        f'<svg role="img" aria-label="{escape(description)}" viewBox="0 0 {width:g} {height:g}"{aspect}>'
        f"{''.join(parts)}</svg>"
    )


def line(points: Sequence[tuple[float, float | None]], css: str) -> str:
    """A line through the points; a point without a height interrupts it. A single point becomes a short stroke."""
    commands, drawing = [], False
    for x, y in points:
        if y is None or not (math.isfinite(x) and math.isfinite(y)):
            drawing = False
            continue
        commands.append(f"{'L' if drawing else 'M'}{x:.1f} {y:.1f}")
        if not drawing:
            commands.append("h.1")
        drawing = True
    return f'<path class="line {css}" d="{"".join(commands)}"/>' if commands else ""


def bar(x: float, y: float, width: float, height: float, css: str) -> str:
    return (
        f'<rect class="{css}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}"/>'
    )


def text(x: float, y: float, words: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
