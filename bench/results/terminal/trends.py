"""`dlbox history --models`: one row per run and model, with the trend of the model's speed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from bench.results.record.document import Result
from bench.results.stats import compare
from bench.results.store.rows import Run
from bench.results.terminal.results import run_name

_BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_POINTS = 12
"""Number of speeds that a sparkline shows: those of the newest runs."""


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """One model of one run. ``change``: its speed relative to the earlier run of the same model with the same settings
    and work, minus 1; None for the first one."""

    run: int
    started_at: str
    name: str
    model: str
    backend: str
    batch_size: int
    samples_per_second: float
    change: float | None
    speeds: tuple[float, ...]
    """Speeds of the same model up to this run in samples/s, the oldest first."""


def rows(runs: Sequence[tuple[Run, Sequence[Result]]]) -> list[ModelRow]:
    """One row per run and model. ``runs``: each with its results, the oldest first."""
    found: list[ModelRow] = []
    earlier: dict[object, list[float]] = {}
    for run, results in runs:
        for result in results:
            speeds = earlier.setdefault((compare.key(result), result.fingerprint, result.on_gpu), [])
            rate = result.samples_per_second.median
            before = speeds[-1] if speeds else None
            speeds.append(rate)
            found.append(
                ModelRow(
                    run=run.id,
                    started_at=run.started_at,
                    name=run_name(run),
                    model=result.label,
                    backend=result.backend,
                    batch_size=result.batch_size,
                    samples_per_second=rate,
                    change=rate / before - 1 if before else None,
                    speeds=tuple(speeds[-_POINTS:]),
                )
            )
    return found


def table(rows: Sequence[ModelRow]) -> Table:
    """The rows, the newest last, with a sparkline of each model's speed up to that run."""
    found = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    found.add_column("run", justify="right", no_wrap=True)
    found.add_column("date", no_wrap=True)
    for title in ("model", "backend"):
        found.add_column(title, overflow="fold")
    for title in ("batch", "samples/s", "change"):
        found.add_column(title, justify="right", no_wrap=True)
    found.add_column("trend", no_wrap=True)
    named = any(row.name for row in rows)
    if named:
        found.add_column("name", overflow="fold", min_width=8)
    for row in rows:
        found.add_row(
            str(row.run),
            Text(row.started_at[:10]),
            Text(row.model),
            Text(row.backend),
            str(row.batch_size),
            compare.speed(row.samples_per_second),
            "" if row.change is None else f"{row.change:+.1%}",
            sparkline(row.speeds),
            *((Text(row.name),) if named else ()),
        )
    return found


def sparkline(values: Sequence[float]) -> str:
    """Values as bars of eight heights, from the smallest to the largest value; equal values as middle bars."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    if high <= low:
        return _BARS[3] * len(values)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in values)
