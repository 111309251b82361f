"""The expected speed of a result, from its baseline, a band for its card, or the probes of this machine. Pure
functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec

from bench.finding import TRAINING, Finding, Status
from bench.judge import bands, prediction
from bench.results.record.document import Document, Result
from bench.results.record.figures import Probes
from bench.results.stats import compare, derived, intervals, steadiness
from bench.results.store.rows import Run
from common.file_access.yaml_lines import YamlError
from inventory.machine.records import Machine

LEAST_PROCESSES = intervals.LEAST_PROCESSES
"""Minimum processes per model of a baseline: fewer do not show the run-to-run variation."""


def judge(
    result: Result,
    machine: Machine,
    *,
    baselines: Iterable[Run],
    probes: Probes | None = None,
    earlier: Sequence[float] = (),
    kept: Iterable[bands.Band] | None = None,
    number: int | None = None,
) -> list[Finding]:
    """Compare with the best expectation available: the machine's baseline, a band for its card, or a prediction.

    If there is none, one skipped finding names the reasons. earlier: See ``earlier_speeds``. kept: The bands to use;
    None: those of bands.yml. number: The run's number in the history.
    """
    own = against_baseline(result, machine, baselines, earlier, number)
    if own is not None and own.status is not Status.SKIP:
        return [own]
    found = [own] if own is not None else []
    if compare.refusal(result, result) is not None:
        return found  # the result is partial or did not learn; another finding reports that
    if result.devices > 1:
        return found or [_nothing(result, "bands and predictions apply to one device only")]
    known, no_band = _read(
        lambda: bands.judge(result, machine, kept), "no band of measured speed", bands.PATH
    )
    if known is not None:
        return [*found, known]
    made, no_prediction = _read(lambda: prediction.judge(result, probes), "no prediction", prediction.PATH)
    if made is None:
        return found or [_nothing(result, ", ".join(filter(None, (no_band, no_prediction))))]
    if no_band:
        made = msgspec.structs.replace(made, message=f"{made.message}; {no_band}")
    return [*found, made]


Judged = tuple[Finding | None, str]
"""A finding and "", or None and the reason why no finding can be made."""


def _read(judged: Callable[[], Judged], otherwise: str, path: Path) -> Judged:
    try:
        return judged()
    except YamlError:
        return None, f"{otherwise} ({path.name} cannot be read)"


def _nothing(result: Result, why: str) -> Finding:
    return Finding(
        theme=TRAINING,
        check="expected",
        subject=result.label,
        status=Status.SKIP,
        title=f"{result.label} has the expected speed",
        message=f"its speed has nothing to be compared with: {why}; `dlbox bench --baseline` records a run as the "
        "reference for later ones",
    )


def unreadable() -> list[Finding]:
    """One finding if bands.yml or prediction.yml cannot be read: results are then judged without it."""
    troubles = []
    for read in (bands.shipped, prediction.measured):
        try:
            read()
        except YamlError as error:
            troubles.append(str(error))
    if not troubles:
        return []
    return [
        Finding(
            theme="results",
            check="expectations",
            status=Status.WARN,
            title="the files with expected speeds can be read",
            message=f"results are judged without expected speeds: {'; '.join(troubles)}",
            remedy="correct that line, or restore the file: `git checkout bench` in a clone, else install dlbox again",
        )
    ]


def earlier_speeds(result: Result, machine: Machine, runs: Iterable[Run]) -> list[float]:
    """Median samples/s of the same workload in earlier complete runs on this machine with the same versions.

    Results with a failed finding are left out: a slow-down must not widen the tolerance of later runs.
    """
    found = []
    for run, document in _on(machine, runs):
        for before in counted(document):
            if (
                run.state == "complete"
                and compare.key(before) == compare.key(result)
                and (before.fingerprint, before.versions, before.on_gpu)
                == (result.fingerprint, result.versions, result.on_gpu)
                and compare.refusal(before, before) is None
                and not any(
                    f.status is Status.FAIL and f.theme == TRAINING and f.subject == before.label
                    for f in document.findings
                )
            ):
                found.append(before.samples_per_second.median)
    return found


def tolerance(earlier: Sequence[float]) -> float:
    """The largest relative difference between two runs of this workload that chance explains; 0 with too few earlier
    runs.

    It is t s sqrt(2), where s is the standard deviation of the logarithms over the earlier runs, and t the 99% point
    of Student's distribution.
    """
    if len(earlier) < derived.LEAST_RUNS:
        return 0.0
    return (
        intervals.student_t(intervals.CONFIDENCE, len(earlier) - 1) * derived.scatter(earlier) * math.sqrt(2)
    )


def against_baseline(
    result: Result,
    machine: Machine,
    baselines: Iterable[Run],
    earlier: Sequence[float] = (),
    number: int | None = None,
) -> Finding | None:
    """Compare with the baseline; None if this machine has none for this kind of result.

    baselines: The newest first. number: The number of the result's run in the history. The finding fails if the result
    is slower by more than the variation between processes (``bench.results.stats.intervals``) and by more than the
    variation between runs (``tolerance``).
    """
    run, before = _of_the_same_kind(result, machine, baselines)
    if run is None or before is None:
        return None
    finding = partial(
        Finding,
        theme=TRAINING,
        check="baseline",
        subject=result.label,
        title=f"{result.label} is not slower than its baseline",
    )
    if result.fingerprint != before.fingerprint:
        return finding(
            status=Status.SKIP,
            message=f"the baseline (run {run.id}) has another version of this workload: `dlbox "
            "bench --baseline` records a "
            "new one",
        )
    if compare.refusal(before, result) is not None:
        return None  # the result is partial or did not learn; another finding reports that
    estimate = intervals.estimate(compare.processes(before), compare.processes(result))
    allowed = tolerance(earlier)
    slower = compare.outcome(estimate) == "slower" and -math.log(estimate.ratio) > allowed
    now, then = estimate.b_samples_per_second, estimate.a_samples_per_second
    message = (
        f"{compare.speed(now)} samples/s, compared with {compare.speed(then)} of the baseline (run {run.id}): "
        f"ratio {estimate.ratio:.3f}, {compare.interval(estimate)}"
    )
    if allowed:
        message += f", {len(earlier)} earlier runs differ by up to {math.expm1(allowed):.1%}"
    if slower:
        message += f", {1 - estimate.ratio:.1%} slower, which is more than run-to-run variation explains"
        message += _changes(before, result)
        if steadiness.disturbed(result):
            message += f"; other programs used {steadiness.others(result):.1f} cores, which may be the reason"
    return finding(
        status=Status.FAIL if slower else Status.PASS,
        message=message,
        measured=round(now, 3),
        expected=round(then, 3),
        unit="samples/s",
        remedy="close other programs, let the machine cool down and run it again; "
        + (f"`dlbox compare {run.id} {number}` shows what changed; " if number is not None else "")
        + "if the change is intended, `dlbox bench --baseline` records a new baseline"
        if slower
        else None,
    )


def why_no_baseline(findings: Iterable[Finding], document: Document) -> str | None:
    """One clause that says why a run cannot be a baseline, or None if it can. ``findings``: the findings of the run.

    Every result of a baseline is complete and steady, has learned, and has enough processes.
    """
    for finding in findings:
        if finding.theme == TRAINING and finding.check == "predicted":
            continue  # not needed for a baseline, which replaces these references
        if finding.theme == TRAINING and finding.status not in (Status.PASS, Status.SKIP):
            return f"{finding.title}: {finding.status.value} ({finding.message})"
    for result in counted(document):
        why = compare.unusable(result, result.label)
        if why is not None:
            return why
        if len(compare.processes(result)) < LEAST_PROCESSES:
            return f"{result.label} ran in fewer than {LEAST_PROCESSES} processes"
        unlike = steadiness.unlike(result)
        if unlike is not None:
            return f"the speed of {result.label} is unsteady, {unlike}"
    if document.run_id is None:
        return "the run could not be stored in the history"
    return None if document.results else "the run has no training results"


def superseded(document: Document, baselines: Iterable[Run]) -> list[int]:
    """Numbers of the baselines of the same machine that ``document`` can replace, because it has all of their
    results."""
    kinds = {compare.key(result) for result in counted(document)}
    return [
        run.id
        for run, before in _on(document.machine, baselines)
        if {compare.key(result) for result in counted(before)} <= kinds
    ]


def counted(document: Document) -> list[Result]:
    """The results whose speed is compared. If another batch size was selected, this leaves out the short process at
    the workshop's batch size, which only shows that the model learns."""
    elsewhere = {r.workload for r in document.results if r.batch_kind != "workshop"}
    looks = elsewhere if document.options.get("batch") not in (None, "workshop", "both") else set()
    return [r for r in document.results if r.batch_kind != "workshop" or r.workload not in looks]


def marked(document: Document, why_not: str | None) -> Finding:
    """The finding of `bench --baseline`: whether the run became the baseline."""
    title = "this run became the baseline"
    if why_not is None:
        names = ", ".join(result.label for result in counted(document))
        return Finding(
            theme="results",
            check="baseline",
            status=Status.PASS,
            title=title,
            message=f"later runs of {names} are compared with this one",
        )
    return Finding(
        theme="results",
        check="baseline",
        status=Status.FAIL,
        title=title,
        message=f"it cannot be the baseline: {why_not}",
        remedy="close other programs, let the machine cool down, then run `dlbox bench --baseline` again",
    )


def _of_the_same_kind(
    result: Result, machine: Machine, baselines: Iterable[Run]
) -> tuple[Run | None, Result | None]:
    for run, document in _on(machine, baselines):
        for before in counted(document):
            if compare.key(before) == compare.key(result) and before.on_gpu == result.on_gpu:
                return run, before
    return None, None


def _on(machine: Machine, baselines: Iterable[Run]) -> Iterator[tuple[Run, Document]]:
    for run in baselines:
        if run.document and compare.identity(run.document.machine) == compare.identity(machine):
            yield run, run.document


def _changes(before: Result, after: Result) -> str:
    changed = [
        f"{name} {before.versions.get(name, 'none')} then, {after.versions.get(name, 'none')} now"
        for name in sorted(before.versions.keys() | after.versions.keys())
        if before.versions.get(name) != after.versions.get(name)
    ]
    return f"; {', '.join(changed)}" if changed else ""
