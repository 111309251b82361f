"""Prints health checks: the findings by theme, the list of all checks, and the explanation of one check."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.finding import Finding, Status
from bench.results.record.document import Document
from bench.results.terminal.results import STYLES, show_verdict

NOT_IN_SOURCE = "not in this source"
"""The beginning of the message of a check that a report does not allow (``bench.health.source_needs``)."""


class DescribedCheck(Protocol):
    """The texts of a check that are shown to the user."""

    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def looks_at(self) -> str: ...
    @property
    def limits(self) -> str: ...
    @property
    def applies_to(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def explanation(self) -> str: ...
    @property
    def fix(self) -> str: ...


def show(document: Document, console: Console) -> None:
    """Print the findings by theme, the next steps, and the verdict."""
    console.print(table(document.findings))
    if document.judged_from:
        console.print(Text(f"{document.judged_from}."), soft_wrap=not console.is_terminal)
    for line in _not_judged(document.findings):
        console.print(Text(line, style="dim"), soft_wrap=not console.is_terminal)
    steps(document.findings, console)
    show_verdict(document, console)
    if not document.judged_from and not document.partial:
        console.print(f"Next: {next_command(document)}", markup=False, highlight=False)


def next_command(document: Document) -> str:
    """The command after `dlbox check`: it tells what to do first about a fault, or trains."""
    failed = any(finding.status in (Status.FAIL, Status.UNKNOWN) for finding in document.findings)
    return "dlbox doctor" if failed else "dlbox ready"


def table(findings: Sequence[Finding]) -> Table:
    """One row per finding, without skipped ones."""
    grid = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    grid.add_column("check", no_wrap=True)
    grid.add_column("status", no_wrap=True)
    grid.add_column("measured, and what was expected")
    theme = ""
    for title, finding in _rows(findings):
        if finding.theme != theme:
            theme = finding.theme
            grid.add_row(Text(theme, style="bold"), "", "")
        status = Text(finding.status.value, style=STYLES[finding.status])
        grid.add_row(Text(f"  {title}"), status, Text(finding.message))
    return grid


def _rows(findings: Sequence[Finding]) -> list[tuple[str, Finding]]:
    """Title and finding of each row. Cards with the same status and message share one row."""
    rows = []
    for _, group in groupby(findings, key=lambda finding: (finding.theme, finding.check)):
        shown = [finding for finding in group if finding.status is not Status.SKIP]
        if len(shown) > 1 and len({(finding.status, finding.message) for finding in shown}) == 1:
            rows.append((f"{shown[0].title} ({len(shown)} GPUs)", shown[0]))
            continue
        for finding in shown:
            gpu = "" if finding.subject is None else f" (GPU {finding.subject})"
            rows.append((finding.title + gpu, finding))
    return rows


def steps(findings: Iterable[Finding], console: Console) -> None:
    """Print each finding that needs attention, with its next step."""
    for finding in findings:
        if finding.status in (Status.PASS, Status.SKIP):
            continue
        console.print(
            Text.assemble(
                (f"{finding.status.value.upper()} ", STYLES[finding.status]),
                f"{finding.id}: {finding.message}",
            ),
            soft_wrap=not console.is_terminal,
        )
        if finding.remedy:
            console.print(Text(f"     -> {finding.remedy}"), soft_wrap=not console.is_terminal)


def _not_judged(findings: Sequence[Finding]) -> list[str]:
    """Lines about skipped checks: one per reason that many checks share, and one with the titles of the others."""
    reasons: dict[str, dict[str, None]] = {}
    for finding in findings:
        if finding.status is Status.SKIP and not finding.message.startswith(NOT_IN_SOURCE):
            reasons.setdefault(finding.message, {})[finding.title] = None
    absent = [finding for finding in findings if finding.message.startswith(NOT_IN_SOURCE)]
    lines = [f"skipped, {NOT_IN_SOURCE}: {len(absent)} checks"] if absent else []
    lines += [
        f"skipped, {reason}: {len(titles)} checks" for reason, titles in reasons.items() if len(titles) > 3
    ]
    rest = [title for titles in reasons.values() if len(titles) <= 3 for title in titles]
    return lines + ([f"skipped: {', '.join(rest)}"] if rest else [])


def listing(checks: Iterable[DescribedCheck]) -> str:
    """Every check in a few lines: what it reads, its limits, the cards it applies to, the source of the limits."""
    blocks = []
    for check in checks:
        rows = {
            "looks at": check.looks_at,
            "limits": check.limits,
            "applies to": check.applies_to,
            "source": check.source,
        }
        body = "\n".join(_wrapped(f"    {name}: {text}", 6) for name, text in rows.items())
        blocks.append(f"{check.id}  {check.title}\n{body}")
    return "\n\n".join(blocks) + "\n"


def explanation(check: DescribedCheck) -> str:
    """The meaning of a check, its limits, and how to fix what it finds."""
    meaning = "\n\n".join(
        part if part.startswith("  ") else _wrapped(" ".join(part.split()))
        for part in check.explanation.split("\n\n")
    )
    rows = {
        "Looks at": check.looks_at,
        "Limits": check.limits,
        "Applies to": check.applies_to,
        "Source": check.source,
        "How to fix": check.fix,
    }
    return (
        f"{check.id}: {check.title}\n\n{meaning}\n\n"
        + "\n".join(_wrapped(f"{name}: {text}", 2) for name, text in rows.items())
        + "\n"
    )


def _wrapped(text: str, hang: int = 0) -> str:
    return textwrap.fill(
        text, 96, subsequent_indent=" " * hang, break_long_words=False, break_on_hyphens=False
    )
