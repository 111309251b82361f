"""The roofline: the achieved FLOP/s of each workload, and the limits by memory and arithmetic of this machine.

Attainable FLOP/s = min(measured matrix peak, measured memory bandwidth x FLOP per byte); Williams, Waterman and
Patterson, "Roofline", Communications of the ACM 52(4), 2009. Both limits are measured on the same machine (``Probes``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from bench.results.record.document import Document, Result
from bench.results.record.figures import units
from bench.results.report.charts import label
from bench.results.report.svg import INK, SERIES, svg
from bench.results.stats.derived import measured_peak

_MARKERS = "osD^v<>Pp*Xh"


class RooflinePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One result on the chart: FLOP per byte, TFLOP/s, and the lower of the two limits there."""

    name: str
    intensity: float
    tflops: float
    allowed_tflops: float
    precision: str
    bound: str
    """"memory" or "arithmetic": which limit is the lower one."""

    @property
    def share(self) -> float:
        """Achieved FLOP/s divided by the limit."""
        return self.tflops / self.allowed_tflops


def points(document: Document) -> list[RooflinePoint]:
    """The results whose work, speed and limits are known; others are left out."""
    probes, found = document.probes, []
    for result in document.results:
        peak = measured_peak(result, probes)
        if probes is None or not peak or not probes.bandwidth_gb_s or not _placed(result):
            continue
        work, achieved = result.work, result.achieved_tflops
        if work is None or achieved is None or (result.on_gpu and result.devices > 1):
            continue
        slope = probes.bandwidth_gb_s / 1e3 * work.intensity
        found.append(
            RooflinePoint(
                name=label(result),
                intensity=work.intensity,
                tflops=achieved,
                allowed_tflops=min(peak, slope),
                precision=result.precision,
                bound="memory" if slope < peak else "arithmetic",
            )
        )
    return found


def missing(document: Document) -> str:
    """One sentence that says why the chart cannot be drawn, or "" if it can."""
    if not document.results or points(document):
        return ""
    probes = document.probes
    if probes is None:
        return "No roofline: the matrix peak and the memory bandwidth of this machine were not measured in this run."
    if not any(_placed(result) for result in document.results):
        return "No roofline: the number of operations of these models is unknown, and so are their FLOP/s."
    if not probes.bandwidth_gb_s or not probes.matmul_tflops:
        errors = "; ".join(f"{name}: {trouble}" for name, trouble in probes.troubles.items())
        return f"No roofline: a probe of the machine has no result ({errors or 'without an error message'})."
    return "No roofline: the probes ran on another device or in another precision than the training."


def chart(document: Document) -> str:
    """SVG of the roofline, or "" if it cannot be drawn (``missing`` gives the reason)."""
    import matplotlib.figure
    from matplotlib import ticker

    found, probes = points(document), document.probes
    if not found or probes is None or not probes.bandwidth_gb_s:
        return ""
    bandwidth = probes.bandwidth_gb_s / 1e3
    peaks = {p: tflops for p, tflops in probes.matmul_tflops.items() if tflops > 0}
    used = {units(p.precision) for p in found}
    left = min([p.intensity for p in found] + [min(peaks.values()) / bandwidth]) / 2
    right = max([p.intensity for p in found] + [max(peaks.values()) / bandwidth]) * 4
    figure = matplotlib.figure.Figure(figsize=(7.6, 4.4), layout="constrained")
    axes = figure.subplots()
    for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        scale("log")
        axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        axis.set_minor_locator(ticker.NullLocator())
    axes.set_xlim(left, right)
    axes.set_ylim(min(p.tflops for p in found) / 3, max(peaks.values()) * 2.2)
    for name, peak in sorted(peaks.items(), key=lambda item: -item[1]):
        ridge = peak / bandwidth
        dashes = "-" if name in used else ":"
        axes.plot([ridge, right], [peak, peak], color=INK, linestyle=dashes, linewidth=1.6)
        above: dict[str, Any] = {"xytext": (-2, 3), "textcoords": "offset points"}
        axes.annotate(f"{name} {_speed(peak)}", (right, peak), ha="right", va="bottom", **above)
    top = max(peaks.values())
    axes.plot([left, top / bandwidth], [left * bandwidth, top], color=INK, linewidth=1.6)
    for number, point in enumerate(found):
        axes.plot(
            [point.intensity],
            [point.tflops],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=7,
            linestyle="",
            color=SERIES[number % 6],
            markeredgecolor=INK,
            markeredgewidth=0.6,
        )
    axes.set_ylim(bottom=min(axes.get_ylim()[0], left * bandwidth))
    _name(
        figure,
        axes,
        found,
        f"memory {probes.bandwidth_gb_s:,.3g} GB/s",
        (left, bandwidth, min(peaks.values())),
    )
    axes.set_xlabel("FLOP per byte moved")
    axes.set_ylabel("TFLOP/s")
    described = "; ".join(
        f"{p.name} {_speed(p.tflops)} at {p.intensity:.3g} FLOP per byte, {p.share:.0%} of the {p.bound} limit"
        for p in found
    )
    peaks_text = ", ".join(f"{name} {_speed(peak)}" for name, peak in peaks.items())
    return svg(
        figure, f"Roofline: memory {probes.bandwidth_gb_s:,.0f} GB/s, matrix peak {peaks_text}; {described}"
    )


def _name(
    figure: Any, axes: Any, found: Sequence[RooflinePoint], memory: str, slope: tuple[float, float, float]
) -> None:
    """Write each name near its point, at a place where it overlaps no other point or name. A line connects a name
    with a distant point."""
    figure.draw_without_rendering()
    per_point = figure.dpi / 72
    pixels = axes.transData.transform([(p.intensity, p.tflops) for p in found]) / per_point
    inside = axes.get_window_extent()
    box = tuple(edge / per_point for edge in (inside.x0, inside.y0, inside.x1, inside.y1))
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in pixels]
    left, bandwidth, lowest = slope
    middle = (left * lowest / bandwidth) ** 0.5  # half way up, below the line
    x, y = axes.transData.transform((middle, middle * bandwidth)) / per_point
    taken.append((x + 8, y - 12, x + 8 + 5.6 * len(memory), y))
    under = {"xytext": (8, -6), "textcoords": "offset points", "va": "center"}
    axes.annotate(memory, (middle, middle * bandwidth), **under)
    for (x, y), point in sorted(zip(pixels.tolist(), found, strict=True), key=lambda pair: -pair[0][1]):
        width, height = 5.4 * len(point.name) + 2, 11
        choices = [
            (x + dx, y + dy - height / 2, x + dx + width, y + dy + height / 2)
            for reach in (9, 20, 34, 50, 70, 95, 125)
            for dx, dy in _around(reach, width)
        ]
        free = (c for c in choices if _within(c, box) and not any(_meet(c, other) for other in taken))
        place = next(free, choices[0])
        taken.append(place)
        near = abs(place[0] - x) < 12 and abs((place[1] + place[3]) / 2 - y) < 6
        axes.annotate(
            point.name,
            (point.intensity, point.tflops),
            xytext=(place[0] - x, (place[1] + place[3]) / 2 - y),
            textcoords="offset points",
            va="center",
            fontsize=9,
            arrowprops=None if near else {"arrowstyle": "-", "color": INK, "linewidth": 0.5, "alpha": 0.6},
        )


def _around(reach: float, width: float) -> Iterable[tuple[float, float]]:
    """Offsets of a name's left edge and vertical middle from its point: right, left, above and below."""
    return (
        (reach, 0),
        (-reach - width, 0),
        (reach, reach),
        (reach, -reach),
        (-reach - width, reach),
        (-reach - width, -reach),
        (-width / 2, reach),
        (-width / 2, -reach),
    )


def _meet(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _within(one: Sequence[float], box: Sequence[float]) -> bool:
    return one[0] >= box[0] and one[1] >= box[1] and one[2] <= box[2] and one[3] <= box[3]


def _placed(result: Result) -> bool:
    return result.work is not None and result.achieved_tflops is not None and result.achieved_tflops > 0


def _speed(tflops: float) -> str:
    return f"{tflops:,.3g} TFLOP/s" if tflops >= 0.1 else f"{tflops * 1e3:,.3g} GFLOP/s"
