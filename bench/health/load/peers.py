"""Theme "load", third part: cards of one kind in one computer are compared with each other."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec

from bench.health.check import CheckOutcome, Subject, check, passed, skipped, warned
from bench.health.load.record import CardUnderLoad, LoadRun
from inventory.nvml import bounds

_SLOWER = 0.90
_HOTTER_C = 15


def summary(index: int, run: LoadRun) -> CardUnderLoad:
    """The values of one card under load that are compared. A value that was not read is None."""
    gpus = [bounds.checked_all(sample.gpu) for sample in run.samples]
    hottest = [g.temperatures.gpu_c.value for g in gpus if g.temperatures.gpu_c.value is not None]
    clocks = [g.clocks.sm_mhz.value for g in gpus if g.clocks.sm_mhz.value is not None]
    rates = [sample.tflops for sample in run.soak if sample.tflops > 0]
    return CardUnderLoad(
        index=index,
        tflops=median(rates) if rates else None,
        clock_mhz=median(clocks) if clocks else None,
        hottest_c=max(hottest) if hottest else None,
    )


def with_peers(runs: Sequence[tuple[Subject, LoadRun]]) -> list[tuple[Subject, LoadRun]]:
    """``runs``, each with the summaries of the other cards of the same model that the same framework loaded."""
    found = []
    for subject, run in runs:
        others = tuple(
            summary(other.gpu.index, its_run)
            for other, its_run in runs
            if other is not subject and _model(other) == _model(subject) and its_run.backend == run.backend
        )
        found.append((subject, msgspec.structs.replace(run, peers=others)))
    return found


def _model(subject: Subject) -> tuple[str | None, int | None]:
    return subject.gpu.name.value, subject.gpu.pci_device_id.value


@check(
    "load.alike",
    title="Cards of one kind",
    scope="load",
    needs_gpu=False,
    looks_at="rate of matrix products, clock and highest temperature of each card, and those of its equals",
    limits=f"the check warns below {_SLOWER:.0%} of the fastest in rate or clock, and above the coolest by more than "
    f"{_HOTTER_C} C",
    applies_to="computers with several cards of one model",
    source="a limit that dlbox proposes; cards of one model differ by a few percent in speed, and the upper of two is "
    "some degrees hotter",
    fix="compare slot, power cables, power limit and fans of this card with those of the others, exchange the two "
    "cards, then: dlbox check --stress 5; a difference that moves with the card is a fault of the card",
)
def alike(subject: Subject | None, run: LoadRun) -> CheckOutcome:
    """Two cards of one model in one computer should reach the same. A difference shows faults that absolute limits do
    not: a slot without air, a power cable that is shared, worn thermal paste."""
    if subject is None or not run.peers:
        return skipped("no other card of this model was under load")
    own = summary(subject.gpu.index, run)
    differences = []
    for name, unit, mine, theirs in (
        ("rate", "TFLOPS", own.tflops, [peer.tflops for peer in run.peers]),
        ("clock", "MHz", own.clock_mhz, [peer.clock_mhz for peer in run.peers]),
    ):
        best = max((value for value in theirs if value is not None), default=None)
        if mine is not None and best is not None and mine < _SLOWER * best:
            differences.append(f"{name} {mine:.4g} {unit}, another card {best:.4g} ({mine / best:.0%})")
    coolest = min((peer.hottest_c for peer in run.peers if peer.hottest_c is not None), default=None)
    if own.hottest_c is not None and coolest is not None and own.hottest_c > coolest + _HOTTER_C:
        differences.append(f"{own.hottest_c} C, another card {coolest} C")
    if differences:
        return warned(f"differs from a card of the same model: {'; '.join(differences)}")
    if own.tflops is None and own.clock_mhz is None and own.hottest_c is None:
        return skipped("neither rate, clock nor temperature was measured")
    return passed(
        f"as fast and as warm as {len(run.peers)} other card{'s' if len(run.peers) > 1 else ''} of its model"
    )
