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
    table.add_column("samples/s", justify="right")
    table.add_column("± MAD", justify="right")
    table.add_column("compile", justify="right")
    table.add_column("accuracy", justify="right")
    for result in results:
        rates = result.samples_per_second
        table.add_row(
            result.workload + (" (partial)" if result.partial else ""),
            result.backend,
            result.device,
            f"{rates.median:,.0f}",
            f"{rates.mad:,.0f}",
            f"{result.compile_seconds:.1f} s" if result.compile_seconds is not None else "-",
            f"{result.accuracy:.3f}" if result.accuracy is not None else "-",
        )
    return table


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
            what = (
                ", ".join(f"{r.workload} {r.samples_per_second.median:,.0f}" for r in document.results) or "-"
            )
            verdict = document.verdict if run.state == "complete" else run.state
        if run.baseline:
            verdict += ", baseline"
        started = run.started_at.replace("T", " ").removesuffix("+00:00")
        table.add_row(str(run.id), *(escape(text) for text in (started, run.command, verdict, what)))
    return table
