"""Measurements and what was expected of them -> findings. Pure: nothing is measured or read in here."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from bench.finding import TRAINING, Finding, Status
from bench.results.record.document import Result
from bench.results.stats import steadiness
from bench.results.stats.steadiness import BUSY_CORES, UNSTEADY


def judge(
    result: Result,
    *,
    gpu_expected: bool,
    governor: str | None = None,
    framework: Callable[[str], Finding] | None = None,
) -> list[Finding]:
    """All that can be said of one result: it ran on the right device, it learned, it was steady.

    ``governor``: the processor's as last seen before it in the same run, None where nobody looked. ``framework``: what
    a backend says of the card in a process of its own.
    """
    return [
        finding
        for finding in (
            _device(result, gpu_expected, framework),
            _kernel(result),
            _learning(result),
            _governor(result, governor),
            _steadiness(result),
        )
        if finding is not None
    ]


def failure(workload: str, backend: str, kind: str, message: str, detail: str = "") -> Finding:
    """A run that did not come to its end. ``detail``: the last lines that its process wrote."""
    remedy = {
        "out-of-memory": "close other programs that use the card or memory (`nvidia-smi` lists them), then try again",
        "killed": "start it again; if nobody killed it, look at what ended it: `journalctl -b | grep -i -E 'oom|kill'`",
        "no-backend": f"install {backend}: ./dlbox setup {backend}",
        "hang": "look at `dlbox check` and the kernel log (`sudo dmesg | tail`): a card that stops answering often "
        "says why there",
    }.get(kind, "run `dlbox check --frameworks` to see whether the framework works at all")
    tail = f" Its last line of output: {detail.splitlines()[-1].strip()[:200]}" if detail.strip() else ""
    return Finding(
        theme=TRAINING,
        check="ran",
        subject=workload,
        status=Status.FAIL,
        title=f"{workload} trains",
        message=f"{workload} on {backend}: {message}.{tail}",
        remedy=remedy,
    )


def _device(result: Result, gpu_expected: bool, framework: Callable[[str], Finding] | None) -> Finding | None:
    if not gpu_expected:
        return None
    finding = partial(
        Finding, theme=TRAINING, check="device", subject=result.label, title=f"{result.label} uses the GPU"
    )
    if result.on_gpu:
        return finding(status=Status.PASS, message=f"{result.backend} trained on {result.device}")
    why = framework(result.backend) if framework else None
    told = f"there is a card, but {result.backend} trained on the CPU"
    if why is not None:
        works = why.status is Status.PASS
        told += f", though {why.message} in a process of its own" if works else f": {why.message}"
    return finding(
        status=Status.FAIL,
        message=told,
        measured="cpu",
        expected="gpu",
        remedy=(why.remedy if why else None)
        or "run `dlbox check --frameworks`: it names the library that is missing; `./dlbox setup` installs the "
        "build for this card",
    )


def _kernel(result: Result) -> Finding | None:
    kernel = result.kernel
    finding = partial(
        Finding,
        theme=TRAINING,
        check="kernel",
        subject=result.label,
        title=f"{result.label} uses the fused kernel",
    )
    if kernel is None or kernel.path == "none":
        return None
    if not result.on_gpu:
        return finding(status=Status.SKIP, message=f"generic kernel: {kernel.evidence}")
    if kernel.path == "fused":
        return finding(status=Status.PASS, message=kernel.evidence)
    why = "; ".join(kernel.why)
    if not result.fused_expected:
        return finding(
            status=Status.SKIP,
            message=f"generic kernel, because the class's script asks for what no fused kernel can do: {why}",
        )
    if kernel.unavoidable:
        return finding(status=Status.SKIP, message=f"generic kernel, as it must be: {why}")
    return finding(
        status=Status.FAIL,
        message=f"the slow generic kernel ran: {kernel.evidence}; because: {why}",
        measured="generic",
        expected="fused",
        remedy="change what is named there, or update Keras (`./dlbox setup`), then run it again",
    )


def _learning(result: Result) -> Finding:
    finding = partial(
        Finding,
        theme=TRAINING,
        check="learns",
        subject=result.label,
        title=f"{result.label} learns",
    )
    accuracy, seen = result.accuracy, result.examples_seen
    if accuracy is None:
        return finding(
            status=Status.UNKNOWN,
            message="training was cut short before it could be judged",
            remedy=f"let it run to its end: `dlbox bench --workload {result.workload}`",
        )
    if not 0 <= accuracy <= 1 and not result.diverged:
        return finding(
            status=Status.UNKNOWN,
            message=f"the accuracy is impossible ({accuracy:.3g})",
            remedy=f"run it again: `dlbox bench --workload {result.workload}`",
        )
    suspect = (
        "run it again with another --seed; if it fails again the arithmetic is suspect: try "
        "`--backend jax` or torch, and `dlbox check --stress 5` on a card"
    )
    if result.diverged:
        return finding(
            status=Status.FAIL,
            message=f"it did not learn: the loss is no number after {seen:,} examples, so its speed does not count",
            measured=accuracy,
            expected=result.accuracy_bar,
            remedy=suspect,
        )
    told = f"accuracy {accuracy:.3f} on held-out examples after {seen:,} examples"
    if result.ceiling is not None:
        told += f" (a perfect reader: {result.ceiling:.3f})"
    if not result.accuracy_bar:
        return finding(
            status=Status.SKIP,
            message=f"{told}; not judged: written so, it stays at chance for longer than a benchmark takes, "
            "on a sound machine too",
            measured=accuracy,
        )
    if accuracy >= result.accuracy_bar:
        return finding(
            status=Status.PASS,
            message=told,
            measured=accuracy,
            expected=result.accuracy_bar,
        )
    return finding(
        status=Status.FAIL,
        message=f"{told}; {result.accuracy_bar} is the least that working training reaches: its speed does not count",
        measured=accuracy,
        expected=result.accuracy_bar,
        remedy=suspect,
    )


def _governor(result: Result, before: str | None) -> Finding | None:
    """Only a change is said here; what it is set to is a check of the machine (``host.governor``)."""
    seen = steadiness.governors(result)
    if before is not None and seen and seen[0] != before:
        seen = [before, *seen]
    if len(seen) < 2:
        return None
    return Finding(
        theme=TRAINING,
        check="governor",
        subject=result.label,
        status=Status.WARN,
        title=f"the processor's speed setting stayed while {result.label} trained",
        message=f"the frequency governor changed during the run: {', then '.join(seen)}; blocks before and after are "
        "of different clocks",
        measured=seen[-1],
        expected=seen[0],
        remedy="keep power managers (power-profiles-daemon, tuned) from switching it, then run it again",
    )


_REST = "let the machine cool down and rest, set the CPU governor to performance, and run it again"


def _steadiness(result: Result) -> Finding:
    finding = partial(
        Finding,
        theme=TRAINING,
        check="steady",
        subject=result.label,
        title=f"{result.label} is steady",
    )
    rates = result.samples_per_second
    others = steadiness.others(result)
    if not all(math.isfinite(n) and n >= 0 for n in (rates.median, rates.mad, others)) or not rates.median:
        return finding(
            status=Status.UNKNOWN,
            message="the measured speed, its spread or the load of other programs is impossible",
            remedy=f"run it again: `dlbox bench --workload {result.workload}`",
        )
    spread, most = rates.mad / rates.median, UNSTEADY[steadiness.kind(result)]
    told = f"{rates.median:,.0f} samples/s, MAD {spread:.1%} over {len(rates.values)} blocks"
    if others > BUSY_CORES:
        return finding(
            status=Status.FAIL if steadiness.disturbed(result) else Status.WARN,
            message=f"{told}; other programs kept {others:.1f} cores busy meanwhile, so the figure is too low",
            measured=round(others, 2),
            expected=BUSY_CORES,
            unit="cores",
            remedy="close other programs and run it again before you compare or keep this figure",
        )
    if spread > most:
        return finding(
            status=Status.WARN,
            message=f"{told}: unsteady",
            measured=round(spread, 4),
            expected=most,
            remedy=_REST,
        )
    unlike = steadiness.unlike(result)
    if unlike is not None:
        return finding(
            status=Status.WARN,
            message=f"{told}: unsteady, {unlike}",
            measured=round(steadiness.scatter(result) or 0.0, 4),
            expected=round(steadiness.most_scatter(result), 4),
            remedy=_REST,
        )
    return finding(status=Status.PASS, message=told, measured=round(spread, 4), expected=most)
