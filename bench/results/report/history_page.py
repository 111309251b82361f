"""The page of trends: the speed of each model over the runs of the history, with the runs at which versions changed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import msgspec
from markupsafe import Markup

from bench.results.record.document import Document
from bench.results.report.charts import label
from bench.results.report.headline import day, subject
from bench.results.report.page import environment
from bench.results.report.svg import line, svg
from bench.results.stats import compare, score
from bench.results.store.rows import Run

FILE_NAME = "dlbox-history.html"

_WIDTH, _HEIGHT = 300.0, 90.0


class TrendPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a trend. ``changes``: versions that differ from those of the run before, in words."""

    run: int
    day: str
    value: float
    changes: tuple[str, ...] = ()


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """The same work on the same machine over time, the oldest first."""

    name: str
    points: tuple[TrendPoint, ...]

    @property
    def change(self) -> float:
        """The last value divided by the first, minus 1."""
        return self.points[-1].value / self.points[0].value - 1

    @property
    def lowest(self) -> float:
        return min(point.value for point in self.points)

    @property
    def highest(self) -> float:
        return max(point.value for point in self.points)


class MachineTrends(msgspec.Struct, frozen=True, kw_only=True):
    """All trends of one machine; the first is that of its score if it has one."""

    host: str
    subject: str
    trends: tuple[Trend, ...]


def render(runs: Sequence[Run]) -> str:
    """The page as text. ``runs``: the oldest first; only complete runs with results are shown."""
    machines = trends(runs)
    shown = sum(1 for run in runs if _usable(run) is not None)
    return (
        environment()
        .get_template("history.html")
        .render(
            machines=machines,
            shown=shown,
            chart=lambda trend: Markup(_chart(trend)),  # noqa: S704 - made of escaped text
        )
    )


def trends(runs: Iterable[Run]) -> list[MachineTrends]:
    """The trends by machine, the machine of the newest run first."""
    machines: dict[tuple[str, ...], list[tuple[Run, Document]]] = {}
    for run in runs:
        document = _usable(run)
        if document is not None:
            machines.setdefault(compare.identity(document.machine), []).append((run, document))
    ordered = sorted(machines.values(), key=lambda found: found[-1][0].started_at, reverse=True)
    return [_of_machine(found) for found in ordered]


def _usable(run: Run) -> Document | None:
    document = run.document
    return document if document is not None and run.state == "complete" and document.results else None


def _of_machine(found: Sequence[tuple[Run, Document]]) -> MachineTrends:
    series: dict[object, tuple[str, list[tuple[Run, Document, float, dict[str, str]]]]] = {}
    for run, document in found:
        whole = score.of(document)
        if whole is not None:
            name = f"score of {len(whole.models)} model{'s' if len(whole.models) > 1 else ''} with {whole.backend}"
            key = ("score", whole.backend, frozenset(whole.models))
            every = {k: v for result in document.results for k, v in result.versions.items()}
            series.setdefault(key, (name, []))[1].append((run, document, whole.value, every))
        for result in document.results:
            rate = result.samples_per_second.median
            if not result.partial and math.isfinite(rate) and rate > 0:
                name = f"{label(result)} with {result.backend}, {result.precision}"
                work = (*compare.key(result), result.fingerprint, result.on_gpu)
                series.setdefault(work, (name, []))[1].append((run, document, rate, result.versions))
    made = [_trend(name, rows) for name, rows in series.values()]
    made.sort(key=lambda trend: not trend.name.startswith("score of "))
    newest = found[-1][1]
    return MachineTrends(host=newest.machine.host.hostname, subject=subject(newest), trends=tuple(made))


def _trend(name: str, rows: Sequence[tuple[Run, Document, float, dict[str, str]]]) -> Trend:
    points, before = [], None
    for run, document, value, versions in rows:
        now = _versions(document, versions)
        changes = () if before is None else tuple(_changes(before, now))
        points.append(TrendPoint(run=run.id, day=day(run.started_at), value=value, changes=changes))
        before = now
    return Trend(name=name, points=tuple(points))


def _versions(document: Document, versions: dict[str, str]) -> dict[str, str]:
    """Everything whose change may explain another speed."""
    machine = document.machine
    driver = machine.driver.module_version
    found = {"dlbox": document.dlbox_version, "kernel": machine.host.kernel, **versions}
    return {**found, "driver": str(driver.value)} if driver.ok else found


def _changes(before: dict[str, str], now: dict[str, str]) -> list[str]:
    return [
        f"{name} {before.get(name, 'none')} to {now.get(name, 'none')}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def _chart(trend: Trend) -> str:
    top, count = 1.1 * trend.highest, len(trend.points)
    step = _WIDTH / (count + 1)
    places = [(step * (n + 1), _HEIGHT - _HEIGHT * p.value / top) for n, p in enumerate(trend.points)]
    changed = [x - step / 2 for (x, _), point in zip(places, trend.points, strict=True) if point.changes]
    parts = [f'<path class="change" d="M{x:.1f} 0V{_HEIGHT:g}"/>' for x in changed]
    parts.append(line(places, "series0"))
    if count <= 60:
        parts.append(f'<path class="dot" d="{"".join(f"M{x:.1f} {y:.1f}h.01" for x, y in places)}"/>')
    notes = "".join(
        f"; run {p.run}: {', '.join(p.changes)}"
        for p in itertools.islice((p for p in trend.points if p.changes), 10)
    )
    described = f"{trend.name}: {trend.lowest:,.0f} to {trend.highest:,.0f} in {count} runs{notes}"
    return svg(_WIDTH, _HEIGHT, described, parts, stretched=True)
