"""A result document -> one self-contained HTML page. A pure function: nothing is measured or written here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import jinja2
from markupsafe import Markup, escape

from bench.finding import TRAINING, Status, words
from bench.results.record.document import Document, Result, stamp
from bench.results.report import charts, markdown, roofline
from bench.results.stats import compare
from bench.results.store.history import Run
from bench.results.terminal import results as terminal
from common.files import safe_name

_ORDER = (Status.FAIL, Status.UNKNOWN, Status.WARN, Status.PASS, Status.SKIP)


_DRAWN = 4
"""Cards over time that are drawn on one page: those held down first, then the hottest. The figures of all are there."""

_EARLIER = 20
"""Runs of the past that are shown; older ones are of older versions of everything."""


def render(document: Document, runs: Iterable[Run] = ()) -> str:
    """The whole page as text: styles and charts inside, nothing fetched from anywhere.

    ``runs``: the history, the oldest first. Runs of this machine and of the same work are shown beside this one.
    """
    word, meaning = words(document.verdict, has_gpu=document.machine.has_gpu)
    if document.partial:
        word, meaning = "INTERRUPTED", "what was measured until then is below, marked partial."
    findings = sorted(document.findings, key=lambda f: _ORDER.index(f.status))
    results = document.results
    held_against = known(document, runs)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bench.results.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    return environment.get_template("report.html").render(
        document=document,
        word=word,
        meaning=meaning,
        findings=findings,
        counts=Counter(f.status for f in findings),
        throughput=Markup(charts.throughput(results, held_against)) if results else "",  # noqa: S704 - by charts
        priced=next((r.price for r in results if r.price is not None), None),
        variants=terminal.variants(results),
        compared=any(k.earlier or k.expected for k in held_against.values()),
        block_rates=Markup(charts.block_rates(results)) if results else "",  # noqa: S704
        roofline=Markup(roofline.chart(document)),  # noqa: S704
        no_roofline=roofline.missing(document),
        points=roofline.points(document),
        kernels=[r for r in results if r.kernel is not None],
        together=[r for r in results if r.scaling is not None],
        searches=[r for r in results if r.batches is not None],
        name=charts.label,
        on=_on,
        devices=list(dict.fromkeys(_on(r) for r in results)),
        summary=markdown.markdown(document),
        watched=[r for r in results if r.telemetry is not None and r.telemetry.summary is not None],
        drawn=_drawn(results),
        unwatched=[r for r in results if r.telemetry is not None and r.telemetry.trouble],
        card=lambda result: Markup(charts.card(result.workload, result.telemetry)),  # noqa: S704
        gib=lambda size: f"{size / 2**30:.1f} GiB",
    )


def _drawn(results: Iterable[Result]) -> list[Result]:
    """Whose card is drawn over time: all of a few, of many the worst."""
    told = [
        (r.telemetry.summary, r)
        for r in results
        if r.telemetry is not None and r.telemetry.summary is not None
    ]
    worst = sorted(
        told,
        key=lambda pair: (-sum((pair[0].harmful_seconds or {}).values()), -(pair[0].temperature_max_c or 0)),
    )
    kept = [r for _, r in worst[:_DRAWN]]
    return [r for _, r in told if r in kept]


def _code(text: str) -> Markup:
    """Commands stand between backquotes in what people read; on the page they are set as such."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped


def _on(result: Result) -> str:
    return f"{result.backend} on {result.device}, {result.precision}"


def known(document: Document, runs: Iterable[Run]) -> dict[int, charts.Known]:
    """What each result of ``document``, by its place, can be held against: earlier runs, and what findings expected."""
    before = [
        run.document
        for run in runs
        if run.document is not None
        and run.state == "complete"  # models take turns: what was interrupted has fewer processes of each
        and run.document.started_at < document.started_at
        and compare.identity(run.document.machine) == compare.identity(document.machine)
    ]
    return {
        place: charts.Known(
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
        for place, result in enumerate(document.results)
    }


def _expected(document: Document, result: Result) -> float | None:
    """The first figure in samples/s that a finding held this result against."""
    for finding in document.findings:
        about = (finding.theme, finding.subject) == (TRAINING, result.label)
        held = about and finding.check in ("baseline", "band", "predicted") and finding.unit == "samples/s"
        if held and isinstance(finding.expected, int | float):
            return float(finding.expected) or None
    return None


def file_name(document: Document) -> str:
    """Of the page: made of the command and of what tells this run from others."""
    return f"{safe_name('dlbox', document.command, stamp(document))}.html"
