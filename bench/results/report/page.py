"""Render a result document as one self-contained HTML page. Pure functions: nothing is measured or written here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

import jinja2
from markupsafe import Markup, escape

from bench.finding import TRAINING, Status
from bench.results.record.document import Document, Result, file_stamp
from bench.results.report import charts, headline, markdown, roofline, tables
from bench.results.stats import compare
from bench.results.stats.score import REFERENCE, standings
from bench.results.store.rows import Run
from bench.results.terminal.results import variants
from common.file_access.files import safe_name

_ORDER = (Status.FAIL, Status.UNKNOWN, Status.WARN, Status.PASS, Status.SKIP)

_DRAWN = 4
"""Maximum number of charts of a card over time: first cards with reduced clocks, then the hottest."""

_EARLIER = 20
"""Maximum number of earlier runs that are shown. Older runs used older software and compare less well."""


def render(document: Document, runs: Iterable[Run] = (), measured: Mapping[str, float] | None = None) -> str:
    """The page as text, with its styles and charts; it loads nothing from elsewhere.

    ``runs``: the history, the oldest first. Earlier runs of the same work on this machine appear in the charts.
    ``measured``: scores of cards that were measured elsewhere, see ``score.standings``.
    """
    findings = sorted(document.findings, key=lambda f: _ORDER.index(f.status))
    results = document.results
    references = references_of(document, runs)
    recorded = [r for r in results if r.telemetry is not None and r.telemetry.summary is not None]
    return (
        environment()
        .get_template("report.html")
        .render(
            document=document,
            head=headline.of(document),
            reference=REFERENCE,
            standings=standings(document, measured),
            findings=findings,
            counts=Counter(f.status for f in findings),
            throughput=Markup(charts.throughput(results, references)) if results else "",  # noqa: S704 - made of escaped text
            priced=next((r.price for r in results if r.price is not None), None),
            variants=variants(results),
            compared=any(k.earlier or k.expected for k in references.values()),
            block_rates=Markup(charts.block_rates(results)) if results else "",  # noqa: S704
            roofline=Markup(roofline.chart(document)),  # noqa: S704
            no_roofline=roofline.missing(document),
            points=roofline.points(document),
            kernels=[r for r in results if r.kernel is not None],
            scaled=[r for r in results if r.scaling is not None],
            searches=[r for r in results if r.batches is not None],
            tables=tables,
            name=charts.label,
            devices=list(dict.fromkeys(tables.on(r) for r in results)),
            summary=markdown.markdown(document),
            recorded=recorded,
            drawn=_drawn(results),
            record_errors=[r for r in results if r.telemetry is not None and r.telemetry.trouble],
            card=lambda result: Markup(charts.card(result.workload, result.telemetry)),  # noqa: S704
        )
    )


def environment() -> jinja2.Environment:
    """The templates of this folder, with every value escaped."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("bench.results.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["code"] = _code
    return made


def _drawn(results: Iterable[Result]) -> list[Result]:
    """Results whose card is drawn over time: all of them if they are few, else only the worst."""
    recorded = [
        (r.telemetry.summary, r)
        for r in results
        if r.telemetry is not None and r.telemetry.summary is not None
    ]
    worst = sorted(
        recorded,
        key=lambda pair: (-sum((pair[0].harmful_seconds or {}).values()), -(pair[0].temperature_max_c or 0)),
    )
    chosen = [r for _, r in worst[:_DRAWN]]
    return [r for _, r in recorded if r in chosen]


def _code(text: str) -> Markup:
    """Escape ``text``, and format what is between backquotes as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped


def references_of(document: Document, runs: Iterable[Run]) -> dict[int, charts.Reference]:
    """Reference speeds by the index of the result: the speeds of earlier runs, and the speed that a finding
    expects."""
    before = [
        run.document
        for run in runs
        if run.document is not None
        and run.state == "complete"  # an interrupted run has fewer processes per model
        and run.document.started_at < document.started_at
        and compare.identity(run.document.machine) == compare.identity(document.machine)
    ]
    return {
        index: charts.Reference(
            earlier=tuple(
                old.samples_per_second.median
                for earlier in before
                for old in earlier.results
                if compare.key(old) == compare.key(result)
                and old.fingerprint == result.fingerprint
                and old.on_gpu == result.on_gpu
                and not old.partial
            )[-_EARLIER:],
            expected=_expected(document, result),
        )
        for index, result in enumerate(document.results)
    }


def _expected(document: Document, result: Result) -> float | None:
    """The first speed in samples/s that a finding expects of this result, or None."""
    for finding in document.findings:
        about = (finding.theme, finding.subject) == (TRAINING, result.label)
        compared = (
            about and finding.check in ("baseline", "band", "predicted") and finding.unit == "samples/s"
        )
        if compared and isinstance(finding.expected, int | float):
            return float(finding.expected) or None
    return None


def file_name(document: Document) -> str:
    """File name of the report, from the command and the run."""
    return f"{safe_name('dlbox', document.command, file_stamp(document))}.html"
