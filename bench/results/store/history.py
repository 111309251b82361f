"""The store of results: SQLite in the user's data folder, one row a run, one row a timed block.

A run is written when it begins, added to after every block and closed at its end, so that whatever kills
the command leaves at most the block in flight behind. A run whose process is gone and which was never
closed is marked partial the next time anyone opens the store.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

import msgspec
import platformdirs
import psutil

from bench.results.record.document import Document, TimedBlock, from_json, to_json_line
from bench.results.record.grammar import harmless, misnamed
from bench.results.stats import derived
from common.files import for_owner_only, private_folder, reason

State = Literal["running", "complete", "partial"]

_LAYOUTS = (
    """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at TEXT NOT NULL,
    command TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'complete', 'partial')),
    pid INTEGER NOT NULL,
    pid_started REAL NOT NULL,
    document TEXT NOT NULL
);
CREATE TABLE blocks (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    workload TEXT NOT NULL,
    backend TEXT NOT NULL,
    repeat INTEGER NOT NULL,
    block TEXT NOT NULL
);
CREATE INDEX blocks_of_run ON blocks (run_id)
""",
    "ALTER TABLE runs ADD COLUMN baseline INTEGER NOT NULL DEFAULT 0 CHECK (baseline IN (0, 1))",
)
"""What makes each layout from the one before it, the first from an empty file. Only ever added to."""

USER_VERSION = len(_LAYOUTS)


class HistoryError(Exception):
    """The store cannot be used; the message is one sentence that says what to do."""


class CorruptHistoryError(HistoryError):
    """The file is there and is not a readable store. Nothing was changed."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One stored run. ``document`` is None where it is damaged, or written by a dlbox this one cannot read.

    ``baseline``: later runs of the same work on the same machine are judged against this one.
    """

    id: int
    started_at: str
    command: str
    state: State
    document: Document | None
    baseline: bool = False


_PATIENCE_S = 10.0
"""For another process to end its transaction."""


def default_path() -> Path:
    """``$XDG_DATA_HOME/dlbox/history.sqlite``."""
    return Path(platformdirs.user_data_dir("dlbox", appauthor=False)) / "history.sqlite"


class History:
    """An open store. Safe for several processes at once: write-ahead log, short transactions."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Read-only is for a store on a file system that nobody writes to.

        Raises CorruptHistoryError or HistoryError.
        """
        self.path = path
        with self._explained("open"), contextlib.ExitStack() as half_open:
            if read_only:
                self._db = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)
            else:
                _for_this_user_alone(path)
                self._db = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)
            half_open.callback(self._db.close)
            self._db.row_factory, self._db.text_factory = sqlite3.Row, _lenient
            self._db.execute("PRAGMA foreign_keys = ON")
            version = self._layout()
            if version > USER_VERSION:
                raise HistoryError(
                    f"{path} was written by a newer dlbox (layout {version}): update dlbox to read it."
                )
            if not read_only:
                self._write_ahead()
                self._db.execute("PRAGMA synchronous = NORMAL")
                if version < USER_VERSION:
                    self._migrate()
                self._close_dead_runs()
            half_open.pop_all()

    def examine(self) -> None:
        """Look at every page of the file. Raises CorruptHistoryError."""
        with self._explained("open"):
            found = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(" ".join(found.split()))

    def begin(self, document: Document) -> int:
        """Note that a run has started; returns its number."""
        with self._explained("write to"), self._transaction():
            cursor = self._db.execute(
                "INSERT INTO runs (started_at, command, state, pid, pid_started, document) VALUES (?,?,?,?,?,?)",
                (document.started_at, document.command, "running", os.getpid(), _started(os.getpid()), ""),
            )
            number = int(cursor.lastrowid or 0)
            self._write(number, "running", document)
        return number

    def add_block(self, run: int, workload: str, backend: str, repeat: int, block: TimedBlock) -> None:
        with self._explained("write to"), self._transaction():
            self._db.execute(
                "INSERT INTO blocks VALUES (?,?,?,?,?)",
                (run, workload, backend, repeat, msgspec.json.encode(block).decode()),
            )

    def save(
        self,
        run: int,
        document: Document,
        state: State = "running",
        *,
        baseline_instead_of: Iterable[int] | None = None,
    ) -> None:
        """Replace what is known of ``run``. A closed run holds its blocks in its document alone.

        ``baseline_instead_of``: it is a baseline from now on, and these are ordinary runs again.
        """
        with self._explained("write to"), self._transaction():
            self._write(run, state, document)
            if baseline_instead_of is not None:
                for other in baseline_instead_of:
                    self._db.execute("UPDATE runs SET baseline = 0 WHERE id = ?", (other,))
                self._db.execute("UPDATE runs SET baseline = 1 WHERE id = ?", (run,))
            if state != "running":
                self._db.execute("DELETE FROM blocks WHERE run_id = ?", (run,))

    def runs(self) -> list[Run]:
        """All runs, the oldest first (an imported run may be older than its number tells)."""
        with self._explained("read"):
            rows = self._db.execute("SELECT * FROM runs ORDER BY started_at, id").fetchall()
            return [_run(row) for row in rows]

    def run(self, number: int) -> Run | None:
        with self._explained("read"):
            row = self._db.execute("SELECT * FROM runs WHERE id = ?", (number,)).fetchone()
            return _run(row) if row else None

    def last(self) -> Run | None:
        with self._explained("read"):
            row = self._db.execute("SELECT * FROM runs ORDER BY started_at DESC, id DESC LIMIT 1").fetchone()
            return _run(row) if row else None

    def baselines(self) -> list[Run]:
        """Runs that others are judged against, the newest first."""
        query = "SELECT * FROM runs WHERE baseline AND state = 'complete' ORDER BY started_at DESC, id DESC"
        with self._explained("read"):
            return [_run(row) for row in self._db.execute(query).fetchall()]

    def add_missing(self, documents: Iterable[Document]) -> list[int]:
        """Take in finished runs of another store, all or none; returns the numbers of those that are new here."""
        added = []
        with self._explained("write to"), self._transaction():
            known = {_content(run.document) for run in self.runs() if run.document}
            for document in sorted(documents, key=lambda d: d.started_at):
                if _content(document) in known:
                    continue
                known.add(_content(document))
                state: State = "partial" if document.partial else "complete"
                cursor = self._db.execute(
                    "INSERT INTO runs (started_at, command, state, pid, pid_started, document) VALUES (?,?,?,0,0,'')",
                    (document.started_at, document.command, state),
                )
                added.append(int(cursor.lastrowid or 0))
                self._write(added[-1], state, msgspec.structs.replace(document, report=None))
        return added

    def remove(self, numbers: Iterable[int]) -> list[int]:
        """Delete runs for good and give their room back; returns those that went.

        A run that has become a baseline, or is under way, stays.
        """
        removed = []
        with self._explained("write to"), self._transaction():
            for number in numbers:
                cursor = self._db.execute(
                    "DELETE FROM runs WHERE id = ? AND NOT baseline AND state <> 'running'", (number,)
                )
                removed += [number] * cursor.rowcount
        with contextlib.suppress(sqlite3.Error):  # busy or full: the room is used again later
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return removed

    def close(self) -> None:
        self._db.close()

    def _write(self, run: int, state: State, document: Document) -> None:
        text = to_json_line(msgspec.structs.replace(document, run_id=run)).decode()
        self._db.execute("UPDATE runs SET state = ?, document = ? WHERE id = ?", (state, text, run))

    def _write_ahead(self) -> None:
        """The one lock that SQLite does not wait for: in a new file while another process opens it too."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # the rest of the code says why
                if not busy or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)

    def _layout(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _migrate(self) -> None:
        """All steps to the present layout or none; another process may have been faster."""
        with self._transaction():
            steps = _LAYOUTS[self._layout() :]
            for step in steps:
                for statement in step.split(";\n"):
                    self._db.execute(statement)
            if steps:
                self._db.execute(f"PRAGMA user_version = {USER_VERSION}")

    def _close_dead_runs(self) -> None:
        """Mark runs whose process is gone, and move into its document what blocks a closed run has beside it.

        The blocks of a run that this dlbox cannot read stay, for one that can.
        """
        unfinished = "state = 'running' OR (state = 'partial' AND id IN (SELECT run_id FROM blocks))"
        with self._transaction():
            for row in self._db.execute(f"SELECT * FROM runs WHERE {unfinished}").fetchall():  # noqa: S608
                if row["state"] == "running" and _alive(row["pid"], row["pid_started"]):
                    continue
                run = _run(row)
                if run.document is None:
                    self._db.execute("UPDATE runs SET state = 'partial' WHERE id = ?", (run.id,))
                    continue
                document = msgspec.structs.replace(run.document, partial=True, verdict="not-ready")
                with contextlib.suppress(ValueError, ArithmeticError):  # damaged: no block has a speed
                    document = _with_lost_blocks(document, self._blocks(run.id))
                self._write(run.id, "partial", document)
                self._db.execute("DELETE FROM blocks WHERE run_id = ?", (run.id,))

    def _blocks(self, run: int) -> dict[tuple[str, str, int], list[TimedBlock]]:
        found: dict[tuple[str, str, int], list[TimedBlock]] = {}
        for row in self._db.execute("SELECT * FROM blocks WHERE run_id = ? ORDER BY rowid", (run,)):
            key = (row["workload"], row["backend"], row["repeat"])
            with contextlib.suppress(*_UNREADABLE):
                found.setdefault(key, []).append(msgspec.json.decode(row["block"], type=TimedBlock))
        return found

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # SQLite has ended it itself where the disk is full
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            code = getattr(error, "sqlite_errorcode", 0)
            not_our_tables = doing == "open" and code & 0xFF == sqlite3.SQLITE_ERROR
            if isinstance(error, sqlite3.OperationalError) and not not_our_tables:
                raise HistoryError(f"cannot {doing} the history {self.path}: {error}.") from error
            raise CorruptHistoryError(
                f"the history {self.path} is damaged ({error}); nothing was changed: put a copy back, or move it away."
            ) from error
        except OSError as error:
            raise HistoryError(f"cannot {doing} the history {self.path}: {reason(error)}.") from error


_DAMAGE = (sqlite3.DatabaseError, UnicodeDecodeError, IndexError)
"""The last two: columns are called otherwise."""

_UNREADABLE = (msgspec.DecodeError, UnicodeError, TypeError)
"""What decoding a damaged row raises."""


def _lenient(data: bytes) -> str:
    """Bytes that are no text are one run's trouble: sqlite3's own way raises, and no row is read."""
    return data.decode(errors="surrogateescape")


def _text(value: object) -> str:
    return harmless(value) if isinstance(value, str) else ""


def _run(row: sqlite3.Row) -> Run:
    document = None
    with contextlib.suppress(*_UNREADABLE):
        found = from_json(row["document"])
        document = found if misnamed(found) is None else None
    return Run(
        id=row["id"],
        started_at=_text(row["started_at"]),
        command=_text(row["command"]),
        state=row["state"] if row["state"] in get_args(State) else "partial",
        document=document,
        baseline="baseline" in row.keys() and bool(row["baseline"]),  # noqa: SIM118 - a Row holds values
    )


def _for_this_user_alone(path: Path) -> None:
    """The file, and with it the write-ahead log, whose permissions SQLite takes from it. Raises OSError."""
    private_folder(path.parent)
    if path == default_path():  # an earlier dlbox made it by the umask
        for_owner_only(path.parent)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError:  # it exists, or SQLite says why it cannot be
        for suffix in ("", "-wal", "-shm"):
            for_owner_only(path.with_name(path.name + suffix))


def _content(document: Document) -> bytes:
    """Equal for the same run in two stores, where it has two numbers and its page two places."""
    return msgspec.json.encode(msgspec.structs.replace(document, run_id=None, report=None))


def _started(pid: int) -> float:
    """When a process began: a number can be given out again, the pair cannot."""
    return round(psutil.Process(pid).create_time(), 1)


def _alive(pid: int, started: float) -> bool:
    try:
        return abs(_started(pid) - started) < 2.0
    except psutil.Error:
        return False


def _with_lost_blocks(document: Document, blocks: dict[tuple[str, str, int], list[TimedBlock]]) -> Document:
    """The document as it was last saved knows a repeat in flight by its first block; add the later ones."""
    results = []
    for result in document.results:
        if result.partial:
            repeats = tuple(
                msgspec.structs.replace(
                    repeat, blocks=tuple(blocks.get((result.label, result.backend, n), repeat.blocks))
                )
                for n, repeat in enumerate(result.repeats)
            )
            result = derived.renewed(result, repeats, partial=True)
        elif result.cut_short is not None:
            number = len(result.repeats)  # of the process in flight; its first block may not have got its row
            in_flight = blocks.get((result.label, result.backend, number), result.cut_short.blocks)
            result = msgspec.structs.replace(
                result, cut_short=msgspec.structs.replace(result.cut_short, blocks=tuple(in_flight))
            )
        results.append(result)
    return msgspec.structs.replace(document, results=tuple(results))


def now() -> str:
    """ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
