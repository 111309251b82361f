"""A document as a person reads it in a terminal, 80 columns wide or more."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bench.finding import VERDICTS, Finding, Status
from bench.results.history import Run
from bench.results.record import Document, Result

STYLES = {
    Status.PASS: "green",
    Status.WARN: "yellow",
    Status.FAIL: "bold red",
    Status.SKIP: "dim",
    Status.UNKNOWN: "magenta",
}


def show(document: Document, console: Console) -> None:
    """Results, findings that need a look, one verdict line, and where the page is."""
    if document.results:
        console.print(results_table(document.results))
        for line in figures(document):
            console.print(Text(line, style="dim"), soft_wrap=not console.is_terminal)
    show_findings(document.findings, console)
    show_verdict(document, console)


def results_table(results: tuple[Result, ...]) -> Table:
    synthetic = all("synthetic" in r.data for r in results)
    table = Table(
        title="Training" + (", on synthetic data" if synthetic else ""),
        title_justify="left",
        title_style="bold",
    )
    table.add_column("model")
    table.add_column("backend")
    table.add_column("device", overflow="ellipsis", max_width=16)
    table.add_column("batch", justify="right")
    table.add_column("samples/s", justify="right")
    table.add_column("± MAD", justify="right")
    table.add_column("compile", justify="right")
    table.add_column("accuracy", justify="right")
    one = all(len(r.repeats) == 1 for r in results)
    if one:
        table.caption, table.caption_justify = (
            "One process a model: a look, no measure of how runs differ.",
            "left",
        )
    for result in results:
        rates = result.samples_per_second
        table.add_row(
            result.workload + (" (partial)" if result.partial else ""),
            result.backend,
            result.device,
            str(result.batch_size),
            f"{rates.median:,.0f}",
            f"{rates.mad:,.0f}",
            f"{result.compile_seconds:.1f} s" if result.compile_seconds is not None else "-",
            f"{result.accuracy:.3f}" if result.accuracy is not None else "-",
        )
    return table


def figures(document: Document) -> list[str]:
    """What was measured beside the speed, a line a result; the probes in one before them."""
    lines = []
    probes = document.probes
    if probes is not None and probes.matmul_tflops:
        peaks = ", ".join(f"{name} {value:.3g} TFLOP/s" for name, value in probes.matmul_tflops.items())
        lines.append(f"Matrix peak measured here: {peaks}.")
    for result in document.results:
        told = _beside(result)
        if told:
            lines.append(f"{result.label}: {', '.join(told)}")
    return lines


def _beside(result: Result) -> list[str]:
    told = []
    made = result.scaling
    if made is not None and made.speedup is not None and made.efficiency is not None:
        told.append(f"{made.speedup:.2f} times one device, efficiency {made.efficiency:.0%} ({made.engine})")
    if result.interval is not None and result.interval.low is not None and result.interval.high is not None:
        told.append(
            f"another run: {result.interval.low:,.0f} to {result.interval.high:,.0f} samples/s "
            f"({result.interval.confidence:.0%}, {result.interval.processes} processes)"
        )
    if result.tokens_per_second:
        told.append(f"{result.tokens_per_second:,.0f} tokens/s")
    if result.share_of_measured_peak is not None:
        told.append(f"{result.share_of_measured_peak:.1%} of that peak")
    if result.share_of_card_peak is not None:
        told.append(f"{result.share_of_card_peak:.1%} of the card's figure")
    if result.input is not None:
        told.append(f"{result.input.share:.0%} waiting for data")
    if result.memory is not None:
        told.append(f"{result.memory.peak_bytes / 2**20:,.0f} MiB at most")
    summary = result.telemetry.summary if result.telemetry else None
    if summary is not None and summary.energy_joules_per_1000_samples is not None:
        told.append(
            f"{summary.energy_joules_per_1000_samples:,.0f} J/1,000 samples ({summary.energy_method})"
        )
    if summary is not None and summary.samples_per_second_per_watt is not None:
        told.append(f"{summary.samples_per_second_per_watt:.2f} samples/s/W")
    if result.price is not None:
        told.append(
            f"{result.price.samples_per_second_per_usd:.2f} samples/s per dollar "
            f"(${result.price.usd:,.0f}, {result.price.build}, prices of {result.price.priced_on})"
        )
    return told


def show_findings(findings: tuple[Finding, ...], console: Console) -> None:
    """How many were as they should be, and each that was not with its next step."""
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
                f"{finding.id}: {finding.message}",
            ),
            soft_wrap=not console.is_terminal,
        )
        if finding.remedy:
            console.print(Text(f"     ->  {finding.remedy}"), soft_wrap=not console.is_terminal)


def show_verdict(document: Document, console: Console) -> None:
    word, meaning = VERDICTS[document.verdict]
    style = {"ready": "bold green", "cpu-only": "bold cyan", "not-ready": "bold red"}[document.verdict]
    if document.partial:
        word, meaning, style = (
            "INTERRUPTED",
            "what was measured until then is kept, marked partial.",
            "bold yellow",
        )
    console.print(Text.assemble((f"{word}: ", style), meaning), soft_wrap=not console.is_terminal)
    if document.report:
        console.print(f"Report: {document.report}", markup=False, soft_wrap=True, highlight=False)
    kept_elsewhere = any(f.id == "results.history" for f in document.findings)
    if document.run_id and not kept_elsewhere:
        console.print(
            f"Kept as run {document.run_id}: `dlbox history` lists all runs.", markup=False, highlight=False
        )


def history_table(runs: list[Run]) -> Table:
    """One line a run, the newest last."""
    table = Table()
    table.add_column("run", justify="right")
    table.add_column("started (UTC)")
    table.add_column("command")
    table.add_column("verdict")
    table.add_column("samples/s", overflow="fold")
    for run in runs:
        document = run.document
        if document is None:
            what, verdict = "not readable by this dlbox", "?"
        else:
            what = ", ".join(f"{r.label} {r.samples_per_second.median:,.0f}" for r in document.results) or "-"
            verdict = document.verdict if run.state == "complete" else run.state
        if run.baseline:
            verdict += ", baseline"
        started = run.started_at.replace("T", " ").removesuffix("+00:00")
        table.add_row(str(run.id), *(escape(text) for text in (started, run.command, verdict, what)))
    return table
