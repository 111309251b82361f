"""Finds the run that an argument names: a number in the history, "last", "previous", "baseline", or a `--json` file."""

from __future__ import annotations

import codecs
import contextlib
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from bench.results.record.document import Document, from_json
from bench.results.record.grammar import harmless
from bench.results.stats import compare
from bench.results.store import validate
from bench.results.store.history import History, HistoryError
from bench.results.store.rows import Run
from common.command_line.json_output import SCHEMA_VERSION
from common.command_line.whole_numbers import whole
from common.file_access import inputs
from common.file_access.files import reason
from common.terminal.shown import place, shortened

WORDS = ("last", "previous", "baseline")
"""Names of runs in the history."""

LARGEST_RUN = 8 << 20
"""Maximum size of one run in bytes. A run has about 20 kB. Hours of measurements with 10,000 timed blocks of 106 bytes
make 1.1 MB, the most that a real run has."""
LARGEST_EXPORT = 64 << 20
"""Maximum size in bytes of a file with several runs, about 3,000 of them. Decoding needs three times this memory."""


class SourceError(Exception):
    """The run does not exist, or the file contains no run. The message is one sentence."""


ERRORS = (HistoryError, SourceError)
"""The exceptions of ``find`` and ``find_both``."""


class _Version(msgspec.Struct):
    schema_version: int


def in_history(which: str) -> bool:
    """Whether the argument names a run of the history, not a file."""
    return which in WORDS or (which.isascii() and which.isdigit())


def find_both(a: str, b: str, store: History | None) -> tuple[tuple[str, Document], tuple[str, Document]]:
    """Both sides of a comparison, each as ``find`` returns it; "baseline" is one that fits the other side.

    Raises SourceError, HistoryError.
    """
    one = find(a, store)
    other = find(b, store, beside=one[1] if a != "baseline" else None)
    return (find(a, store, beside=other[1]) if a == "baseline" else one), other


def find(which: str, store: History | None, *, beside: Document | None = None) -> tuple[str, Document]:
    """The name of the run for messages, and its document. ``store``: None if nothing has been measured yet.

    "last", "previous" and "baseline" are complete runs with training results. "baseline" is the newest baseline that
    shares a result with ``beside``, preferably of the same machine, else the newest. "./3" names a file called "3".
    Raises SourceError, HistoryError.
    """
    if which.isascii() and which.isdigit():
        return _numbered(which, store)
    if which in WORDS:
        place = int(which == "previous")
        if which == "baseline":
            found = store.baselines() if store is not None else []
            runs = [(run, run.document) for run in found if run.document and run.document.results]
            if not runs:
                raise SourceError("there is no baseline: `dlbox bench --baseline` measures and marks one")
            if beside is not None:
                runs = _fitting(runs, beside)
        else:
            runs = list(itertools.islice(_measured(store), place + 1))
        if len(runs) <= place:
            have = "one complete run" if runs else "no complete run"
            raise SourceError(f"there is no {which} run: the history contains {have}; `dlbox bench` adds one")
        run, document = runs[place]
        return f"run {run.id}", document
    return which, read(Path(which))


def read(path: Path) -> Document:
    """The document in a file. Raises SourceError."""
    try:
        with inputs.open_regular(path) as source:
            data = bounded(source, LARGEST_RUN)
    except inputs.InputError as error:
        if not error.missing:
            raise SourceError(f"cannot read {place(path)}: {error.reason}") from error
        words = ", ".join(WORDS)
        raise SourceError(
            f"{place(path)} is not the number of a run, not {words}, and not a file: `dlbox history` lists the runs"
        ) from error
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read {place(path)}: {reason(error)}") from error
    return decode(data, place(path))


def bounded(source: IO[bytes], limit: int) -> bytes:
    """Read a file or pipe to its end. Raises OSError, or ValueError if it has more than ``limit`` bytes, because
    /dev/zero never ends."""
    data = source.read(limit + 1) or b""  # read() returns None on a non-blocking terminal without input
    if len(data) > limit:
        raise ValueError(_too_large(limit))
    return data.removeprefix(codecs.BOM_UTF8)


def _too_large(limit: int) -> str:
    if limit == LARGEST_EXPORT:
        return (
            f"it is larger than {limit >> 20} MiB, the limit for one import: split it by lines "
            f"(`split -C {limit >> 20}M FILE part-`), then import each part"
        )
    return f"it is larger than {limit >> 20} MiB, the limit for one run: write it again with --json"


def lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of each line that is not blank. The lines are not all in memory at once."""
    for number, line in enumerate(io.BytesIO(data), 1):
        if line.strip():
            yield number, line


def decode(data: bytes, where: str) -> Document:
    """Decode and check a document as `--json` prints it. Raises SourceError with ``where`` in its message."""
    try:
        version = msgspec.json.decode(data, type=_Version).schema_version
        if version < 1:
            raise SourceError(
                f"{where} is not a result of dlbox bench or ready (invalid schema version {version})"
            )
        if version > SCHEMA_VERSION:
            newer = shortened(version, 40)
            raise SourceError(f"{where} was written by a newer dlbox (schema version {newer}): update dlbox")
        document = from_json(data)
        why = validate.fault(document)
        if why is not None:
            raise SourceError(f"{where} is not a result of dlbox bench or ready ({shortened(why, 200)})")
        return validate.recomputed(document)
    except msgspec.ValidationError as error:
        raise SourceError(f"{where} is not a result of dlbox bench or ready ({_short(error)})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        count = _documents_in(data)
        if count > 1:
            raise SourceError(
                f"{where} contains {count} runs, expected one: import them with `dlbox history import`, which gives "
                "them numbers, or write a single run with `dlbox history export FILE --run ID`"
            ) from error
        raise SourceError(f"{where} is not JSON ({_short(error)})") from error
    except RecursionError as error:
        raise SourceError(f"{where} is not a result of dlbox bench or ready (nested too deeply)") from error


def _short(error: Exception) -> str:
    """The decoder's message, filtered because it can quote the file."""
    return shortened(harmless(str(error)), 200)


def unreadable(number: int) -> str:
    """Why a stored run cannot be shown, as one sentence."""
    return (
        f"run {number} cannot be read, because a newer dlbox wrote it or it is damaged: "
        "update dlbox, or import the run again from an export"
    )


def _documents_in(data: bytes) -> int:
    """Number of lines that contain a run, as in an export."""
    count = 0
    for _, row in lines(data):
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            msgspec.json.decode(row, type=_Version)
            count += 1
    return count


def _numbered(digits: str, store: History | None) -> tuple[str, Document]:
    number = whole(digits)
    run = store.run(number) if store and number is not None and number < 2**63 else None
    if run is None:
        raise SourceError(f"there is no run {shortened(digits, 40)}: `dlbox history` lists the runs")
    if run.document is None:
        raise SourceError(unreadable(run.id))
    return f"run {run.id}", run.document


def _fitting(runs: list[tuple[Run, Document]], beside: Document) -> list[tuple[Run, Document]]:
    """Sorted by similarity: first runs of the same machine with a comparable result, then runs of other machines with
    one. The newest are first in each group."""

    def unfit(document: Document) -> tuple[bool, bool]:
        shared = any(
            compare.key(one) == compare.key(other) and compare.refusal(one, other) is None
            for one in document.results
            for other in beside.results
        )
        return not shared, compare.identity(document.machine) != compare.identity(beside.machine)

    return sorted(runs, key=lambda run: unfit(run[1]))


def _measured(store: History | None) -> Iterator[tuple[Run, Document]]:
    """Complete runs with training results, the newest first."""
    for run in store.newest() if store is not None else ():
        if run.state == "complete" and run.document is not None and run.document.results:
            yield run, run.document
