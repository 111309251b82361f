"""What this box gave before, and whether it still does: results against its own baseline. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.finding import Finding, Status
from bench.results import compare, noise
from bench.results.history import Run
from bench.results.record import Document, Result
from inventory.machine import Machine

LEAST_PROCESSES = noise.LEAST_PROCESSES
"""Fewer processes a model do not show how they scatter, so nothing could be judged against them."""


def against_baseline(result: Result, machine: Machine, baselines: Iterable[Run]) -> Finding | None:
    """One sentence with its numbers, or None where this machine has no baseline for this kind of result.

    ``baselines``: the newest first. It fails when the result is slower by more than the processes of the
    baseline and its own differ among themselves (``bench.results.noise``).
    """
    run, before = _of_the_same_kind(result, machine, baselines)
    if run is None or before is None:
        return None
    name, title = (
        f"training.{result.label}-baseline",
        f"{result.label} is not slower than its baseline",
    )
    if result.fingerprint != before.fingerprint:
        return Finding(
            id=name,
            status=Status.SKIP,
            title=title,
            message=f"the baseline (run {run.id}) is of another version of this workload: "
            "`dlbox bench --baseline` marks a new one",
        )
    if compare.refusal(before, result) is not None:
        return None  # cut short or not learning: other findings say so
    estimate = noise.estimate(compare.processes(before), compare.processes(result))
    slower = compare.outcome(estimate) == "slower"
    now, then = estimate.b_samples_per_second, estimate.a_samples_per_second
    told = (
        f"{compare.speed(now)} samples/s against {compare.speed(then)} of the baseline (run {run.id}): "
        f"ratio {estimate.ratio:.3f}, {compare.interval(estimate)}"
    )
    if slower:
        told += f", {1 - estimate.ratio:.1%} slower and more than this workload's own noise"
        told += _changes(before, result)
    return Finding(
        id=name,
        status=Status.FAIL if slower else Status.PASS,
        title=title,
        message=told,
        measured=round(now, 3),
        expected=round(then, 3),
        unit="samples/s",
        remedy="close other programs, let it cool down and run it again; `dlbox compare baseline last` shows what "
        "changed; if the change is wanted, `dlbox bench --baseline` marks a new baseline"
        if slower
        else None,
    )


def why_no_baseline(findings: Iterable[Finding], document: Document) -> str | None:
    """Why a run is no measure for later ones, as one clause, or None. ``findings``: what was made of it.

    Only complete, learning, steady results of enough processes are one.
    """
    for finding in findings:
        if finding.theme == "training" and finding.status not in (Status.PASS, Status.SKIP):
            return f"{finding.title}: {finding.status.value} ({finding.message})"
    for result in document.results:
        why = compare.refusal(result, result)
        if why is not None:
            return f"{result.label}: {why.removeprefix('A ')}"
        if len(compare.processes(result)) < LEAST_PROCESSES:
            return f"{result.label} ran in fewer than {LEAST_PROCESSES} processes"
    if document.run_id is None:
        return "the run could not be kept in the history"
    return None if document.results else "nothing was trained"


def superseded(document: Document, baselines: Iterable[Run]) -> list[int]:
    """Numbers of the baselines that ``document`` replaces entirely, on its own machine."""
    kinds = {compare.key(result) for result in document.results}
    return [
        run.id
        for run, before in _on(document.machine, baselines)
        if {compare.key(result) for result in before.results} <= kinds
    ]


def marked(document: Document, why_not: str | None) -> Finding:
    """Whether a run that was to be a baseline has become one."""
    title = "this run is the baseline"
    if why_not is None:
        names = ", ".join(result.label for result in document.results)
        return Finding(
            id="results.baseline",
            status=Status.PASS,
            title=title,
            message=f"later runs of {names} are judged against this one",
        )
    return Finding(
        id="results.baseline",
        status=Status.FAIL,
        title=title,
        message=f"not marked as the baseline: {why_not}",
        remedy="close other programs, let the machine rest, then run `dlbox bench --baseline` again",
    )


def _of_the_same_kind(
    result: Result, machine: Machine, baselines: Iterable[Run]
) -> tuple[Run | None, Result | None]:
    for run, document in _on(machine, baselines):
        for before in document.results:
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
