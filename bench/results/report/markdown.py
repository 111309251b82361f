"""A summary of a run in Markdown, to paste into an issue, a chat or a log. Pure functions."""

from __future__ import annotations

import re

from bench.finding import Finding, Status, words
from bench.results.record.document import Document, Result
from bench.results.terminal.results import ONE_PROCESS

_URGENT = (Status.FAIL, Status.UNKNOWN, Status.WARN)


def markdown(document: Document) -> str:
    """Verdict, machine, one table row per model, and the findings that need attention, the worst first."""
    word, meaning = words(document.verdict, has_gpu=document.machine.has_gpu, findings=document.findings)
    if document.partial:
        word, meaning = "INTERRUPTED", "the results until then are below."
    host, driver = document.machine.host, document.machine.driver.module_version
    cards = [gpu.name.value or "an NVIDIA GPU" for gpu in document.machine.gpus]
    cards = cards or [card.pci_id for card in document.machine.cards] or ["no NVIDIA card"]
    run = f"run {document.run_id}, " if document.run_id else ""
    lines = [
        f"## dlbox {_plain(document.command)}: {word}",
        "",
        _plain(meaning),
        "",
        f"- Machine: {_plain(', '.join(cards))}{_plain(f', driver {driver.value}') if driver.ok else ''}; "
        f"{_plain(host.cpu_model)}, {host.cpu_threads} threads, {host.memory_bytes / 2**30:.0f} GiB; "
        f"{_plain(host.distribution.name)}",
        f"- Measured: {run}{_plain(document.started_at.replace('T', ' ').removesuffix('+00:00'))} UTC, "
        f"dlbox {_plain(document.dlbox_version)}{_versions(document)}",
    ]
    if document.results:
        lines += [
            "",
            "| model | backend | device | batch | samples/s | ± MAD | tokens/s | accuracy |",
            "|---|---|---|---:|---:|---:|---:|---:|",
            *(_row(result) for result in document.results),
        ]
        if all(len(result.repeats) == 1 for result in document.results):
            lines += ["", ONE_PROCESS]
        scaled = [
            (r, s) for r in document.results if (s := r.scaling) is not None and s.efficiency is not None
        ]
        lines += [""] if scaled else []
        lines += [
            f"- {_plain(r.label)}: efficiency {s.efficiency:.0%} ({_plain(s.engine)})" for r, s in scaled
        ]
    urgent = sorted(
        (f for f in document.findings if f.status in _URGENT), key=lambda f: _URGENT.index(f.status)
    )
    lines += ["", *(_bullet(f) for f in urgent)] if urgent else []
    if document.partial:
        more = "" if urgent else ", and nothing in it needs attention"
        lines += [
            "",
            f"The run was interrupted, so this report shows only part of it{more}; "
            "run the same command again for the rest.",
        ]
    elif not urgent:
        lines += ["", "Nothing needs attention."]
    return "\n".join(lines) + "\n"


def _row(result: Result) -> str:
    rates, tokens, accuracy = result.samples_per_second, result.tokens_per_second, result.accuracy
    cells = (
        result.workload + (" (partial)" if result.partial else ""),
        result.backend,
        f"{result.device}, {result.precision}",
        str(result.batch_size),
        f"{rates.median:,.0f}",
        f"{rates.mad:,.0f}",
        "-" if tokens is None else f"{tokens:,.0f}",
        "-" if accuracy is None else f"{accuracy:.3f}",
    )
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _bullet(finding: Finding) -> str:
    remedy = f" Next step: {_plain(finding.remedy)}" if finding.remedy else ""
    return f"- **{finding.status.value}**, {_plain(finding.title)}: {_plain(finding.message).rstrip('.')}.{remedy}"


def _versions(document: Document) -> str:
    found = {name: v for r in document.results for name, v in r.versions.items() if name != "numpy"}
    return _plain("".join(f", {name} {version}" for name, version in found.items()))


def _plain(text: str) -> str:
    """Text in one line, with the characters of Markdown tables, links and HTML tags escaped outside of `code`."""
    pieces = re.split(r"(`[^`]*`)", re.sub(r"\s+", " ", text).strip())
    return "".join(
        piece.replace("|", "\\|") if piece.startswith("`") else re.sub(r"([\\|<\[*])", r"\\\1", piece)
        for piece in pieces
    )
