"""Compares a result with other measurements of the machine: its matrix peak, training on data that is already on the
device, and the generic kernel. Pure functions."""

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
"""Limits of the share of a step that waits for data. With arrays in memory this share is 0 to 0.09. The check fails
if the median over several pairs of measurements is above the first limit and no pair is below the second, because a
slow pipeline is slow in every pair (docs/decisions/0060-input-pipeline-check.md)."""

FUSED_FAIL, FUSED_WARN = 1.1, 1.5
"""Speed of the fused kernel divided by that of the generic kernel. Published values are 5 to 15 for the sizes of the
class's models; 1.1 means that the same kernel ran twice."""


def card(machine: Machine) -> Card | None:
    """The catalogue's entry of the first card that answers, or None."""
    return next((s.card for s in health.subjects(machine) if s.gpu.handle.ok), None)


def of_card(card: Card | None, precision: str) -> float | None:
    """Peak TFLOP/s of the data sheet in this precision, or None."""
    name = units(precision)
    return card.peak_tflops(name) if card and name in ("fp32", "tf32", "fp16", "bf16") else None  # type: ignore[arg-type]


def probes_text(probes: Probes) -> str:
    """The measured values in one line."""
    parts = [f"{name} {value:.3g} TFLOP/s" for name, value in probes.matmul_tflops.items()]
    if probes.bandwidth_gb_s is not None:
        parts.append(f"memory {probes.bandwidth_gb_s:.3g} GB/s")
    if probes.launch_seconds is not None:
        parts.append(f"launch {probes.launch_seconds * 1e6:.3g} us")
    return ", ".join(parts) or "no value was measured"


def judge_probes(probes: Probes) -> list[Finding]:
    finding = partial(
        Finding, theme="probes", check="ran", title="peak, bandwidth and launch latency were measured"
    )
    figures = [*probes.matmul_tflops.values(), probes.bandwidth_gb_s, probes.launch_seconds]
    wrong = any(figure is not None and not (math.isfinite(figure) and figure > 0) for figure in figures)
    if probes.troubles or not probes.matmul_tflops or wrong:
        why = "; ".join(f"{what}: {why}" for what, why in probes.troubles.items())
        why = why or ("a value is impossible" if wrong else "the probes reported nothing")
        return [
            finding(
                status=Status.WARN,
                message=f"some values are missing or wrong ({why}); measured: {probes_text(probes)}",
                remedy=f"check that {probes.backend} works: `dlbox check --frameworks`, then run it again",
            )
        ]
    on = probes.device if probes.on_gpu else "the processor"
    return [finding(status=Status.PASS, message=f"{probes_text(probes)} on {on} ({probes.backend})")]


def judge(result: Result) -> list[Finding]:
    """Three findings: whether the speed is physically plausible, whether the training waits for its data, and
    whether the fused kernel is faster than the generic one."""
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
        title=f"{result.label} has a physically plausible speed",
    )
    words = f"{achieved:.3g} TFLOP/s, {share:.1%} of the matrix peak measured on this machine ({achieved / share:.3g})"
    if 0 < share <= IMPOSSIBLE and achieved > 0:
        return finding(status=Status.PASS, message=words, measured=round(share, 4), expected=1.0)
    return finding(
        status=Status.FAIL,
        message=f"{words}: the measurement is wrong, for example it did not wait for the device to finish",
        measured=round(share, 4),
        expected=1.0,
        remedy="do not use this speed; run it again without other programs, and if it persists, "
        "report it with the output "
        "of `dlbox bench --json`",
    )


def _input(result: Result) -> Finding | None:
    measured = result.input
    if measured is None:
        return None
    finding = partial(
        Finding,
        theme=TRAINING,
        check="input",
        subject=result.label,
        title=f"The training of {result.label} does not wait for data",
    )
    words = (
        f"{measured.pipeline_samples_per_second:,.0f} samples/s with the input pipeline, "
        f"{measured.resident_samples_per_second:,.0f} with the data already on the device: "
        f"training waits for data during {measured.share:.0%} of a step"
    )
    if not math.isfinite(measured.share) or measured.share > 1:
        return finding(
            status=Status.UNKNOWN,
            message=f"the share of waiting time has an impossible value ({measured.share:.3g})",
            remedy=f"run it again: `dlbox bench --workload {result.workload}`",
        )
    least, most = min(measured.shares, default=measured.share), max(measured.shares, default=measured.share)
    if len(measured.shares) > 1:
        words += f" ({least:.0%} to {most:.0%} in {len(measured.shares)} measurements)"
    status = Status.WARN if measured.share > INPUT_WARN else Status.PASS
    if measured.share > INPUT_FAIL and least > INPUT_WARN:
        status = Status.FAIL
    return finding(
        status=status,
        message=words,
        measured=round(measured.share, 3),
        expected=INPUT_WARN,
        remedy=None
        if status is Status.PASS
        else "the input pipeline is too slow: close other programs, check disk and memory use, then run it again",
    )


def _fused(result: Result) -> Finding | None:
    generic, kernel = result.forced_generic, result.kernel
    if generic is None or kernel is None or kernel.path != "fused":
        return None
    finding = partial(
        Finding,
        theme=TRAINING,
        check="fused-pays",
        subject=result.label,
        title=f"{result.label}: the fused kernel is faster",
    )
    words = (
        f"{generic.speedup:.2f} times as fast as the same model without cuDNN "
        f"({generic.samples_per_second:,.0f} samples/s)"
    )
    if not math.isfinite(generic.speedup) or generic.speedup <= 0:
        return finding(
            status=Status.UNKNOWN,
            message=f"the speed-up has an impossible value ({generic.speedup:.3g})",
            remedy=f"run it again: `dlbox bench --workload {result.workload}`",
        )
    status = (
        Status.FAIL
        if generic.speedup < FUSED_FAIL
        else Status.WARN
        if generic.speedup < FUSED_WARN
        else Status.PASS
    )
    return finding(
        status=status,
        message=words if status is Status.PASS else f"{words}; at least {FUSED_WARN} times is usual",
        measured=round(generic.speedup, 3),
        expected=FUSED_WARN,
        remedy=None
        if status is Status.PASS
        else "cuDNN runs but is not faster: check the versions (`dlbox plan`) and `dlbox check --frameworks`",
    )


def judge_search(workload: str, found: BatchSearch) -> list[Finding]:
    """The finding about the search for the fastest batch size. The finding is a failure if the first size above the
    workshop's ran out of memory, or if the process of the search ended early."""
    finding = partial(
        Finding,
        theme=TRAINING,
        check="batches",
        subject=workload,
        title=f"{workload} trains with larger batches",
    )
    rates = [p for p in found.points if p.samples_per_second]
    first, best = rates[0], max(rates, key=lambda p: p.samples_per_second or 0.0)
    words = (
        f"fastest at batch {best.batch_size}: {best.samples_per_second:,.0f} samples/s, compared with "
        f"{first.samples_per_second:,.0f} at {first.batch_size}; {found.why}"
    )
    if found.ended == "memory" and len(rates) == 1:
        return [
            finding(
                status=Status.FAIL,
                message=f"out of memory at batch {found.points[-1].batch_size}, the first above "
                "the workshop's, where these "
                "models need less than 1 GB",
                measured=found.points[-1].batch_size,
                expected=2 * found.points[-1].batch_size,
                unit="samples",
                remedy="close other programs that use the card or memory (`nvidia-smi` lists them); if it persists, "
                "`dlbox check --stress 5` tests the card's memory",
            )
        ]
    if found.ended == "stopped":
        return [
            finding(
                status=Status.FAIL,
                message=f"the process that tried larger batches ended early: {found.why}",
                measured=found.points[-1].batch_size,
                expected=2 * found.points[-1].batch_size,
                unit="samples",
                remedy=f"run it again: `dlbox bench --workload {workload} --batch best`; if it fails again, look at "
                "`dlbox check --frameworks` and the kernel log (`sudo dmesg | tail`)",
            )
        ]
    return [finding(status=Status.PASS, message=words, measured=best.batch_size)]
