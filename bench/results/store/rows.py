"""The rows of the history: a stored run, and the decoding of rows that may be damaged."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Literal, get_args

import msgspec

from bench.results.record.document import Document, TimedBlock, from_json
from bench.results.record.grammar import harmless, misnamed
from bench.results.stats import derived

RunState = Literal["running", "complete", "partial"]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One stored run. ``document``: None if it is damaged or was written by a newer dlbox.

    ``baseline``: later runs of the same work on the same machine are compared with this one.
    """

    id: int
    started_at: str
    command: str
    state: RunState
    document: Document | None
    baseline: bool = False


UNREADABLE = (msgspec.DecodeError, UnicodeError, TypeError)
"""Exceptions that decoding a damaged row can raise."""


def decode_leniently(data: bytes) -> str:
    """Decode text that may be invalid UTF-8. By default sqlite3 raises an error, which hides all other rows too."""
    return data.decode(errors="surrogateescape")


def _text(value: object) -> str:
    return harmless(value) if isinstance(value, str) else ""


def decoded(row: sqlite3.Row) -> Run:
    """The run in a row of the table ``runs``. Its document is None if it cannot be decoded."""
    document = None
    with contextlib.suppress(*UNREADABLE):
        found = from_json(row["document"])
        document = found if misnamed(found) is None else None
    return Run(
        id=row["id"],
        started_at=_text(row["started_at"]),
        command=_text(row["command"]),
        state=row["state"] if row["state"] in get_args(RunState) else "partial",
        document=document,
        baseline="baseline" in row.keys() and bool(row["baseline"]),  # noqa: SIM118 - iterating a Row gives values
    )


def with_lost_blocks(document: Document, blocks: dict[tuple[str, str, int], list[TimedBlock]]) -> Document:
    """Add the stored block rows: the last saved document has only the first block of the process that was running."""
    results = []
    for result in document.results:
        if result.partial:
            repeats = tuple(
                msgspec.structs.replace(
                    repeat, blocks=tuple(blocks.get((result.label, result.backend, n), repeat.blocks))
                )
                for n, repeat in enumerate(result.repeats)
            )
            result = derived.recompute(result, repeats, partial=True)
        elif result.cut_short is not None:
            number = len(result.repeats)  # number of the running process; it may have no block rows
            last_blocks = blocks.get((result.label, result.backend, number), result.cut_short.blocks)
            result = msgspec.structs.replace(
                result, cut_short=msgspec.structs.replace(result.cut_short, blocks=tuple(last_blocks))
            )
        results.append(result)
    return msgspec.structs.replace(document, results=tuple(results))
