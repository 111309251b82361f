"""Prints the results of a run, its findings and the history in a terminal with 80 or more columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.finding import TRAINING, Finding, Status, words
from bench.results.record.document import Document, Result
from bench.results.stats.compare import speed
from bench.results.store.rows import Run

ONE_PROCESS = "One process per model: too few to estimate run-to-run variation."

STYLES = {
    Status.PASS: "green",
    Status.WARN: "yellow",
    Status.FAIL: "bold red",
    Status.SKIP: "dim",
    Status.UNKNOWN: "magenta",
}


def show(document: Document, console: Console, *, verbose: bool = False) -> None:
    """Print results, findings that need attention, the verdict, the path of the report, and the next command.

    verbose: Also print how the results were measured, the figures of each model, and the full text of findings.
    """
    if document.results:
        console.print(results_table(document.results, verbose=verbose))
        for line in figures(document) if verbose else ():
            console.print(Text(line, style="dim"), soft_wrap=not console.is_terminal)
    show_findings(document.findings, console, verbose=verbose)
    show_verdict(document, console)


def results_table(results: tuple[Result, ...], *, verbose: bool = True) -> Table:
    """One row per result; ``verbose``: with notes about the data and the number of processes.

    What all results share is in the title, so that twelve models fit into 80 columns."""
    table = Table(title=_title(results), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("model", overflow="fold")
    varied = {name: of for name, of in _COMMON.items() if len({of(r) for r in results}) > 1}
    for name in varied:
        table.add_column(
            name, overflow="ellipsis", max_width=16, justify="right" if name == "batch" else "left"
        )
    for name in ("samples/s", "± MAD" if verbose else "±", "tokens/s", "compile", "accuracy"):
        table.add_column(name, justify="right", no_wrap=True)
    notes = ["Trained on synthetic data."] if all("synthetic" in r.data for r in results) else []
    if all(len(r.repeats) == 1 for r in results):
        notes.append(ONE_PROCESS)
    if verbose:
        table.caption, table.caption_justify = " ".join(notes), "left"
    for result in results:
        rates, tokens = result.samples_per_second, result.tokens_per_second
        table.add_row(
            Text(result.workload + (" (partial)" if result.partial else "")),
            *(Text(of(result)) for of in varied.values()),
            f"{rates.median:,.0f}",
            f"{rates.mad:,.0f}",
            "-" if tokens is None else f"{tokens:,.0f}",
            f"{result.compile_seconds:.1f} s" if result.compile_seconds is not None else "-",
            f"{result.accuracy:.3f}" if result.accuracy is not None else "-",
        )
    return table


_COMMON: dict[str, Callable[[Result], str]] = {
    "backend": lambda r: r.backend,
    "device": lambda r: r.device,
    "batch": lambda r: str(r.batch_size),
}


def _title(results: tuple[Result, ...]) -> Text:
    first, same = results[0], {n for n, of in _COMMON.items() if len({of(r) for r in results}) == 1}
    parts = [
        *([f"on {first.backend}"] if "backend" in same else []),
        *([first.device] if "device" in same else []),
        *([f"batch {first.batch_size}"] if "batch" in same else []),
    ]
    return Text(f"Training {', '.join(parts)}".rstrip())


def figures(document: Document) -> list[str]:
    """Print figures other than the speed: one line about the probes, then one line per result."""
    lines = []
    probes = document.probes
    if probes is not None and probes.matmul_tflops:
        peaks = ", ".join(f"{name} {value:.3g} TFLOP/s" for name, value in probes.matmul_tflops.items())
        lines.append(f"Matrix peak measured here: {peaks}.")
    for result in document.results:
        other = _other_figures(result)
        if other:
            lines.append(f"{result.label}: {', '.join(other)}")
    return [*lines, *variants(document.results)]


def variants(results: tuple[Result, ...]) -> list[str]:
    """The speed of the fast variant of each model relative to the variant of the class's script."""
    lines = []
    for result in results:
        if result.variant != "faithful":
            continue
        fast = next((r for r in results if r.variant == "fast" and _size(r) == _size(result)), None)
        line = f"{result.label} uses the layer arguments of the class's script"
        if fast is not None:
            factor = fast.samples_per_second.median / result.samples_per_second.median
            line += f"; its fast variant {fast.label} has {factor:.2f} times the samples/s"
        lines.append(f"{line}.")
    return lines


def _size(result: Result) -> tuple[int, str, int, int]:
    return result.parameters, result.backend, result.batch_size, result.devices


def _other_figures(result: Result) -> list[str]:
    shown = []
    scaling = result.scaling
    if scaling is not None and scaling.speedup is not None and scaling.efficiency is not None:
        shown.append(
            f"{scaling.speedup:.2f} times one device, efficiency {scaling.efficiency:.0%} ({scaling.engine})"
        )
    if result.interval is not None and result.interval.low is not None and result.interval.high is not None:
        tokens = result.tokens
        shown.append(
            f"expected of another run: {result.interval.low:,.0f} to {result.interval.high:,.0f} samples/s"
            + (
                f", {tokens.low:,.0f} to {tokens.high:,.0f} tokens/s"
                if tokens and tokens.low and tokens.high
                else ""
            )
            + f" ({result.interval.confidence:.0%}, {result.interval.processes} processes)"
        )
    steps = result.steps
    shown.append(f"step {speed(steps.p50 * 1e3)} ms ({speed(steps.p5 * 1e3)} to {speed(steps.p95 * 1e3)})")
    if result.achieved_tflops is not None:
        shown.append(f"{speed(result.achieved_tflops * 1e3)} GFLOP/s")
    if result.share_of_measured_peak is not None:
        shown.append(f"{result.share_of_measured_peak:.1%} of the measured peak")
    if result.share_of_card_peak is not None:
        shown.append(f"{result.share_of_card_peak:.1%} of the card's peak")
    if result.input is not None:
        shown.append(f"{result.input.share:.0%} waiting for data")
    if result.memory is not None:
        shown.append(f"{result.memory.peak_bytes / 2**20:,.0f} MiB peak memory")
    summary = result.telemetry.summary if result.telemetry else None
    if summary is not None and summary.energy_joules_per_1000_samples is not None:
        shown.append(
            f"{summary.energy_joules_per_1000_samples:,.0f} J/1,000 samples ({summary.energy_method})"
        )
    if summary is not None and summary.samples_per_second_per_watt is not None:
        shown.append(f"{summary.samples_per_second_per_watt:.2f} samples/s/W")
    if result.price is not None:
        shown.append(
            f"{result.price.samples_per_second_per_usd:.2f} samples/s per dollar "
            f"(${result.price.usd:,.0f}, {result.price.build}, prices from {result.price.priced_on})"
        )
    return shown


def show_findings(findings: tuple[Finding, ...], console: Console, *, verbose: bool = True) -> None:
    """Print each finding that needs attention with its next step; ``verbose``: in full, after the number of findings by
    status."""
    if verbose:
        counts = Counter(f.status for f in findings)
        line = Text("Checks: ")
        line.append(", ".join(f"{counts[s]} {s.value}" for s in Status if counts[s]) or "none")
        console.print(line)
    for finding in findings:
        if finding.status in (Status.PASS, Status.SKIP):
            continue
        console.print(
            Text.assemble(
                (f"{finding.status.value.upper():8}", STYLES[finding.status]),
                f"{finding.id}: {finding.message if verbose else plain(finding)}",
            ),
            soft_wrap=not console.is_terminal,
        )
        if finding.remedy:
            console.print(Text(f"     ->  {finding.remedy}"), soft_wrap=not console.is_terminal)


_SPREAD = re.compile(r", MAD [^ ]+ over [0-9]+ blocks")


def plain(finding: Finding) -> str:
    """The message of a finding without the terms of measurement; the report and --verbose have the full text."""
    if finding.theme != TRAINING:
        return finding.message
    if finding.check == "predicted" and all(
        isinstance(value, int | float) for value in (finding.measured, finding.expected)
    ):
        return f"{finding.measured:,.0f} samples/s; {finding.expected:,.0f} were expected on this machine"
    return _SPREAD.sub("", finding.message)


def next_command(document: Document) -> str:
    """The command to run after this run."""
    if document.partial:
        return f"dlbox {document.command}"
    if document.verdict == "not-ready":
        return "dlbox check"
    if document.verdict == "uncertain":
        return f"dlbox {document.command} --wait-for-quiet 10"
    return "dlbox workshop list" if document.command == "ready" else "dlbox compare"


def show_verdict(document: Document, console: Console) -> None:
    """Print the verdict, the path of the report, the number of the run in the history, and the next command."""
    word, meaning = words(document.verdict, has_gpu=document.machine.has_gpu, findings=document.findings)
    style = {
        "ready": "bold green",
        "cpu-only": "bold cyan",
        "not-ready": "bold red",
        "uncertain": "bold yellow",
    }[document.verdict]
    if document.partial:
        word, meaning, style = (
            "INTERRUPTED",
            "what was measured until then is stored and marked partial.",
            "bold yellow",
        )
    console.print(Text.assemble((f"{word}: ", style), meaning), soft_wrap=not console.is_terminal)
    if document.report:
        console.print(f"Report: {document.report}", markup=False, soft_wrap=True, highlight=False)
    stored_elsewhere = any(f.id == "results.history" for f in document.findings)
    stored = f"Stored as run {document.run_id}. " if document.run_id and not stored_elsewhere else ""
    if document.command != "check":
        console.print(f"{stored}Next: {next_command(document)}", markup=False, highlight=False)


def history_table(runs: list[Run]) -> Table:
    """One row per run, the newest last."""
    named = any(run_name(run) for run in runs)
    table = Table()
    table.add_column("run", justify="right")
    table.add_column("started (UTC)")
    table.add_column("command")
    table.add_column("verdict")
    if named:
        table.add_column("name", overflow="fold")
    table.add_column("samples/s", overflow="fold")
    for run in runs:
        document = run.document
        if document is None:
            speeds, verdict = "cannot be read", "?"
        else:
            speeds = (
                ", ".join(f"{r.label} {r.samples_per_second.median:,.0f}" for r in document.results) or "-"
            )
            verdict = document.verdict if run.state == "complete" else run.state
        if run.baseline:
            verdict += ", baseline"
        started = run.started_at.replace("T", " ").removesuffix("+00:00")
        name = (run_name(run),) if named else ()
        table.add_row(str(run.id), *(Text(text) for text in (started, run.command, verdict, *name, speeds)))
    return table


def run_name(run: Run) -> str:
    """The name that --name gave to a run, else ""."""
    name = run.document.options.get("name") if run.document else None
    return name if isinstance(name, str) else ""
