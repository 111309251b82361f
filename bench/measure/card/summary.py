"""Readings of a card and the spans of timed training -> what they come to. Pure: nothing is read in here."""

from __future__ import annotations

import bisect
import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from bench.health.checks import thermal
from bench.results.record.card import (
    HALF_CLOCK,
    HARDWARE,
    HARDWARE_HEAT,
    POWER_BRAKE,
    SOFTWARE_HEAT,
    CardSummary,
    EnergyMethod,
    Series,
    Telemetry,
)
from inventory.machine.records import Gpu

MOST_READINGS = 300
"""Kept of each workload: about 10 kB."""

LEAST_ENERGY_S = 2.0
"""Less timed training than this gives no figure of energy: the power reading is a mean over a second."""

_HARMFUL = {
    SOFTWARE_HEAT: (thermal.SW_THERMAL, "sw_thermal_us"),
    HARDWARE_HEAT: (thermal.HW_THERMAL, "hw_thermal_us"),
    POWER_BRAKE: (thermal.POWER_BRAKE, "power_brake_us"),
}
"""Name -> bit of the mask, and the driver's counter of microseconds where newer drivers have one."""

Points = list[tuple[float, float]]


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of one card, ``second`` seconds after the sampler began."""

    second: float
    gpu: Gpu
    process: int = 0
    """Number of the training process. Between two of them the card may have done other work."""
    own_seen: bool | None = None
    """Whether the training process was in the driver's list; None without a list."""
    own_memory_bytes: int | None = None
    others: tuple[str, ...] = ()
    """Other programs that compute on the card and draw nothing."""
    own_running: bool = False
    """Whether the driver told that kernels of the training process ran."""
    shares: dict[str, int] | None = None
    """Percent of the last second in which kernels of ``others`` ran, and of programs that compute and draw."""


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """The timed training of one process: ``examples`` between ``start`` and ``end`` (seconds)."""

    start: float
    end: float
    examples: int
    process: int = 0


def telemetry(moments: Sequence[Moment], timed: Sequence[Timed], trouble: str = "") -> Telemetry:
    """Of the card that the training process was on."""
    spans = tuple((round(t.start, 2), round(t.end, 2)) for t in timed)
    index = _card(moments, timed)
    if index is None:
        return Telemetry(timed=spans, trouble=trouble or "no card gave a reading")
    own = sorted((m for m in moments if m.gpu.index == index), key=lambda m: m.second)
    return Telemetry(
        gpu=index, timed=spans, samples=series(own), summary=summary(own, timed), trouble=trouble
    )


def _card(moments: Sequence[Moment], timed: Sequence[Timed]) -> int | None:
    """The card with the training process; where the driver has no list, the busiest; then the first."""

    def worth(index: int) -> tuple[int, float, int]:
        seen = [m for m in _within(moments, timed) if m.gpu.index == index]
        used = [m.gpu.utilisation_percent.value or 0 for m in seen]
        return sum(1 for m in seen if m.own_seen), statistics.fmean(used) if used else 0.0, -index

    return max({m.gpu.index for m in moments}, key=worth, default=None)


def series(moments: Sequence[Moment]) -> Series:
    """All readings in columns, or of a long run every second, third ... with the reasons of those between."""
    every = max(1, math.ceil(len(moments) / MOST_READINGS))
    groups = [moments[at : at + every] for at in range(0, len(moments), every)]
    first = [group[0] for group in groups]
    return Series(
        second=tuple(round(m.second, 2) for m in first),
        sm_mhz=tuple(m.gpu.clocks.sm_mhz.value for m in first),
        temperature_c=tuple(m.gpu.temperatures.gpu_c.value for m in first),
        power_w=tuple(m.gpu.power.draw_w.value for m in first),
        utilisation_percent=tuple(m.gpu.utilisation_percent.value for m in first),
        memory_bytes=tuple(m.own_memory_bytes for m in first),
        event_reasons=tuple(_together([m.gpu.clocks.event_reasons.value for m in g]) for g in groups),
    )


def _together(masks: list[int | None]) -> int | None:
    known = [mask for mask in masks if mask is not None]
    return None if not known else _or(known)


def _or(masks: list[int]) -> int:
    total = 0
    for mask in masks:
        total |= mask
    return total


def summary(moments: Sequence[Moment], timed: Sequence[Timed]) -> CardSummary | None:
    """Of one card's readings in order of time; None where fewer than two lie in timed training."""
    within = _within(moments, timed)
    if len(within) < 2:
        return None
    used = _values(within, lambda m: m.gpu.utilisation_percent.value)
    clocks = _values(within, lambda m: m.gpu.clocks.sm_mhz.value)
    listed = [m for m in within if m.own_seen is not None]
    others = dict.fromkeys(name for m in listed for name in m.others)
    watts, method = mean_power_w(moments, timed)
    length, examples = sum(t.end - t.start for t in timed), sum(t.examples for t in timed)
    rate = examples / length if length > 0 else 0.0
    energetic = watts is not None and watts > 0 and rate > 0
    harmful, harmless = _slowed(moments, timed)
    return CardSummary(
        seconds=round(sum(seconds for _, seconds in _intervals(moments, timed)), 2),
        readings=len(within),
        utilisation_mean_percent=round(statistics.fmean(used), 1) if used else None,
        utilisation_max_percent=max(used, default=None),
        process_seen=any(m.own_seen for m in listed) if listed else None,
        peak_memory_bytes=max(_values(within, lambda m: m.own_memory_bytes), default=None),
        sm_mhz_min=min(clocks, default=None),
        sm_mhz_median=round(statistics.median(clocks)) if clocks else None,
        sm_mhz_max=max(clocks, default=None),
        sm_mhz_limit=max(_values(within, lambda m: m.gpu.clocks.sm_max_mhz.value), default=None),
        temperature_max_c=max(_values(within, lambda m: m.gpu.temperatures.gpu_c.value), default=None),
        power_mean_w=round(watts, 2) if watts is not None else None,
        harmful_seconds=harmful,
        harmless_seconds=harmless,
        slow_shares=_slow_shares(moments, timed),
        energy_method=method,
        energy_joules_per_1000_samples=1000 * watts / rate if watts is not None and energetic else None,
        samples_per_second_per_watt=rate / watts if watts is not None and energetic else None,
        other_programs=tuple(others) if listed else None,
        other_programs_percent=_shares(listed),
    )


def mean_power_w(moments: Sequence[Moment], timed: Sequence[Timed]) -> tuple[float | None, EnergyMethod]:
    """Joules over seconds of timed training, by the energy counter or else by readings of the draw.

    A counter that falls (a driver loaded anew) or stands still is no counter.
    """
    ways: list[tuple[EnergyMethod, Any, Any]] = [
        ("energy counter", lambda m: m.gpu.power.energy_j.value, rise),
        ("power samples", lambda m: m.gpu.power.draw_w.value, integral),
    ]
    for method, pick, add in ways:
        joules = seconds = 0.0
        for span in timed:
            points = _points(moments, span, pick)
            start, end = _covered(points, span)
            if end <= start:
                continue
            amount = add(points, start, end)
            if amount is None:
                break
            joules, seconds = joules + amount, seconds + end - start
        else:
            if seconds >= LEAST_ENERGY_S and joules > 0:
                return joules / seconds, method
    return None, "none"


def rise(points: Points, start: float, end: float) -> float | None:
    """By how much a counter rose between two moments inside its points; None where it ever fell."""
    values = [at(points, start), *(v for t, v in points if start < t < end), at(points, end)]
    around = [v for _, v in _around(points, start, end)]
    if any(b < a for a, b in itertools.pairwise(around)):
        return None
    return max(0.0, values[-1] - values[0])


def integral(points: Points, start: float, end: float) -> float:
    """Trapezoids between two moments inside the points: watts over seconds give joules."""
    corners = [(start, at(points, start)), *((t, v) for t, v in points if start < t < end)]
    corners.append((end, at(points, end)))
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(corners))


def at(points: Points, moment: float) -> float:
    """The value on the straight line between the neighbours of a moment inside the points."""
    place = bisect.bisect_left(points, moment, key=lambda p: p[0])
    if place == 0:
        return points[0][1]
    if place == len(points):
        return points[-1][1]
    (t0, v0), (t1, v1) = points[place - 1], points[place]
    return v1 if t1 <= t0 else v0 + (v1 - v0) * (moment - t0) / (t1 - t0)


def _around(points: Points, start: float, end: float) -> Points:
    """Those between two moments, and one more on each side."""
    low = bisect.bisect_right(points, start, key=lambda p: p[0])
    high = bisect.bisect_left(points, end, key=lambda p: p[0])
    return points[max(0, low - 1) : high + 1]


def _covered(points: Points, span: Timed) -> tuple[float, float]:
    """The part of a span that lies between readings; its end is not after its start where there is none."""
    if not points:
        return span.start, span.start
    return max(span.start, points[0][0]), min(span.end, points[-1][0])


def _shares(listed: Sequence[Moment]) -> dict[str, float] | None:
    """Mean percent of each other program. None where the driver never told of the training process that it worked:
    then the numbers of processes mean nothing here, or it does not tell."""
    told = [m.shares for m in listed if m.shares is not None]
    if not told or not any(m.own_running for m in listed):
        return None
    names = dict.fromkeys(name for shares in told for name in shares)
    return {name: round(sum(shares.get(name, 0) for shares in told) / len(told), 1) for name in names}


def _slow_shares(moments: Sequence[Moment], timed: Sequence[Timed]) -> dict[str, float] | None:
    slow = [
        (mask, seconds)
        for moment, seconds in _intervals(moments, timed)
        if (mask := moment.gpu.clocks.event_reasons.value) is not None
        and (now := moment.gpu.clocks.sm_mhz.value) is not None
        and (top := moment.gpu.clocks.sm_max_mhz.value) is not None
        and now < HALF_CLOCK * top
    ]
    length = sum(seconds for _, seconds in slow)
    if not length:
        return None
    return {
        words: round(sum(s for mask, s in slow if mask & bit) / length, 3)
        for bit, words in thermal.HARMLESS.items()
        if any(mask & bit for mask, _ in slow)
    }


def _slowed(
    moments: Sequence[Moment], timed: Sequence[Timed]
) -> tuple[dict[str, float] | None, dict[str, float] | None]:
    """Seconds by reason, harmful and harmless; None where nothing tells."""
    held = [(m.gpu.clocks.event_reasons.value, seconds) for m, seconds in _intervals(moments, timed)]
    masks = [(mask, seconds) for mask, seconds in held if mask is not None]
    length = sum(seconds for _, seconds in held)
    harmful: dict[str, float] = {}
    counted = False
    for name, (bit, counter) in _HARMFUL.items():
        risen = _risen(moments, timed, counter)
        counted = counted or risen is not None
        seen = sum(seconds for mask, seconds in masks if mask & bit)
        harmful[name] = _seconds(risen, seen if masks else None, length) if risen else seen
    named = thermal.HW_THERMAL | thermal.POWER_BRAKE
    harmful[HARDWARE] = sum(s for mask, s in masks if mask & thermal.HW_SLOWDOWN and not mask & named)
    harmless = {
        words: sum(seconds for mask, seconds in masks if mask & bit)
        for bit, words in thermal.HARMLESS.items()
    }
    return (
        {name: round(s, 6) for name, s in harmful.items() if s > 0} if masks or counted else None,
        {name: round(s, 2) for name, s in harmless.items() if s > 0} if masks else None,
    )


def _seconds(risen: float, seen: float | None, length: float) -> float:
    """What a counter rose by. nvidia-smi shows these counters in microseconds, DCGM documents the same ones in
    nanoseconds, and nvidia-ml-py does not say: more than there was time for, or far more than readings show, is
    nanoseconds."""
    seconds = risen / 1e6
    too_much = seconds > 1.05 * length or (seen is not None and seconds > seen + 2)
    return risen / 1e9 if too_much else seconds


def _risen(moments: Sequence[Moment], timed: Sequence[Timed], counter: str) -> float | None:
    """By how much a counter of the driver rose during timed training; None where it is not known."""
    total = None
    for span in timed:
        points = _points(moments, span, lambda m: getattr(m.gpu.clocks, counter).value)
        start, end = _covered(points, span)
        if end > start:
            more = rise(points, start, end)
            if more is None:
                return None
            total = (total or 0.0) + more
    return total


def _intervals(moments: Sequence[Moment], timed: Sequence[Timed]) -> Iterator[tuple[Moment, float]]:
    """Each reading and the seconds of timed training for which it is the latest."""
    for now, following in itertools.pairwise(moments):
        seconds = sum(max(0.0, min(following.second, t.end) - max(now.second, t.start)) for t in timed)
        if seconds > 0:
            yield now, seconds


def _within(moments: Sequence[Moment], timed: Sequence[Timed]) -> list[Moment]:
    return [m for m in moments if any(t.start <= m.second <= t.end for t in timed)]


def _values(moments: Sequence[Moment], pick: Callable[[Moment], int | None]) -> list[int]:
    return [value for value in map(pick, moments) if value is not None]


def _points(moments: Sequence[Moment], span: Timed, pick: Callable[[Moment], float | int | None]) -> Points:
    """Of the process that was timed in ``span``."""
    own = (m for m in moments if m.process == span.process)
    return [(m.second, float(value)) for m in own if (value := pick(m)) is not None]
