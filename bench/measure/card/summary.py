"""Summarise the readings of a card during the timed training. Pure functions."""

from __future__ import annotations

import bisect
import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from bench.health import momentary
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
from inventory.machine.gpu_records import Gpu

MOST_READINGS = 300
"""Maximum number of readings stored per workload, about 10 kB."""

LEAST_ENERGY_S = 2.0
"""Minimum seconds of timed training for an energy figure, because the power reading is a mean over one second."""

_HARMFUL = {
    SOFTWARE_HEAT: (momentary.SW_THERMAL, "sw_thermal_us"),
    HARDWARE_HEAT: (momentary.HW_THERMAL, "hw_thermal_us"),
    POWER_BRAKE: (momentary.POWER_BRAKE, "power_brake_us"),
}
"""For each reason: its bit in the mask, and the name of the microsecond counter that newer drivers have."""

Points = list[tuple[float, float]]


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of one card, ``second`` seconds after the sampler began."""

    second: float
    gpu: Gpu
    process: int = 0
    """Number of the training process that runs. Between two of these processes the card may run other programs."""
    own_seen: bool | None = None
    """Whether the training process was in the driver's list of programs; None without a list."""
    own_memory_bytes: int | None = None
    others: tuple[str, ...] = ()
    """Other programs that compute on the card and do not use it for display."""
    own_running: bool = False
    """Whether the driver reported that kernels of the training process ran."""
    shares: dict[str, int] | None = None
    """Percent of the last second in which kernels of other programs ran, including programs that also draw."""


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """The timed training of one process: ``examples`` between ``start`` and ``end`` (seconds)."""

    start: float
    end: float
    examples: int
    process: int = 0


def telemetry(moments: Sequence[Moment], timed: Sequence[Timed], trouble: str = "") -> Telemetry:
    """The readings and their summary for the card of the training process.

    ``trouble``: why there are no readings, or fewer than expected.
    """
    spans = tuple((round(t.start, 2), round(t.end, 2)) for t in timed)
    index = _card(moments, timed)
    if index is None:
        return Telemetry(timed=spans, trouble=trouble or "no reading of a card succeeded")
    own = sorted((m for m in moments if m.gpu.index == index), key=lambda m: m.second)
    return Telemetry(
        gpu=index, timed=spans, samples=series(own), summary=summary(own, timed), trouble=trouble
    )


def _card(moments: Sequence[Moment], timed: Sequence[Timed]) -> int | None:
    """Index of the card on which the training process runs. If the driver lists no processes: the busiest card, and
    among equally busy ones the first."""

    def rank(index: int) -> tuple[int, float, int]:
        seen = [m for m in _within(moments, timed) if m.gpu.index == index]
        used = [m.gpu.utilisation_percent.value or 0 for m in seen]
        return sum(1 for m in seen if m.own_seen), statistics.fmean(used) if used else 0.0, -index

    return max({m.gpu.index for m in moments}, key=rank, default=None)


def series(moments: Sequence[Moment]) -> Series:
    """The readings in columns. A long run is thinned to every second, third, ... reading; each of these includes the
    event reasons of the readings that were left out."""
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
    """Summary of one card's readings, which are in order of time. None if fewer than two lie in the timed training."""
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
    """Mean power in W during the timed training, from the energy counter or else from readings of the power draw.

    A counter that decreases (the driver was reloaded) or does not change is not used.
    """
    methods: list[tuple[EnergyMethod, Any, Any]] = [
        ("energy counter", lambda m: m.gpu.power.energy_j.value, rise),
        ("power samples", lambda m: m.gpu.power.draw_w.value, integral),
    ]
    for method, pick, add in methods:
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
    """The increase of a counter between two times.

    Both times must lie between its first and its last reading. None if the counter ever decreased."""
    values = [at(points, start), *(v for t, v in points if start < t < end), at(points, end)]
    around = [v for _, v in _around(points, start, end)]
    if any(b < a for a, b in itertools.pairwise(around)):
        return None
    return max(0.0, values[-1] - values[0])


def integral(points: Points, start: float, end: float) -> float:
    """Integral of the points between two times by the trapezoidal rule: watts over seconds give joules. Both times
    must be within the range of the points."""
    corners = [(start, at(points, start)), *((t, v) for t, v in points if start < t < end)]
    corners.append((end, at(points, end)))
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(corners))


def at(points: Points, moment: float) -> float:
    """The value at one time, linearly interpolated between the points. The time must be within their range."""
    place = bisect.bisect_left(points, moment, key=lambda p: p[0])
    if place == 0:
        return points[0][1]
    if place == len(points):
        return points[-1][1]
    (t0, v0), (t1, v1) = points[place - 1], points[place]
    return v1 if t1 <= t0 else v0 + (v1 - v0) * (moment - t0) / (t1 - t0)


def _around(points: Points, start: float, end: float) -> Points:
    """The points between two times, and the next point on each side of them."""
    low = bisect.bisect_right(points, start, key=lambda p: p[0])
    high = bisect.bisect_left(points, end, key=lambda p: p[0])
    return points[max(0, low - 1) : high + 1]


def _covered(points: Points, span: Timed) -> tuple[float, float]:
    """The part of a span that lies between the first and the last reading. If no part does, the returned end is not
    after the start."""
    if not points:
        return span.start, span.start
    return max(span.start, points[0][0]), min(span.end, points[-1][0])


def _shares(listed: Sequence[Moment]) -> dict[str, float] | None:
    """Mean percent of the time that each other program used the card. None if the driver never reported that the
    training process ran: then the driver uses process ids of another namespace, or does not report usage."""
    reported = [m.shares for m in listed if m.shares is not None]
    if not reported or not any(m.own_running for m in listed):
        return None
    names = dict.fromkeys(name for shares in reported for name in shares)
    return {name: round(sum(shares.get(name, 0) for shares in reported) / len(reported), 1) for name in names}


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
        reason: round(sum(s for mask, s in slow if mask & bit) / length, 3)
        for bit, reason in thermal.HARMLESS.items()
        if any(mask & bit for mask, _ in slow)
    }


def _slowed(
    moments: Sequence[Moment], timed: Sequence[Timed]
) -> tuple[dict[str, float] | None, dict[str, float] | None]:
    """Seconds per reason for reduced clocks, harmful and harmless; None if the driver does not report them."""
    intervals = [(m.gpu.clocks.event_reasons.value, seconds) for m, seconds in _intervals(moments, timed)]
    masks = [(mask, seconds) for mask, seconds in intervals if mask is not None]
    length = sum(seconds for _, seconds in intervals)
    harmful: dict[str, float] = {}
    counted = False
    for name, (bit, counter) in _HARMFUL.items():
        increase = _increase(moments, timed, counter)
        counted = counted or increase is not None
        seen = sum(seconds for mask, seconds in masks if mask & bit)
        harmful[name] = _seconds(increase, seen if masks else None, length) if increase else seen
    named = momentary.HW_THERMAL | momentary.POWER_BRAKE
    harmful[HARDWARE] = sum(s for mask, s in masks if mask & momentary.HW_SLOWDOWN and not mask & named)
    harmless = {
        words: sum(seconds for mask, seconds in masks if mask & bit)
        for bit, words in thermal.HARMLESS.items()
    }
    return (
        {name: round(s, 6) for name, s in harmful.items() if s > 0} if masks or counted else None,
        {name: round(s, 2) for name, s in harmless.items() if s > 0} if masks else None,
    )


def _seconds(increase: float, seen: float | None, length: float) -> float:
    """The increase of a counter in seconds. nvidia-smi shows these counters in microseconds, DCGM documents them in
    nanoseconds, and nvidia-ml-py does not document a unit. An increase that is longer than the training, or far longer
    than the readings show, is in nanoseconds."""
    seconds = increase / 1e6
    too_long = seconds > 1.05 * length or (seen is not None and seconds > seen + 2)
    return increase / 1e9 if too_long else seconds


def _increase(moments: Sequence[Moment], timed: Sequence[Timed], counter: str) -> float | None:
    """The increase of a counter of the driver during the timed training; None if it is not known."""
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
    """Each reading with the seconds of timed training for which it is the latest."""
    for now, following in itertools.pairwise(moments):
        seconds = sum(max(0.0, min(following.second, t.end) - max(now.second, t.start)) for t in timed)
        if seconds > 0:
            yield now, seconds


def _within(moments: Sequence[Moment], timed: Sequence[Timed]) -> list[Moment]:
    return [m for m in moments if any(t.start <= m.second <= t.end for t in timed)]


def _values(moments: Sequence[Moment], pick: Callable[[Moment], int | None]) -> list[int]:
    return [value for value in map(pick, moments) if value is not None]


def _points(moments: Sequence[Moment], span: Timed, pick: Callable[[Moment], float | int | None]) -> Points:
    """The values of the process that was timed in ``span``, with their times."""
    own = (m for m in moments if m.process == span.process)
    return [(m.second, float(value)) for m in own if (value := pick(m)) is not None]
