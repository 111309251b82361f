"""Which run is meant: a number of the history, "last", "previous", "baseline", or a file that `--json` printed."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from bench.results.record.document import Document, from_json
from bench.results.record.grammar import harmless
from bench.results.stats import compare
from bench.results.store import validate
from bench.results.store.history import History, Run
from common.files import descriptor, reason
from common.json_output import SCHEMA_VERSION
from common.numbers_cli import shortened, whole

WORDS = ("last", "previous", "baseline")


_LARGEST = 512 << 20
"""Bytes of one file; a run takes about 20 kB, with a card watched for hours a few MB."""


class SourceError(Exception):
    """There is no such run, or the file holds none; the message is one sentence."""


class _Version(msgspec.Struct):
    schema_version: int


def in_history(which: str) -> bool:
    """Whether the word means a run of the history rather than a file."""
    return which in WORDS or (which.isascii() and which.isdigit())


def find_both(a: str, b: str, store: History | None) -> tuple[tuple[str, Document], tuple[str, Document]]:
    """Both sides of a comparison; "baseline" is the one that the other side can be held against.

    Raises SourceError, HistoryError.
    """
    one = find(a, store)
    other = find(b, store, beside=one[1] if a != "baseline" else None)
    return (find(a, store, beside=other[1]) if a == "baseline" else one), other


def find(which: str, store: History | None, *, beside: Document | None = None) -> tuple[str, Document]:
    """Its name for a person, and the run. ``store``: None where nothing was measured yet.

    All three words look at complete runs that trained something. "baseline" is the newest one that shares a result
    with ``beside``, of the same machine if there is such a one, else the newest. A file that is called like a number
    or a word is meant by "./3". Raises SourceError, HistoryError.
    """
    if which.isascii() and which.isdigit():
        return _numbered(which, store)
    if which in WORDS:
        runs = list(_measured(store))
        if which == "baseline":
            runs = [(run, document) for run, document in runs if run.baseline]
            if not runs:
                raise SourceError("there is no baseline: `dlbox bench --baseline` measures and marks one")
            if beside is not None:
                runs = _fitting(runs, beside)
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
        with opened(path) as source:
            data = bounded(source)
    except FileNotFoundError as error:
        words = ", ".join(WORDS)
        raise SourceError(
            f"{path} is neither a run's number, nor {words}, nor a file: `dlbox history` lists the runs"
        ) from error
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read {path}: {reason(error)}") from error
    return decode(data, str(path))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file to read, or what this process has open under a name of its own (/dev/stdin, a shell's <(command)).

    Other pipes and disks are refused, without waiting for who may write to them. Raises OSError.
    """
    own = descriptor(path) is not None
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if own else os.O_NONBLOCK | os.O_NOCTTY))
    with os.fdopen(handle, "rb") as source:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not own and not (stat.S_ISREG(mode) or stat.S_ISCHR(mode)):
            raise OSError(errno.EINVAL, "it is not a regular file")
        yield source


def bounded(source: IO[bytes]) -> bytes:
    """The bytes of a file or pipe, without end only in /dev/zero. Raises OSError, ValueError."""
    data = source.read(_LARGEST + 1) or b""  # None: a terminal at which nobody has typed yet
    if len(data) > _LARGEST:
        raise ValueError(f"more than {_LARGEST >> 20} MiB")
    return data.removeprefix(codecs.BOM_UTF8)


def decode(data: bytes, where: str) -> Document:
    """A document as `--json` prints it. Raises SourceError with ``where`` in its message."""
    try:
        version = msgspec.json.decode(data, type=_Version).schema_version
        if version < 1:
            raise SourceError(
                f"{where} is not a result of dlbox bench or ready (there is no schema {version})"
            )
        if version > SCHEMA_VERSION:
            newer = shortened(str(version))
            raise SourceError(f"{where} was written by a newer dlbox (schema {newer}): update dlbox")
        document = from_json(data)
        why = validate.fault(document)
        if why is not None:
            raise SourceError(f"{where} is not a result of dlbox bench or ready ({shortened(why, 200)})")
        return validate.settled(document)
    except msgspec.ValidationError as error:
        raise SourceError(f"{where} is not a result of dlbox bench or ready ({_short(error)})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        count = _documents_in(data)
        if count > 1:
            raise SourceError(
                f"{where} holds {count} runs where one is expected: `dlbox history import` takes them into the "
                "history, which gives them numbers, and `dlbox history export FILE --run ID` writes a single one"
            ) from error
        raise SourceError(f"{where} is not JSON ({_short(error)})") from error
    except RecursionError as error:
        raise SourceError(f"{where} is not a result of dlbox bench or ready (nested too deeply)") from error


def _short(error: Exception) -> str:
    """What the decoder says, which repeats what stands in the file."""
    return shortened(harmless(str(error)), 200)


def unreadable(number: int) -> str:
    """Why there is nothing to show of a run that the history holds, as one sentence."""
    return (
        f"run {number} cannot be read, because a newer dlbox wrote it or because it is damaged: "
        "update dlbox, or import the run again from an export"
    )


def _documents_in(data: bytes) -> int:
    """Lines of an export that hold a run of their own."""
    count = 0
    for row in data.splitlines():
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            msgspec.json.decode(row, type=_Version)
            count += 1
    return count


def _numbered(digits: str, store: History | None) -> tuple[str, Document]:
    number = whole(digits)
    run = store.run(number) if store and number is not None and number < 2**63 else None
    if run is None:
        raise SourceError(f"there is no run {shortened(digits)}: `dlbox history` lists the runs")
    if run.document is None:
        raise SourceError(unreadable(run.id))
    return f"run {run.id}", run.document


def _fitting(runs: list[tuple[Run, Document]], beside: Document) -> list[tuple[Run, Document]]:
    """The best first: what shares a result and is of this machine, then what shares one, the newest of each first."""

    def unfit(document: Document) -> tuple[bool, bool]:
        shared = any(
            compare.key(one) == compare.key(other) and compare.refusal(one, other) is None
            for one in document.results
            for other in beside.results
        )
        return not shared, compare.identity(document.machine) != compare.identity(beside.machine)

    return sorted(runs, key=lambda run: unfit(run[1]))


def _measured(store: History | None) -> Iterator[tuple[Run, Document]]:
    """Complete runs with results, the newest first."""
    for run in reversed(store.runs() if store else []):
        if run.state == "complete" and run.document is not None and run.document.results:
            yield run, run.document
