"""Theme "load", second part: heat, power, clocks, link and faults over the minutes of steady work."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

import msgspec

from bench.health import plausible, xids
from bench.health.check import (
    KIND,
    NotRead,
    Outcome,
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
from bench.health.checks.thermal import HW_SLOWDOWN, HW_THERMAL, POWER_BRAKE, SW_THERMAL
from bench.health.load.record import LoadRun
from inventory.machine.reading import Reading

_HARD = HW_SLOWDOWN | HW_THERMAL | POWER_BRAKE
_DROP = 0.93
_SW_SHARE = 0.01
_REACH = 0.75
_READS = 5
_NO_CARD = "no card under load"

_LEAST_READ = 0.5
"""Share of the readings under load that must have succeeded for a judgement."""


def _seen(run: LoadRun, path: str, what: str) -> list[Any]:
    """What a sensor ("temperatures.gpu_c" of a Gpu) gave under load. Raises NotRead where it gave too little."""
    name = path.rpartition(".")[2]
    found = [plausible.checked(name, reach(sample.gpu, path)) for sample in run.samples]
    good = [reading.value for reading in found if reading.ok]
    if not found:
        raise NotRead(Reading.failed("no reading was taken under load"), what)
    if len(good) < _LEAST_READ * len(found) or not good:
        bad = next(
            (reading for reading in found if reading.state != "not-supported" and not reading.ok), found[0]
        )
        raise NotRead(
            bad if not bad.ok else found[0], f"{what}, {len(found) - len(good)} of {len(found)} readings"
        )
    return good


@check(
    "load.throughput-drop",
    title="Steady under load",
    scope="load",
    needs_gpu=False,
    looks_at="the rate of products in the last minute against the first, after a warm-up",
    limits=f"below {_DROP:.0%} warns",
    source="proposal, to be calibrated on more cards",
    fix="clean fans and filters, give the case air; on a laptop raise it from the table and plug in the supply",
)
def throughput_drop(subject: Subject | None, run: LoadRun) -> Outcome:
    """A card that gets hot slows down after some minutes. Short tests do not show it."""
    warm = [s for s in run.soak if s.second >= run.soak[0].second + _warm_up(run)] if run.soak else []
    if len(warm) < 6:
        return skipped("the load was too short: dlbox check --stress 5")
    if not all(math.isfinite(s.tflops) and s.tflops > 0 for s in warm):
        return unknown("the rate of products under load is not a number above 0", "dlbox check --stress 5")
    span = warm[-1].second - warm[0].second
    window = min(60.0, span / 3)
    first = fmean(s.tflops for s in warm if s.second <= warm[0].second + window)
    last = fmean(s.tflops for s in warm if s.second >= warm[-1].second - window)
    words = f"{last:.3g} TFLOPS at the end, {first:.3g} at the start ({last / first:.0%})"
    # A processor shares its cores with everything else that runs: its figures are shown, not judged.
    if last < _DROP * first and subject is not None:
        return warned(words, round(last / first, 3), _DROP)
    return passed(words, round(last / first, 3), _DROP)


def _warm_up(run: LoadRun) -> float:
    """Seconds left out at the start: up to ten."""
    return min(10.0, (run.soak[-1].second - run.soak[0].second) / 5)


@check(
    "load.temperature",
    title="Temperature under load",
    scope="load",
    needs_gpu=False,
    looks_at="the highest temperature while the card worked",
    limits="above the card's operating limit warns, at its slowdown temperature fails",
    source="NVML thresholds of the card",
    fix="clean fans and filters, give the case air, renew thermal paste on an old card",
    optional=("gpu.temperatures.slowdown_c", "gpu.temperatures.max_operating_c"),
)
def temperature(subject: Subject | None, run: LoadRun) -> Outcome:
    """Read once a second while the card does nothing but products."""
    if subject is None:
        return skipped(_NO_CARD)
    seen = _seen(run, "temperatures.gpu_c", "temperature under load")
    top, limits = max(seen), subject.gpu.temperatures
    slowdown, highest = limits.slowdown_c.value or 96, limits.max_operating_c.value or 90
    if top >= slowdown:
        return failed(f"{top} C, the hardware slows down from {slowdown} C", top, highest, "C")
    if top > highest:
        return warned(f"{top} C, made for up to {highest} C", top, highest, "C")
    return passed(f"{top} C at most, limit {highest} C", top, highest, "C")


@check(
    "load.slowdown",
    title="Slowdown under load",
    scope="load",
    needs_gpu=False,
    looks_at="reasons for reduced clocks, read once a second, and the driver's counters",
    limits=f"any hardware slowdown or power brake fails; heat for more than {_SW_SHARE:.0%} of the time warns",
    source="NVML clock event reasons; a power limit is normal and no fault",
    fix="clean fans and filters, give the card its own power cables; then: dlbox check --stress 5",
)
def slowdown(subject: Subject | None, run: LoadRun) -> Outcome:
    """Under load consumer cards run at their power limit nearly all the time; heat and power faults are what
    counts."""
    if subject is None:
        return skipped(_NO_CARD)
    masks = _seen(run, "clocks.event_reasons", "clock event reasons under load")
    hard = [mask for mask in masks if mask & _HARD]
    counted = _counted(run, "hw_thermal_us") + _counted(run, "power_brake_us")
    if hard or counted > 0:
        kind = "power brake" if any(mask & POWER_BRAKE for mask in hard) else "hardware slowdown"
        return failed(
            f"{kind} in {len(hard)} of {len(masks)} readings, {counted:.1f} s by the driver's count",
            len(hard),
            0,
            "readings",
        )
    share = sum(1 for mask in masks if mask & SW_THERMAL) / len(masks)
    if share > _SW_SHARE:
        return warned(f"held down by heat in {share:.0%} of the readings", round(share, 3), _SW_SHARE)
    return passed(f"none in {len(masks)} readings", 0, 0, "readings")


def _counted(run: LoadRun, name: str) -> float:
    """Seconds by which one of the driver's counters rose. Only differences mean anything."""
    found = [plausible.checked(name, getattr(s.gpu.clocks, name)) for s in run.samples]
    known = [reading.value for reading in found if reading.value is not None]
    return max(0, known[-1] - known[0]) / 1e6 if len(known) > 1 else 0.0


@check(
    "load.power",
    title="Power under load",
    scope="load",
    needs_gpu=False,
    looks_at="the mean draw of the steady load against the enforced limit",
    limits=f"below {_REACH:.0%} warns: the load was too weak to prove cooling and supply",
    source="proposal; a light load passes cards that fail in training",
    fix="end other programs, use the backend that loads the card best: dlbox check --stress 5 --backend torch",
    optional=("gpu.power.limit_w", *KIND),
    unread="warn",
)
def power(subject: Subject | None, run: LoadRun) -> Outcome:
    """A test that does not make the card draw its power proves little about heat and supply."""
    if subject is None:
        return skipped(_NO_CARD)
    limit = value(subject.gpu.power.limit_w, "power limit")
    start = run.soak[0].second if run.soak else 0.0
    steady = tuple(s for s in run.samples if s.second >= start)
    drawn = _seen(msgspec.structs.replace(run, samples=steady), "power.draw_w", "power draw under load")
    mean = fmean(drawn)
    words = f"{mean:.0f} W of {limit:.0f} W, {max(drawn):.0f} at most"
    if mean < _REACH * limit and not subject.is_laptop:
        return warned(f"{words}: the load was too weak", round(mean), round(_REACH * limit), "W")
    return passed(words, round(mean), round(_REACH * limit), "W")


@check(
    "load.link",
    title="PCIe under load",
    scope="load",
    needs_gpu=False,
    looks_at=f"the highest generation and width of at least {_READS} readings while the card works",
    limits="those of card and slot together; less warns",
    source="NVML; a card at rest lowers its link, so that only readings under load count",
    fix="set the slot's PCIe speed to Auto in the firmware, take out riser cables, reseat the card",
    optional=("gpu.link.generation_max", "gpu.link.width_max"),
    unread="warn",
)
def link(subject: Subject | None, run: LoadRun) -> Outcome:
    """Copies run while this is read, so that the link has reason to be at its best."""
    if subject is None:
        return skipped(_NO_CARD)
    best = value(subject.gpu.link.generation_max, "fastest generation")
    widest = value(subject.gpu.link.width_max, "widest link")
    generation = max(_seen(run, "link.generation", "link generation under load"))
    lanes = max(_seen(run, "link.width", "link width under load"))
    if len(run.samples) < _READS:
        return skipped(f"fewer than {_READS} readings: dlbox check --stress 2")
    words = f"PCIe {generation} x{lanes} of PCIe {best} x{widest}"
    if generation < best or lanes < widest:
        return warned(words, pcie_rate(generation, lanes), pcie_rate(best, widest), "GB/s")
    return passed(words, pcie_rate(generation, lanes), pcie_rate(best, widest), "GB/s")


def pcie_rate(generation: int, lanes: int) -> float:
    from bench.health.checks.pcie import gigabytes

    return round(gigabytes(generation, lanes), 1)


@check(
    "load.replays",
    title="PCIe replays under load",
    scope="load",
    needs_gpu=False,
    looks_at="by how much the replay counter rose",
    limits="any warns",
    source="proposal; a sound link repeats nothing in minutes",
    fix="reseat the card, take out the riser cable, lower the slot's PCIe generation by one in the firmware",
    unread="warn",
)
def replays(subject: Subject | None, run: LoadRun) -> Outcome:
    """Packets that had to be sent again while data moved."""
    if subject is None:
        return skipped(_NO_CARD)
    seen = _seen(run, "link.replays", "replay counter under load")
    if len(seen) < 2:
        return skipped("fewer than two readings: dlbox check --stress 2")
    more = max(0, seen[-1] - seen[0])
    return warned(f"{more} packets were sent again", more, 0) if more else passed("none", 0, 0)


@check(
    "load.xid",
    title="Xid faults under load",
    scope="load",
    needs_gpu=False,
    looks_at="new fault reports in the kernel log since the load began",
    limits="none; those of a program warn, those of card, memory or bus fail",
    source="NVIDIA's Xid catalogue",
    fix="look the code up: dlbox check --explain errors.xid",
)
def xid(subject: Subject | None, run: LoadRun) -> Outcome:
    """Faults that appear under load only: power, heat, memory."""
    if subject is None:
        return skipped(_NO_CARD)
    if not run.xids_known:
        return skipped("the kernel log is not readable, see errors.xid")
    if not run.new_xids:
        return passed("none", 0, 0)
    worst = min(run.new_xids, key=lambda code: not xids.of(code).is_fault)
    judge = failed if xids.of(worst).is_fault else warned
    return judge(f"Xid {worst}: {xids.of(worst).meaning}", len(run.new_xids), 0, remedy=xids.of(worst).step)
