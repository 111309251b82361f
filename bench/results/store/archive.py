"""Export, import and pruning of the history. Pure functions: the caller reads and writes the files.

The exchange format is JSON Lines. Each line is the document that `--json` printed for a run, so a file written with
`bench --json` on another machine can be imported, and an export of one run can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from bench.results.record.document import Document
from bench.results.store import lookup
from bench.results.store.lookup import SourceError
from bench.results.store.rows import Run

COMMANDS = ("bench", "ready")
"""Commands whose runs the history stores."""


def lines(runs: Iterable[Run]) -> tuple[str, int]:
    """The finished runs as JSON Lines, and their number.

    Runs in progress and runs that this version cannot read are left out.
    """
    rows = [
        msgspec.json.encode(msgspec.structs.replace(run.document, report=None)).decode()
        for run in runs
        if run.document is not None and run.state != "running"
    ]
    return "".join(f"{line}\n" for line in rows), len(rows)


def documents(data: bytes, where: str) -> list[Document]:
    """The runs in an export or in the output of `--json`, at least one.

    ``where``: the name of the file in messages. Raises SourceError if anything in it is invalid.
    """
    rows = lookup.lines(data)
    first, second = next(rows, None), next(rows, None)
    if first is None:
        raise SourceError(f"{where} contains no run")
    if second is None or not _is_json(first[1]):  # one document, in one line or in several
        found = [_decode(data, where)]
    else:
        found = [_decode(row, f"{where}, line {number}") for number, row in lookup.lines(data)]
    for number, document in enumerate(found, 1):
        if document.command not in COMMANDS or (not document.results and not document.partial):
            raise SourceError(
                f"{where} contains a run without training results (run number {number} of the file)"
            )
    return found


def _decode(row: bytes, where: str) -> Document:
    if len(row) > lookup.LARGEST_RUN:
        raise SourceError(f"{where} is larger than {lookup.LARGEST_RUN >> 20} MiB, the limit for one run")
    return lookup.decode(row, where)


def expendable(
    runs: Sequence[Run], now: datetime, *, keep: int | None = None, older_than_days: float | None = None
) -> list[Run]:
    """The runs that `history prune` may remove.

    ``runs``: the oldest first. The newest ``keep`` runs, runs younger than ``older_than_days``, baselines and runs in
    progress stay; with ``older_than_days``, so do runs whose start time cannot be read.
    """
    found = list(runs[: max(0, len(runs) - keep)] if keep is not None else runs)
    if older_than_days is not None:
        oldest = now - timedelta(days=older_than_days)
        found = [run for run in found if (began := started(run)) is not None and began < oldest]
    return [run for run in found if not run.baseline and run.state != "running"]


def started(run: Run) -> datetime | None:
    """The start time, or None if the stored value is not a time with a time zone."""
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
