"""What was expected of a result: its own baseline, else a band for its card, else the probes of this box. Pure."""

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
from bench.results.store.history import Run
from common.yaml_lines import YamlError
from inventory.machine.records import Machine

LEAST_PROCESSES = intervals.LEAST_PROCESSES
"""Fewer processes a model do not show how they scatter, so nothing could be judged against them."""


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
    """The nearest measure there is: this box's baseline, a band for its card, a prediction from its probes.

    Where there is none, that is said, and why.
    ``earlier``: see ``earlier_speeds``. ``kept``: the bands; None means those of bands.yml. ``number``: of the run.
    """
    own = against_baseline(result, machine, baselines, earlier, number)
    if own is not None and own.status is not Status.SKIP:
        return [own]
    found = [own] if own is not None else []
    if compare.refusal(result, result) is not None:
        return found  # cut short or not learning: other findings say so
    if result.devices > 1:
        return found or [_nothing(result, "bands and predictions are of one device")]
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
"""A finding, else why there is none."""


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
        title=f"{result.label} is as fast as expected",
        message=f"nothing was expected of its speed: {why}; `dlbox bench --baseline` marks a run that later ones are "
        "held against",
    )


def unreadable() -> list[Finding]:
    """One finding where bands.yml or prediction.yml cannot be read: results are then judged without it."""
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
            title="what is expected of a box can be read",
            message=f"results are judged without it: {'; '.join(troubles)}",
            remedy="mend that line, or put the file back as it came: `git checkout bench` in a clone, else install "
            "dlbox again",
        )
    ]


def earlier_speeds(result: Result, machine: Machine, runs: Iterable[Run]) -> list[float]:
    """Median samples/s of this very work in earlier complete runs here, with the same versions of everything.

    Runs in which it failed a finding are left out: a slow-down must not widen what later ones are allowed.
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
    """Relative difference that two runs of this workload show on this box by chance; 0 with too few runs to tell.

    t s sqrt(2): s the standard deviation of the logarithms over the earlier runs, t of Student's distribution at 99%.
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
    """One sentence with its numbers, or None where this machine has no baseline for this kind of result.

    ``baselines``: the newest first. ``number``: of the run in the history that ``result`` is of. It fails when the
    result is slower by more than the processes of the baseline and its own differ among themselves
    (``bench.results.stats.intervals``) and by more than whole runs do (``tolerance``).
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
            message=f"the baseline (run {run.id}) is of another version of this workload: "
            "`dlbox bench --baseline` marks a new one",
        )
    if compare.refusal(before, result) is not None:
        return None  # cut short or not learning: other findings say so
    estimate = intervals.estimate(compare.processes(before), compare.processes(result))
    allowed = tolerance(earlier)
    slower = compare.outcome(estimate) == "slower" and -math.log(estimate.ratio) > allowed
    now, then = estimate.b_samples_per_second, estimate.a_samples_per_second
    told = (
        f"{compare.speed(now)} samples/s against {compare.speed(then)} of the baseline (run {run.id}): "
        f"ratio {estimate.ratio:.3f}, {compare.interval(estimate)}"
    )
    if allowed:
        told += f", {len(earlier)} earlier runs differ by up to {math.expm1(allowed):.1%}"
    if slower:
        told += f", {1 - estimate.ratio:.1%} slower and more than this workload's own noise"
        told += _changes(before, result)
        if steadiness.disturbed(result):
            told += f"; other programs kept {steadiness.others(result):.1f} cores busy, which may be why"
    return finding(
        status=Status.FAIL if slower else Status.PASS,
        message=told,
        measured=round(now, 3),
        expected=round(then, 3),
        unit="samples/s",
        remedy="close other programs, let it cool down and run it again; "
        + (f"`dlbox compare {run.id} {number}` shows what changed; " if number is not None else "")
        + "if the change is wanted, `dlbox bench --baseline` marks a new baseline"
        if slower
        else None,
    )


def why_no_baseline(findings: Iterable[Finding], document: Document) -> str | None:
    """Why a run is no measure for later ones, as one clause, or None. ``findings``: what was made of it.

    Only complete, learning, steady results of enough processes are one.
    """
    for finding in findings:
        if finding.theme == TRAINING and finding.check == "predicted":
            continue  # a baseline is the better measure
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
            return f"{result.label} is unsteady, {unlike}"
    if document.run_id is None:
        return "the run could not be kept in the history"
    return None if document.results else "nothing was trained"


def superseded(document: Document, baselines: Iterable[Run]) -> list[int]:
    """Numbers of the baselines that ``document`` replaces entirely, on its own machine."""
    kinds = {compare.key(result) for result in counted(document)}
    return [
        run.id
        for run, before in _on(document.machine, baselines)
        if {compare.key(result) for result in counted(before)} <= kinds
    ]


def counted(document: Document) -> list[Result]:
    """Its results without the short looks, one process each, that show that a model learns where another batch size
    than the workshop's was asked for."""
    elsewhere = {r.workload for r in document.results if r.batch_kind != "workshop"}
    looks = elsewhere if document.options.get("batch") not in (None, "workshop", "both") else set()
    return [r for r in document.results if r.batch_kind != "workshop" or r.workload not in looks]


def marked(document: Document, why_not: str | None) -> Finding:
    """Whether a run that was to be a baseline has become one."""
    title = "this run is the baseline"
    if why_not is None:
        names = ", ".join(result.label for result in counted(document))
        return Finding(
            theme="results",
            check="baseline",
            status=Status.PASS,
            title=title,
            message=f"later runs of {names} are judged against this one",
        )
    return Finding(
        theme="results",
        check="baseline",
        status=Status.FAIL,
        title=title,
        message=f"not marked as the baseline: {why_not}",
        remedy="close other programs, let the machine rest, then run `dlbox bench --baseline` again",
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
