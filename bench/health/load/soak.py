"""Theme "load", second part: heat, power, clocks, link and faults over the minutes of steady work."""

from __future__ import annotations

from statistics import fmean

from bench.health import xids
from bench.health.check import Outcome, Subject, check, failed, passed, skipped, unknown, warned
from bench.health.checks.thermal import HW_SLOWDOWN, HW_THERMAL, POWER_BRAKE, SW_THERMAL
from bench.health.load.record import LoadRun

_HARD = HW_SLOWDOWN | HW_THERMAL | POWER_BRAKE
_DROP = 0.93
_SW_SHARE = 0.01
_REACH = 0.75
_READS = 5
_NO_CARD = "no card under load"
_NO_SAMPLES = "the card's sensors could not be read under load"


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
)
def temperature(subject: Subject | None, run: LoadRun) -> Outcome:
    """Read once a second while the card does nothing but products."""
    if subject is None:
        return skipped(_NO_CARD)
    seen = [s.gpu.temperatures.gpu_c.value for s in run.samples if s.gpu.temperatures.gpu_c.value is not None]
    if not seen:
        return unknown(_NO_SAMPLES)
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
    masks = [
        s.gpu.clocks.event_reasons.value for s in run.samples if s.gpu.clocks.event_reasons.value is not None
    ]
    if not masks:
        return skipped("the driver does not give reasons for reduced clocks")
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
    values = [getattr(s.gpu.clocks, name).value for s in run.samples]
    known = [value for value in values if value is not None]
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
)
def power(subject: Subject | None, run: LoadRun) -> Outcome:
    """A test that does not make the card draw its power proves little about heat and supply."""
    if subject is None:
        return skipped(_NO_CARD)
    limit = subject.gpu.power.limit_w.value
    start = run.soak[0].second if run.soak else 0.0
    drawn = [s.gpu.power.draw_w.value for s in run.samples if s.second >= start and s.gpu.power.draw_w.value]
    if not limit or not drawn:
        return skipped("the card does not tell its draw and limit")
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
)
def link(subject: Subject | None, run: LoadRun) -> Outcome:
    """Copies run while this is read, so that the link has reason to be at its best."""
    if subject is None:
        return skipped(_NO_CARD)
    generation, lanes = run.best_link()
    best, widest = subject.gpu.link.generation_max.value, subject.gpu.link.width_max.value
    if generation is None or lanes is None or best is None or widest is None:
        return skipped("the link's state is not readable")
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
)
def replays(subject: Subject | None, run: LoadRun) -> Outcome:
    """Packets that had to be sent again while data moved."""
    if subject is None:
        return skipped(_NO_CARD)
    seen = [s.gpu.link.replays.value for s in run.samples if s.gpu.link.replays.value is not None]
    if len(seen) < 2:
        return skipped("the card does not count replays")
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
