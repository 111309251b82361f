"""Which run is meant: a number of the history, "last", "previous", "baseline", or a file that `--json` printed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from bench.results.files import reason
from bench.results.history import History, Run
from bench.results.record import SCHEMA_VERSION, Document, from_json

WORDS = ("last", "previous", "baseline")


class SourceError(Exception):
    """There is no such run, or the file holds none; the message is one sentence."""


class _Version(msgspec.Struct):
    schema_version: int


def in_history(which: str) -> bool:
    """Whether the word means a run of the history rather than a file."""
    return which in WORDS or (which.isascii() and which.isdigit())


def find(which: str, store: History | None) -> tuple[str, Document]:
    """Its name for a person, and the run. ``store``: None where nothing was measured yet.

    All three words look at complete runs that trained something; the newest baseline is meant. A file that
    is called like a number or a word is meant by "./3". Raises SourceError, HistoryError.
    """
    if which.isascii() and which.isdigit():
        return _numbered(int(which), store)
    if which in WORDS:
        runs = list(_measured(store))
        if which == "baseline":
            runs = [(run, document) for run, document in runs if run.baseline]
            if not runs:
                raise SourceError("there is no baseline: `dlbox bench --baseline` measures and marks one")
        place = int(which == "previous")
        if len(runs) <= place:
            have = "one complete run" if runs else "no complete run"
            raise SourceError(
                f"there is no {which} run: the history holds {have}; `dlbox bench` makes another"
            )
        run, document = runs[place]
        return f"run {run.id}", document
    return which, read(Path(which))


def read(path: Path) -> Document:
    """The document in ``path``. Raises SourceError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        words = ", ".join(WORDS)
        raise SourceError(
            f"{path} is neither a run's number, nor {words}, nor a file: `dlbox history` lists the runs"
        ) from error
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read {path}: {reason(error)}") from error
    return decode(data, str(path))


def decode(data: bytes, where: str) -> Document:
    """A document as `--json` prints it. Raises SourceError with ``where`` in its message."""
    try:
        version = msgspec.json.decode(data, type=_Version).schema_version
        if version > SCHEMA_VERSION:
            raise SourceError(f"{where} was written by a newer dlbox (schema {version}): update dlbox")
        document = from_json(data)
        fault = _fault(document)
        if fault is not None:
            raise SourceError(f"{where} is not a result of dlbox bench or ready ({fault})")
        return document
    except msgspec.ValidationError as error:
        raise SourceError(f"{where} is not a result of dlbox bench or ready ({error})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SourceError(f"{where} is not JSON ({error})") from error
    except RecursionError as error:
        raise SourceError(f"{where} is not a result of dlbox bench or ready (nested too deeply)") from error


def _fault(document: Document) -> str | None:
    """What no run of dlbox holds: times that are none, figures that cannot be, codes that steer a terminal."""
    try:
        if datetime.fromisoformat(document.started_at).utcoffset() != timedelta():
            return "`started_at` is not in UTC"
    except ValueError:
        return "`started_at` is not a time"
    for result in document.results:
        for block in result.blocks:
            if not (block.seconds > 0 and block.examples > 0 and block.steps > 0):
                return f"a block of {result.workload} cannot have been timed"
        if not result.samples_per_second.median > 0:
            return f"`samples_per_second` of {result.workload} is not above 0"
    if any(_steers(text) for text in _texts(msgspec.to_builtins(document))):
        return "control characters in a text"
    return None


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from (*_texts(name), *_texts(one))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


def _steers(text: str) -> bool:
    return any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in text)


def _numbered(number: int, store: History | None) -> tuple[str, Document]:
    run = store.run(number) if store and number < 2**63 else None
    if run is None:
        raise SourceError(f"there is no run {number}: `dlbox history` lists the runs")
    if run.document is None:
        raise SourceError(f"run {number} was written by a dlbox that this one cannot read: update dlbox")
    return f"run {number}", run.document


def _measured(store: History | None) -> Iterator[tuple[Run, Document]]:
    """Complete runs with results, the newest first."""
    for run in reversed(store.runs() if store else []):
        if run.state == "complete" and run.document is not None and run.document.results:
            yield run, run.document
