"""Theme "load", second part: heat, power, clocks, link and faults during minutes of steady load."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

import msgspec

from bench.health import limits, xids
from bench.health.check import (
    KIND,
    CheckOutcome,
    NotRead,
    Subject,
    check,
    failed,
    passed,
    reach,
    skipped,
    unknown,
    value,
    warned,
)
from bench.health.checks.pcie import gigabytes, shares_lanes
from bench.health.checks.thermal import LIMITS
from bench.health.load.record import LoadRun
from bench.health.momentary import HW_SLOWDOWN, HW_THERMAL, POWER_BRAKE, SW_THERMAL
from inventory.machine.reading import Reading
from inventory.machine.records import Xid
from inventory.nvml import bounds

_HARD = HW_SLOWDOWN | HW_THERMAL | POWER_BRAKE
_DROP = 0.93
_SW_SHARE = 0.01
_REACH = 0.75
_READS = 5
_NO_CARD = "no card under load"

_LEAST_READ = 0.5
"""Smallest share of the readings under load that have to succeed for a decision."""


def _sensor_values(run: LoadRun, path: str, name: str) -> list[Any]:
    """The values of a sensor ("temperatures.gpu_c" of a Gpu) under load. Raises NotRead if too few were read."""
    field = path.rpartition(".")[2]
    found = [bounds.checked(field, reach(sample.gpu, path)) for sample in run.samples]
    good = [reading.value for reading in found if reading.ok]
    if not found:
        raise NotRead(Reading.failed("no reading was taken under load"), name)
    if len(good) < _LEAST_READ * len(found) or not good:
        bad = next(
            (reading for reading in found if reading.state != "not-supported" and not reading.ok), found[0]
        )
        raise NotRead(
            bad if not bad.ok else found[0], f"{name}, {len(found) - len(good)} of {len(found)} readings"
        )
    return good


@check(
    "load.throughput-drop",
    title="Constant speed under load",
    scope="load",
    needs_gpu=False,
    looks_at="the rate of matrix products in the first and the last minute, after a warm-up",
    limits=f"the check warns if the rate of the last minute is below {_DROP:.0%} of the first",
    source="a limit that dlbox proposes, based on few cards",
    fix="clean fans and filters, improve the airflow; lift a laptop from the table and connect its power supply",
)
def throughput_drop(subject: Subject | None, run: LoadRun) -> CheckOutcome:
    """A card that becomes hot slows down after some minutes. A short test does not detect this."""
    warm = [s for s in run.soak if s.second >= run.soak[0].second + _warm_up(run)] if run.soak else []
    if len(warm) < 6:
        return skipped("the load was too short: dlbox check --stress 5")
    if not all(math.isfinite(s.tflops) and s.tflops > 0 for s in warm):
        return unknown(
            "the rate of matrix products under load is not a positive number",
            "measure again: dlbox check --stress 5",
        )
    span = warm[-1].second - warm[0].second
    window = min(60.0, span / 3)
    first = fmean(s.tflops for s in warm if s.second <= warm[0].second + window)
    last = fmean(s.tflops for s in warm if s.second >= warm[-1].second - window)
    message = f"{last:.3g} TFLOPS at the end, {first:.3g} at the start ({last / first:.0%})"
    # Other programs use the CPU too: its figures are shown but not checked.
    if last < _DROP * first and subject is not None:
        return warned(message, round(last / first, 3), _DROP)
    return passed(message, round(last / first, 3), _DROP)


def _warm_up(run: LoadRun) -> float:
    """Seconds at the start that do not count: one fifth of the load, at most 10 s."""
    return min(10.0, (run.soak[-1].second - run.soak[0].second) / 5)


@check(
    "load.temperature",
    title="Temperature under load",
    scope="load",
    needs_gpu=False,
    looks_at="the highest temperature under load",
    limits="the check warns above the card's operating limit, and fails at its slowdown temperature",
    source="NVML margins or thresholds of the card",
    fix="clean fans and filters, improve the airflow, replace old thermal paste",
    optional=("gpu.temperatures.gpu_c", *LIMITS),
)
def temperature(subject: Subject | None, run: LoadRun) -> CheckOutcome:
    """The temperature is read once a second while the card computes matrix products only."""
    if subject is None:
        return skipped(_NO_CARD)
    seen = _sensor_values(run, "temperatures.gpu_c", "temperature under load")
    top, found = max(seen), limits.thermal_limits(subject.gpu.temperatures)
    slowdown, highest = found.slowdown_c, found.highest_c
    if top >= slowdown:
        return failed(f"{top} C, the hardware slows down from {slowdown} C", top, highest, "C")
    if top > highest:
        return warned(f"{top} C, highest operating temperature {highest} C", top, highest, "C")
    return passed(f"{top} C at most, limit {highest} C", top, highest, "C")


@check(
    "load.slowdown",
    title="Slowdown under load",
    scope="load",
    needs_gpu=False,
    looks_at="reasons for reduced clocks, read once a second, and the driver's counters",
    limits="the check fails on any hardware slowdown or power brake, and warns if heat reduces the clock for "
    f"more than {_SW_SHARE:.0%} of the time",
    source="NVML clock event reasons; the power limit is normal and not a fault",
    fix="clean fans and filters, use a separate cable for each power connector; then: dlbox check --stress 5",
)
def slowdown(subject: Subject | None, run: LoadRun) -> CheckOutcome:
    """Under load consumer cards are at their power limit nearly all the time, which is normal. Only heat and
    power faults count."""
    if subject is None:
        return skipped(_NO_CARD)
    masks = _sensor_values(run, "clocks.event_reasons", "clock event reasons under load")
    hard = [mask for mask in masks if mask & _HARD]
    counted = _counted(run, "hw_thermal_us") + _counted(run, "power_brake_us")
    if hard or counted > 0:
        kind = "power brake" if any(mask & POWER_BRAKE for mask in hard) else "hardware slowdown"
        return failed(
            f"{kind} in {len(hard)} of {len(masks)} readings, {counted:.1f} s by the driver's counters",
            len(hard),
            0,
            "readings",
        )
    share = sum(1 for mask in masks if mask & SW_THERMAL) / len(masks)
    if share > _SW_SHARE:
        return warned(
            f"clocks reduced because of heat in {share:.0%} of the readings", round(share, 3), _SW_SHARE
        )
    return passed(f"none in {len(masks)} readings", 0, 0, "readings")


def _counted(run: LoadRun, name: str) -> float:
    """Increase of one of the driver's counters in seconds. The absolute value of the counter has no meaning."""
    found = [bounds.checked(name, getattr(s.gpu.clocks, name)) for s in run.samples]
    known = [reading.value for reading in found if reading.value is not None]
    return max(0, known[-1] - known[0]) / 1e6 if len(known) > 1 else 0.0


@check(
    "load.power",
    title="Power under load",
    scope="load",
    needs_gpu=False,
    looks_at="the mean power draw under steady load, and the enforced limit",
    limits=f"the check warns below {_REACH:.0%} of the limit: the load is too low to test cooling and power supply",
    source="a limit that dlbox proposes; with a low load, cards pass that fail in training",
    fix="stop other programs, use the backend with the highest load: dlbox check --stress 5 --backend torch",
    optional=("gpu.power.limit_w", *KIND),
    unread="warn",
)
def power(subject: Subject | None, run: LoadRun) -> CheckOutcome:
    """If the card does not draw its full power, the test says little about cooling and power supply."""
    if subject is None:
        return skipped(_NO_CARD)
    limit = value(subject.gpu.power.limit_w, "power limit")
    start = run.soak[0].second if run.soak else 0.0
    steady = tuple(s for s in run.samples if s.second >= start)
    drawn = _sensor_values(
        msgspec.structs.replace(run, samples=steady), "power.draw_w", "power draw under load"
    )
    mean = fmean(drawn)
    message = f"{mean:.0f} W of {limit:.0f} W, {max(drawn):.0f} at most"
    if mean < _REACH * limit and not subject.is_laptop:
        return warned(f"{message}: the load was too low", round(mean), round(_REACH * limit), "W")
    return passed(message, round(mean), round(_REACH * limit), "W")


@check(
    "load.link",
    title="PCIe under load",
    scope="load",
    needs_gpu=False,
    looks_at=f"the highest generation and width of at least {_READS} readings under load",
    limits="the check warns on less than card and slot both support",
    source="NVML; an idle card lowers its link, so that only readings under load count",
    fix="set the slot's PCIe speed to Auto in the firmware, remove riser cables, reseat the card",
    optional=("gpu.link.generation_max", "gpu.link.width_max"),
    unread="warn",
)
def link(subject: Subject | None, run: LoadRun) -> CheckOutcome:
    """The link is read while data is copied, so that it runs at its highest speed."""
    if subject is None:
        return skipped(_NO_CARD)
    best = value(subject.gpu.link.generation_max, "fastest generation")
    widest = value(subject.gpu.link.width_max, "widest link")
    generation = max(_sensor_values(run, "link.generation", "link generation under load"))
    lanes = max(_sensor_values(run, "link.width", "link width under load"))
    if len(run.samples) < _READS:
        return skipped(f"fewer than {_READS} readings: dlbox check --stress 2")
    message = f"PCIe {generation} x{lanes} of PCIe {best} x{widest}"
    if subject.machine.host.environment == "virtual-machine":
        return skipped(f"{message}; in a virtual machine the host decides on the link")
    if generation < best or (lanes < widest and not shares_lanes(subject, lanes)):
        return warned(message, pcie_rate(generation, lanes), pcie_rate(best, widest), "GB/s")
    return passed(message, pcie_rate(generation, lanes), pcie_rate(best, widest), "GB/s")


def pcie_rate(generation: int, lanes: int) -> float:
    """Highest rate of a link in GB/s per direction, one decimal."""
    return round(gigabytes(generation, lanes), 1)


@check(
    "load.replays",
    title="PCIe replays under load",
    scope="load",
    needs_gpu=False,
    looks_at="the increase of the replay counter",
    limits="the check warns on any replay",
    source="a limit that dlbox proposes; a link without a fault has no replays within minutes",
    fix="reseat the card, remove the riser cable, lower the slot's PCIe generation by one in the firmware",
    unread="warn",
)
def replays(subject: Subject | None, run: LoadRun) -> CheckOutcome:
    """Counts packets that were sent again while data was copied."""
    if subject is None:
        return skipped(_NO_CARD)
    counts = _sensor_values(run, "link.replays", "replay counter under load")
    if len(counts) < 2:
        return skipped("fewer than two readings: dlbox check --stress 2")
    more = max(0, counts[-1] - counts[0])
    return warned(f"{more} packets were sent again", more, 0) if more else passed("none", 0, 0)


@check(
    "load.xid",
    title="Xid faults under load",
    scope="load",
    needs_gpu=False,
    looks_at="Xid entries in the kernel log since the load began",
    limits="the check warns on an Xid caused by a program, and fails on one caused by card, memory, bus or driver",
    source="NVIDIA's Xid catalogue",
    fix="look up the code: dlbox check --explain errors.xid",
)
def xid(subject: Subject | None, run: LoadRun) -> CheckOutcome:
    """Some faults of power, cooling or memory appear under load only."""
    if subject is None:
        return skipped(_NO_CARD)
    if not run.xids_known:
        return skipped("the kernel log is not readable, see errors.xid")
    if not run.new_xids:
        return passed("none", 0, 0)
    worst = xids.cause([Xid(code=code) for code in run.new_xids]).code
    judge = failed if xids.of(worst).is_fault else warned
    return judge(f"Xid {worst}: {xids.of(worst).meaning}", len(run.new_xids), 0, remedy=xids.of(worst).step)
