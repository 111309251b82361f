"""Findings about the device, kernel, accuracy and steadiness of one training result. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from bench.finding import TRAINING, Finding, Status
from bench.results.record.document import Result
from bench.results.stats import steadiness
from bench.results.stats.steadiness import BUSY_CORES, BUSY_SHARE, UNSTEADY


def judge(
    result: Result,
    *,
    gpu_expected: bool,
    governor: str | None = None,
    framework: Callable[[str], Finding] | None = None,
) -> list[Finding]:
    """Whether a result ran on the expected device with the expected kernel, learned, and was steady.

    gpu_expected: Whether it should have trained on a card. governor: The processor's frequency governor before this
    result in the same run; None if it is not known. framework: Returns the finding about a backend's access to the
    card, made in a separate process; called only if the result did not use the card.
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
    """The finding about training that ended early. ``kind``: see ``bench.measure.runner.Problem``. ``detail``:
    the last lines of its process."""
    remedy = {
        "out-of-memory": "close other programs that use the card or memory (`nvidia-smi` lists them), then try again",
        "killed": "run the same command again; if you did not stop the process, find out what stopped it: "
        "`journalctl -b | grep -i -E 'oom|kill'`",
        "no-backend": f"install {backend}: ./dlbox setup {backend}",
        "hang": "run `dlbox check` and read the kernel log (`sudo dmesg | tail`), which often "
        "names the reason when a card "
        "stops answering",
    }.get(kind, "run `dlbox check --frameworks` to see whether the framework works")
    tail = f" Its last output: {detail.splitlines()[-1].strip()[:200]}" if detail.strip() else ""
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
    message = f"the machine has a card, but {result.backend} trained on the processor"
    if why is not None:
        works = why.status is Status.PASS
        message += f", although in a separate process {why.message}" if works else f": {why.message}"
    return finding(
        status=Status.FAIL,
        message=message,
        measured="cpu",
        expected="gpu",
        remedy=(why.remedy if why else None)
        or "run `dlbox check --frameworks`, which names the missing library; `./dlbox setup` installs the build for "
        "this card",
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
            message="generic kernel, because the class's script uses arguments that the fused "
            f"kernel does not support: {why}",
        )
    if kernel.unavoidable:
        return finding(status=Status.SKIP, message=f"generic kernel, because Keras has no fused one: {why}")
    return finding(
        status=Status.FAIL,
        message=f"the slow generic kernel ran: {kernel.evidence}; reason: {why}",
        measured="generic",
        expected="fused",
        remedy="change the named argument, or update Keras (`./dlbox setup`), then run it again",
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
            message="training ended before its accuracy was measured",
            remedy=f"run it to the end: `dlbox bench --workload {result.workload}`",
        )
    if not 0 <= accuracy <= 1 and not result.diverged:
        return finding(
            status=Status.UNKNOWN,
            message=f"the accuracy is impossible ({accuracy:.3g})",
            remedy=f"run it again: `dlbox bench --workload {result.workload}`",
        )
    suspect = (
        "run it again with another --seed; if it fails again, the results of the arithmetic may be wrong: try another "
        "--backend, and `dlbox check --stress 5` on a card"
    )
    if result.diverged:
        return finding(
            status=Status.FAIL,
            message=f"training diverged (the loss is NaN) within {seen:,} examples, so its speed does not count",
            measured=accuracy,
            expected=result.accuracy_bar,
            remedy=suspect,
        )
    message = f"accuracy {accuracy:.3f} on held-out examples after {seen:,} examples"
    if result.ceiling is not None:
        message += f" (the maximum that the data allows: {result.ceiling:.3f})"
    if not result.accuracy_bar:
        return finding(
            status=Status.SKIP,
            message=f"{message}; not judged: on every machine, this variant needs longer than a "
            "benchmark takes to learn",
            measured=accuracy,
        )
    if accuracy >= result.accuracy_bar:
        return finding(
            status=Status.PASS,
            message=message,
            measured=accuracy,
            expected=result.accuracy_bar,
        )
    return finding(
        status=Status.FAIL,
        message=f"{message}, below the {result.accuracy_bar} that correct training reaches, so "
        "its speed does not count",
        measured=accuracy,
        expected=result.accuracy_bar,
        remedy=suspect,
    )


def _governor(result: Result, before: str | None) -> Finding | None:
    """A finding if the governor changed during the run. Which governor is set is judged by the check
    ``host.governor``."""
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
        title=f"the frequency governor did not change while {result.label} trained",
        message=f"the frequency governor changed during the run: {', then '.join(seen)}; the blocks before and after "
        "ran at different clock rates",
        measured=seen[-1],
        expected=seen[0],
        remedy="stop power managers (power-profiles-daemon, tuned) from changing it, then run it again",
    )


_QUIET_MACHINE = (
    "close other programs, let the machine cool down, set the CPU governor to performance, and run it again"
)


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
            message="the measured speed, its spread or the load of other programs has an impossible value",
            remedy=f"run it again: `dlbox bench --workload {result.workload}`",
        )
    spread, most = rates.mad / rates.median, UNSTEADY[steadiness.kind(result)]
    message = f"{rates.median:,.0f} samples/s, MAD {spread:.1%} over {len(rates.values)} blocks"
    if steadiness.is_busy(result):
        share = steadiness.taken(result)
        lost = "" if share is None else f" and took {share:.0%} of the processor time that training needed"
        return finding(
            status=Status.FAIL if steadiness.disturbed(result) else Status.WARN,
            message=f"{message}; other programs used {others:.1f} cores meanwhile{lost}, so this speed is too low",
            measured=round(others, 2) if share is None else round(share, 3),
            expected=BUSY_CORES if share is None else BUSY_SHARE,
            unit="cores" if share is None else None,
            remedy="close other programs and run this again before you use or compare the speed",
        )
    if spread > most:
        return finding(
            status=Status.WARN,
            message=f"{message}: the speed is unsteady",
            measured=round(spread, 4),
            expected=most,
            remedy=_QUIET_MACHINE,
        )
    unlike = steadiness.unlike(result)
    if unlike is not None:
        return finding(
            status=Status.WARN,
            message=f"{message}: the speed is unsteady, {unlike}",
            measured=round(steadiness.scatter(result) or 0.0, 4),
            expected=round(steadiness.most_scatter(result), 4),
            remedy=_QUIET_MACHINE,
        )
    return finding(status=Status.PASS, message=message, measured=round(spread, 4), expected=most)
