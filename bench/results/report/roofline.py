"""The roofline: the achieved FLOP/s of each workload, and the limits by memory and arithmetic of this machine.

Attainable FLOP/s = min(measured matrix peak, measured memory bandwidth x FLOP per byte); Williams, Waterman and
Patterson, "Roofline", Communications of the ACM 52(4), 2009. Both limits are measured on the same machine (``Probes``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec
from markupsafe import escape

from bench.results.record.document import Document, Result
from bench.results.record.figures import units
from bench.results.report.charts import label
from bench.results.report.svg import line, svg, text
from bench.results.stats.derived import measured_peak


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


_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 352.0, 10.0, 232.0
"""Edges of the drawing's area, in its coordinates of 360 by 262: as wide as a phone, so that its text can be read."""


def chart(document: Document) -> str:
    """The roofline as SVG, with a list of its numbered points; "" if it cannot be drawn (``missing`` gives the
    reason)."""
    found, probes = points(document), document.probes
    if not found or probes is None or not probes.bandwidth_gb_s:
        return ""
    bandwidth = probes.bandwidth_gb_s / 1e3
    peaks = {p: tflops for p, tflops in probes.matmul_tflops.items() if tflops > 0}
    used = {units(p.precision) for p in found}
    top = max(peaks.values())
    left = min([p.intensity for p in found] + [min(peaks.values()) / bandwidth]) / 2
    right = max([p.intensity for p in found] + [top / bandwidth]) * 4
    low, high = (
        min([p.tflops for p in found] + [left * bandwidth]) / 2,
        max([top, *(p.tflops for p in found)]) * 2,
    )

    def x(intensity: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * math.log(intensity / left) / math.log(right / left)

    def y(tflops: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * math.log(tflops / low) / math.log(high / low)

    parts = [line([(_LEFT, _TOP), (_LEFT, _BOTTOM), (_RIGHT, _BOTTOM)], "axis")]
    for value in _decades(left, right / 1.1):  # the label of a value at the edge would be cut
        parts.append(text(x(value), _BOTTOM + 13, f"{value:g}", anchor="middle"))
    for value in _decades(low, high):
        parts.append(text(_LEFT - 4, y(value) + 3, _short(value), anchor="end"))
        parts.append(line([(_LEFT, y(value)), (_RIGHT, y(value))], "grid"))
    parts.append(text((_LEFT + _RIGHT) / 2, _BOTTOM + 27, "FLOP per byte moved", anchor="middle"))
    parts.append(line([(x(left), y(left * bandwidth)), (x(top / bandwidth), y(top))], "limit-line"))
    for name, peak in sorted(peaks.items(), key=lambda item: -item[1]):
        css = "limit-line" if name in used else "limit-line unused"
        parts.append(line([(x(peak / bandwidth), y(peak)), (_RIGHT, y(peak))], css))
        parts.append(text(_RIGHT, y(peak) - 3, f"{name} {_speed(peak)}", anchor="end"))
    for number, point in enumerate(found, 1):
        parts.append(
            f'<circle class="point series{(number - 1) % 6}" cx="{x(point.intensity):.1f}" '
            f'cy="{y(point.tflops):.1f}" r="4.5"><title>{escape(point.name)}</title></circle>'
        )
    parts += _numbers([(x(p.intensity), y(p.tflops)) for p in found])
    described = "; ".join(
        f"{p.name} {_speed(p.tflops)} at {p.intensity:.3g} FLOP per byte, {p.share:.0%} of the {p.bound} limit"
        for p in found
    )
    peaks_text = ", ".join(f"{name} {_speed(peak)}" for name, peak in peaks.items())
    memory = f"memory {probes.bandwidth_gb_s:,.0f} GB/s"
    drawn = svg(360, 262, f"Roofline: {memory}, matrix peak {peaks_text}; {described}", parts)
    names = "".join(
        f"<li><b>{escape(p.name)}</b> {_speed(p.tflops)}, {p.share:.0%} of the {p.bound} limit</li>"
        for p in found
    )
    return (
        f'<div class="roofline">{drawn}<div><p>Sloped line: memory {probes.bandwidth_gb_s:,.3g} GB/s</p>'
        f"<ol>{names}</ol></div></div>"
    )


def _numbers(places: Sequence[tuple[float, float]]) -> Iterator[str]:
    """The number of each point beside it; where another number is near, further away."""
    taken: list[tuple[float, float]] = []
    for number, (x, y) in enumerate(places, 1):
        choices = [
            (x + dx, y + 3.5 + dy)
            for reach in (8.0, 18.0, 28.0, 40.0)
            for dx, dy in (
                (reach, 0),
                (-reach - 4, 0),
                (0, -reach),
                (0, reach),
                (reach, -reach),
                (-reach, reach),
            )
        ]
        others = [*taken, *((a, b + 3.5) for a, b in places)]
        place = next(
            (c for c in choices if all(abs(c[0] - a) > 9 or abs(c[1] - b) > 9 for a, b in others)), choices[0]
        )
        taken.append(place)
        yield text(place[0], place[1], str(number), anchor="middle")


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten in the range; with fewer than three, also their doubles and halves."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    tens = [10.0**n for n in powers if low <= 10.0**n <= high]
    if len(tens) >= 3:
        return tens[:12]
    return [m * 10.0**n for n in powers for m in (1, 2, 5) if low <= m * 10.0**n <= high]


def _short(tflops: float) -> str:
    return f"{tflops:g} T" if tflops >= 1 else f"{tflops * 1e3:g} G"


def _placed(result: Result) -> bool:
    return result.work is not None and result.achieved_tflops is not None and result.achieved_tflops > 0


def _speed(tflops: float) -> str:
    return f"{tflops:,.3g} TFLOP/s" if tflops >= 0.1 else f"{tflops * 1e3:,.3g} GFLOP/s"
