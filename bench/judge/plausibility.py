"""Results against what the machine can do at all: its measured peak, resident data, the kernel forced off. Pure."""

from __future__ import annotations

import math
from functools import partial

from bench import health
from bench.finding import TRAINING, Finding, Status
from bench.results.record.document import Result
from bench.results.record.figures import BatchSearch, Probes, units
from bench.results.stats.compare import IMPOSSIBLE
from inventory.cards.cards import Card
from inventory.machine.records import Machine

INPUT_FAIL, INPUT_WARN = 0.30, 0.15
"""Share of a step that waits for data. Arrays in memory cost 0 to 0.09 here. Several pairs of
measurements fail if their median is above the first limit and none is below the second: a slow pipeline is slow in
every pair (docs/decisions/0060-input-pipeline-check.md)."""

FUSED_FAIL, FUSED_WARN = 1.1, 1.5
"""Times the generic kernel's speed. Published: 5 to 15 on the class's sizes; 1.1 is no other kernel at all."""


def card(machine: Machine) -> Card | None:
    """Of the catalogue, the first that answers."""
    return next((s.card for s in health.subjects(machine) if s.gpu.handle.ok), None)


def of_card(card: Card | None, precision: str) -> float | None:
    """TFLOP/s in its data sheet."""
    name = units(precision)
    return card.peak_tflops(name) if card and name in ("fp32", "tf32", "fp16", "bf16") else None  # type: ignore[arg-type]


def told(probes: Probes) -> str:
    """What was measured, in one line."""
    parts = [f"{name} {value:.3g} TFLOP/s" for name, value in probes.matmul_tflops.items()]
    if probes.bandwidth_gb_s is not None:
        parts.append(f"memory {probes.bandwidth_gb_s:.3g} GB/s")
    if probes.launch_seconds is not None:
        parts.append(f"launch {probes.launch_seconds * 1e6:.3g} us")
    return ", ".join(parts) or "nothing was measured"


def judge_probes(probes: Probes) -> list[Finding]:
    finding = partial(
        Finding, theme="probes", check="ran", title="peak, bandwidth and launch latency are known"
    )
    figures = [*probes.matmul_tflops.values(), probes.bandwidth_gb_s, probes.launch_seconds]
    wrong = any(figure is not None and not (math.isfinite(figure) and figure > 0) for figure in figures)
    if probes.troubles or not probes.matmul_tflops or wrong:
        why = "; ".join(f"{what}: {why}" for what, why in probes.troubles.items())
        why = why or ("a figure is impossible" if wrong else "nothing was reported")
        return [
            finding(
                status=Status.WARN,
                message=f"not all of it ({why}); what there is: {told(probes)}",
                remedy=f"see whether {probes.backend} works: `dlbox check --frameworks`, then run it again",
            )
        ]
    on = probes.device if probes.on_gpu else "the processor"
    return [finding(status=Status.PASS, message=f"{told(probes)} on {on} ({probes.backend})")]


def judge(result: Result) -> list[Finding]:
    """What of a result cannot be, what waits for data, and whether the fused kernel was worth its name."""
    return [f for f in (_plausible(result), _input(result), _fused(result)) if f is not None]


def _plausible(result: Result) -> Finding | None:
    share, achieved = result.share_of_measured_peak, result.achieved_tflops
    if share is None or achieved is None:
        return None
    finding = partial(
        Finding,
        theme=TRAINING,
        check="plausible",
        subject=result.label,
        title=f"{result.label} is not faster than can be",
    )
    words = f"{achieved:.3g} TFLOP/s, {share:.1%} of the matrix peak measured here ({achieved / share:.3g})"
    if 0 < share <= IMPOSSIBLE and achieved > 0:
        return finding(status=Status.PASS, message=words, measured=round(share, 4), expected=1.0)
    return finding(
        status=Status.FAIL,
        message=f"{words}: the measurement is wrong, the device was not waited for, or the work was not done",
        measured=round(share, 4),
        expected=1.0,
        remedy="do not use this figure; run it again with nothing beside it, and if it stays tell dlbox's makers, "
        "with the output of `dlbox bench --json`",
    )


def _input(result: Result) -> Finding | None:
    told = result.input
    if told is None:
        return None
    finding = partial(
        Finding,
        theme=TRAINING,
        check="input",
        subject=result.label,
        title=f"{result.label} does not wait for its data",
    )
    words = (
        f"{told.pipeline_samples_per_second:,.0f} samples/s with the input pipeline, "
        f"{told.resident_samples_per_second:,.0f} on data already there: {told.share:.0%} of a step is waiting"
    )
    if not math.isfinite(told.share) or told.share > 1:
        return finding(
            status=Status.UNKNOWN,
            message=f"the share of waiting time is impossible ({told.share:.3g})",
            remedy=f"run it again: `dlbox bench --workload {result.workload}`",
        )
    least, most = min(told.shares, default=told.share), max(told.shares, default=told.share)
    if len(told.shares) > 1:
        words += f" ({least:.0%} to {most:.0%} in {len(told.shares)} looks)"
    status = Status.WARN if told.share > INPUT_WARN else Status.PASS
    if told.share > INPUT_FAIL and least > INPUT_WARN:
        status = Status.FAIL
    return finding(
        status=status,
        message=words,
        measured=round(told.share, 3),
        expected=INPUT_WARN,
        remedy=None
        if status is Status.PASS
        else "something slows the data down: close other programs, look at disk and memory, run it again",
    )


def _fused(result: Result) -> Finding | None:
    told, kernel = result.forced_generic, result.kernel
    if told is None or kernel is None or kernel.path != "fused":
        return None
    finding = partial(
        Finding,
        theme=TRAINING,
        check="fused-pays",
        subject=result.label,
        title=f"{result.label}: the fused kernel is faster",
    )
    words = f"{told.speedup:.2f} times the {told.samples_per_second:,.0f} samples/s of the same model forced off cuDNN"
    if not math.isfinite(told.speedup) or told.speedup <= 0:
        return finding(
            status=Status.UNKNOWN,
            message=f"the speed-up is impossible ({told.speedup:.3g})",
            remedy=f"run it again: `dlbox bench --workload {result.workload}`",
        )
    status = (
        Status.FAIL
        if told.speedup < FUSED_FAIL
        else Status.WARN
        if told.speedup < FUSED_WARN
        else Status.PASS
    )
    return finding(
        status=status,
        message=words if status is Status.PASS else f"{words}: {FUSED_WARN} times at the least is usual",
        measured=round(told.speedup, 3),
        expected=FUSED_WARN,
        remedy=None
        if status is Status.PASS
        else "cuDNN is there and does not help: look at the versions (`dlbox plan`) and at `dlbox check --frameworks`",
    )


def judge_search(workload: str, found: BatchSearch) -> list[Finding]:
    """Where memory ends is worth knowing; right after the workshop's own size it is a fault, as another end is."""
    finding = partial(
        Finding,
        theme=TRAINING,
        check="batches",
        subject=workload,
        title=f"{workload} has room for larger batches",
    )
    rates = [p for p in found.points if p.samples_per_second]
    first, best = rates[0], max(rates, key=lambda p: p.samples_per_second or 0.0)
    words = (
        f"fastest at batch {best.batch_size}: {best.samples_per_second:,.0f} samples/s against "
        f"{first.samples_per_second:,.0f} at {first.batch_size}; {found.why}"
    )
    if found.ended == "memory" and len(rates) == 1:
        return [
            finding(
                status=Status.FAIL,
                message=f"memory ended at batch {found.points[-1].batch_size}, the next after the workshop's: these "
                "models take less than 1 GB there",
                measured=found.points[-1].batch_size,
                expected=2 * found.points[-1].batch_size,
                unit="samples",
                remedy="close other programs that use the card or memory (`nvidia-smi` lists them); if it stays, "
                "`dlbox check --stress 5` tests the card's memory",
            )
        ]
    if found.ended == "stopped":
        return [
            finding(
                status=Status.FAIL,
                message=f"the process that tried larger batches did not come to its end, {found.why}",
                measured=found.points[-1].batch_size,
                expected=2 * found.points[-1].batch_size,
                unit="samples",
                remedy=f"see whether it does so again: `dlbox bench --workload {workload} --batch best`; then look at "
                "`dlbox check --frameworks` and the kernel log (`sudo dmesg | tail`)",
            )
        ]
    return [finding(status=Status.PASS, message=words, measured=best.batch_size)]
