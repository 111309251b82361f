"""A result document -> one self-contained HTML page. A pure function: nothing is measured or written here."""

from __future__ import annotations

import re
from collections import Counter

import jinja2
from markupsafe import Markup

from bench.finding import VERDICTS, Status
from bench.results import charts
from bench.results.record import Document

_ORDER = (Status.FAIL, Status.UNKNOWN, Status.WARN, Status.PASS, Status.SKIP)


def render(document: Document) -> str:
    """The whole page as text: styles and charts inside, no script, nothing fetched from anywhere."""
    word, meaning = VERDICTS[document.verdict]
    if document.partial:
        word, meaning = "INTERRUPTED", "what was measured until then is below, marked partial."
    findings = sorted(document.findings, key=lambda f: _ORDER.index(f.status))
    results = document.results
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bench.results"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        document=document,
        word=word,
        meaning=meaning,
        findings=findings,
        counts=Counter(f.status for f in findings),
        throughput=Markup(charts.throughput(results)) if results else "",  # noqa: S704 - made by charts
        block_rates=Markup(charts.block_rates(results)) if results else "",  # noqa: S704
        watched=[r for r in results if r.telemetry is not None and r.telemetry.summary is not None],
        unwatched=[r for r in results if r.telemetry is not None and r.telemetry.trouble],
        card=lambda result: Markup(charts.card(result.workload, result.telemetry)),  # noqa: S704
        gib=lambda size: f"{size / 2**30:.1f} GiB",
    )


def stamp(document: Document) -> str:
    """Part of a file name that tells one run from another."""
    when = re.sub(r"[^0-9]", "", document.started_at)[:14]
    return f"run{document.run_id}" if document.run_id else when


def file_name(document: Document) -> str:
    return f"dlbox-{document.command}-{stamp(document)}.html"
