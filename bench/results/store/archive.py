"""Runs that leave the history, come into it, or are no longer needed. Pure, but for reading the clock's value given.

The exchange format is JSON Lines: each line is the document that `--json` printed for a run, so a file that
`bench --json` wrote on another box can be brought in as it is, and an export of one run can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from bench.results.record.document import Document
from bench.results.store.history import Run
from bench.results.store.lookup import SourceError, decode

COMMANDS = ("bench", "ready")
"""What the history holds runs of."""


def lines(runs: Iterable[Run]) -> tuple[str, int]:
    """The closed runs as JSON Lines, and how many of them there are.

    Left out: runs that are still under way, and those that a newer dlbox wrote.
    """
    encoded = [
        msgspec.json.encode(msgspec.structs.replace(run.document, report=None)).decode()
        for run in runs
        if run.document is not None and run.state != "running"
    ]
    return "".join(f"{line}\n" for line in encoded), len(encoded)


def documents(data: bytes, where: str) -> list[Document]:
    """What an export or the output of `--json` holds, at least one. All of it is good or SourceError is raised."""
    rows = [(number, row) for number, row in enumerate(data.splitlines(), 1) if row.strip()]
    if not rows:
        raise SourceError(f"{where} holds no run")
    if len(rows) > 1 and not _is_json(rows[0][1]):  # one document on several lines
        rows = [(0, data)]
    found = [decode(row, f"{where}, line {number}" if len(rows) > 1 else where) for number, row in rows]
    for number, document in enumerate(found, 1):
        if document.command not in COMMANDS or (not document.results and not document.partial):
            raise SourceError(f"{where} holds a run without training results (number {number} in it)")
    return found


def expendable(
    runs: Sequence[Run], now: datetime, *, keep: int | None = None, older_than_days: float | None = None
) -> list[Run]:
    """Which of ``runs`` (the oldest first) may go: neither among the newest ``keep`` nor younger than that.

    Never a baseline, and never a run that is under way; by age none whose time cannot be read.
    """
    found = list(runs[: max(0, len(runs) - keep)] if keep is not None else runs)
    if older_than_days is not None:
        oldest = now - timedelta(days=older_than_days)
        found = [run for run in found if (began := started(run)) is not None and began < oldest]
    return [run for run in found if not run.baseline and run.state != "running"]


def started(run: Run) -> datetime | None:
    """When it began, or None where what the store holds is no time with its zone."""
    try:
        found = datetime.fromisoformat(run.started_at)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo is not None else None


def _is_json(row: bytes) -> bool:
    try:
        msgspec.json.decode(row)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
