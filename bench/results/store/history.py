"""The history: a SQLite file in the user's data folder, with one row per run and one row per timed block.

A run is written when it starts, extended after every block and closed at its end, so a killed command loses at most
the block that it was timing. Opening the history marks unfinished runs as partial if their process has ended.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import platformdirs
import psutil

from bench.results.record.document import Document, TimedBlock, to_json_line
from bench.results.store.rows import (
    UNREADABLE,
    Run,
    RunState,
    decode_leniently,
    decoded,
    with_lost_blocks,
)
from common.file_access.files import for_owner_only, private_folder, reason

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
"""SQL that creates each layout from the previous one, the first from an empty file. Entries are never changed."""

USER_VERSION = len(_LAYOUTS)
"""Number of the newest layout, stored in the file as SQLite's ``user_version``."""


class HistoryError(Exception):
    """The history cannot be used; the message is one sentence with the next step."""


class CorruptHistoryError(HistoryError):
    """The file exists and is not a readable history. It was not changed."""


COMPARED = 300
"""Number of the newest runs with which a run is compared. Older runs used older software, and decoding takes time."""

_LOCK_TIMEOUT_S = 10.0
"""Maximum wait for another process to end its transaction."""


def default_path() -> Path:
    """``$XDG_DATA_HOME/dlbox/history.sqlite``."""
    return Path(platformdirs.user_data_dir("dlbox", appauthor=False)) / "history.sqlite"


class History:
    """An open history. Several processes can use it at once: it has a write-ahead log, and transactions are short."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open or create the file. ``read_only``: for a file system that cannot be written to.

        Raises CorruptHistoryError, HistoryError.
        """
        self.path = path
        with self._translated_errors("open"), contextlib.ExitStack() as half_open:
            if read_only:
                self._db = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)
            else:
                _create_private(path)
                self._db = sqlite3.connect(path, timeout=_LOCK_TIMEOUT_S, isolation_level=None)
            half_open.callback(self._db.close)
            self._db.row_factory, self._db.text_factory = sqlite3.Row, decode_leniently
            self._db.execute("PRAGMA foreign_keys = ON")
            version = self._layout()
            if version > USER_VERSION:
                raise HistoryError(
                    f"{path} was written by a newer dlbox (layout {version}): update dlbox to read it."
                )
            if not read_only:
                self._enable_write_ahead_log()
                self._db.execute("PRAGMA synchronous = NORMAL")
                if version < USER_VERSION:
                    self._migrate()
                self._close_dead_runs()
            half_open.pop_all()

    def examine(self) -> None:
        """Check every page of the file. Raises CorruptHistoryError."""
        with self._translated_errors("open"):
            found = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(" ".join(found.split()))

    def begin(self, document: Document) -> int:
        """Store a run that starts now in this process; returns its number."""
        with self._translated_errors("write to"), self._transaction():
            cursor = self._db.execute(
                "INSERT INTO runs (started_at, command, state, pid, pid_started, document) VALUES (?,?,?,?,?,?)",
                (document.started_at, document.command, "running", os.getpid(), _started(os.getpid()), ""),
            )
            number = int(cursor.lastrowid or 0)
            self._write(number, "running", document)
        return number

    def add_block(self, run: int, workload: str, backend: str, repeat: int, block: TimedBlock) -> None:
        """Store a timed block of process number ``repeat`` (from 0). Raises HistoryError."""
        with self._translated_errors("write to"), self._transaction():
            self._db.execute(
                "INSERT INTO blocks VALUES (?,?,?,?,?)",
                (run, workload, backend, repeat, msgspec.json.encode(block).decode()),
            )

    def save(
        self,
        run: int,
        document: Document,
        state: RunState = "running",
        *,
        baseline_instead_of: Iterable[int] | None = None,
    ) -> None:
        """Replace the document of ``run``. Any state but "running" closes it and removes its separate block rows.

        ``baseline_instead_of``: the run replaces these runs as a baseline. Raises HistoryError.
        """
        with self._translated_errors("write to"), self._transaction():
            self._write(run, state, document)
            if baseline_instead_of is not None:
                for other in baseline_instead_of:
                    self._db.execute("UPDATE runs SET baseline = 0 WHERE id = ?", (other,))
                self._db.execute("UPDATE runs SET baseline = 1 WHERE id = ?", (run,))
            if state != "running":
                self._db.execute("DELETE FROM blocks WHERE run_id = ?", (run,))

    def runs(self, limit: int | None = None, *, until: str | None = None) -> list[Run]:
        """All runs, or the newest ``limit``, the oldest first: sorted by start time, which need not be the order of
        numbers after an import. ``until``: only runs that started at this time (ISO 8601, UTC) or earlier.

        Raises HistoryError.
        """
        return list(itertools.islice(self.newest(until=until), limit))[::-1]

    def newest(self, *, until: str | None = None) -> Iterator[Run]:
        """Every run, the newest first. A document is decoded only when its run is asked for: that takes time.

        Raises HistoryError.
        """
        query = "SELECT id FROM runs WHERE ? IS NULL OR started_at <= ? ORDER BY started_at DESC, id DESC"
        with self._translated_errors("read"):
            rows = self._db.execute(query, (until, until)).fetchall()
        for (number,) in rows:
            run = self.run(number)
            if run is not None:
                yield run

    def run(self, number: int) -> Run | None:
        """The run with this number, or None. Raises HistoryError."""
        with self._translated_errors("read"):
            row = self._db.execute("SELECT * FROM runs WHERE id = ?", (number,)).fetchone()
            return decoded(row) if row else None

    def last(self) -> Run | None:
        """The run that started last, or None. Raises HistoryError."""
        with self._translated_errors("read"):
            row = self._db.execute("SELECT * FROM runs ORDER BY started_at DESC, id DESC LIMIT 1").fetchone()
            return decoded(row) if row else None

    def last_verdict(self) -> Run | None:
        """The newest complete run of `dlbox ready`, or None. Raises HistoryError."""
        query = "SELECT * FROM runs WHERE command = 'ready' AND state = 'complete' ORDER BY started_at DESC, id DESC"
        with self._translated_errors("read"):
            row = self._db.execute(f"{query} LIMIT 1").fetchone()
            return decoded(row) if row else None

    def baselines(self) -> list[Run]:
        """Complete runs that are baselines, the newest first. Raises HistoryError."""
        query = "SELECT * FROM runs WHERE baseline AND state = 'complete' ORDER BY started_at DESC, id DESC"
        with self._translated_errors("read"):
            return [decoded(row) for row in self._db.execute(query).fetchall()]

    def add_missing(self, documents: Iterable[Document]) -> list[int]:
        """Import finished runs, all or none. Returns the numbers of those that are new. Raises HistoryError."""
        added = []
        with self._translated_errors("write to"), self._transaction():
            known = {_content(run.document) for run in self.runs() if run.document}
            for document in sorted(documents, key=lambda d: d.started_at):
                if _content(document) in known:
                    continue
                known.add(_content(document))
                state: RunState = "partial" if document.partial else "complete"
                cursor = self._db.execute(
                    "INSERT INTO runs (started_at, command, state, pid, pid_started, document) VALUES (?,?,?,0,0,'')",
                    (document.started_at, document.command, state),
                )
                added.append(int(cursor.lastrowid or 0))
                self._write(added[-1], state, msgspec.structs.replace(document, report=None))
        return added

    def remove(self, numbers: Iterable[int]) -> list[int]:
        """Delete runs and shrink the file. Returns the numbers of the deleted runs.

        Baselines and runs in progress are not deleted. Raises HistoryError.
        """
        removed = []
        with self._translated_errors("write to"), self._transaction():
            for number in numbers:
                cursor = self._db.execute(
                    "DELETE FROM runs WHERE id = ? AND NOT baseline AND state <> 'running'", (number,)
                )
                removed += [number] * cursor.rowcount
        with contextlib.suppress(sqlite3.Error):  # locked or disk full: SQLite reuses the free pages later
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return removed

    def close(self) -> None:
        """Close the file. The object cannot be used afterwards."""
        self._db.close()

    def _write(self, run: int, state: RunState, document: Document) -> None:
        text = to_json_line(msgspec.structs.replace(document, run_id=run)).decode()
        self._db.execute("UPDATE runs SET state = ?, document = ? WHERE id = ?", (state, text, run))

    def _enable_write_ahead_log(self) -> None:
        """Switch to write-ahead logging. SQLite itself does not wait here for another process that opens a new file."""
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # the high bits are the reason
                if not busy or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)

    def _layout(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _migrate(self) -> None:
        """Upgrade to the newest layout, in one transaction; another process may have done so already."""
        with self._transaction():
            steps = _LAYOUTS[self._layout() :]
            for step in steps:
                for statement in step.split(";\n"):
                    self._db.execute(statement)
            if steps:
                self._db.execute(f"PRAGMA user_version = {USER_VERSION}")

    def _close_dead_runs(self) -> None:
        """Mark runs whose process has ended as partial, and move their block rows into their documents.

        Block rows of a run that this version cannot read stay for a version that can.
        """
        unfinished = "state = 'running' OR (state = 'partial' AND id IN (SELECT run_id FROM blocks))"
        with self._transaction():
            for row in self._db.execute(f"SELECT * FROM runs WHERE {unfinished}").fetchall():  # noqa: S608
                if row["state"] == "running" and _alive(row["pid"], row["pid_started"]):
                    continue
                run = decoded(row)
                if run.document is None:
                    self._db.execute("UPDATE runs SET state = 'partial' WHERE id = ?", (run.id,))
                    continue
                document = msgspec.structs.replace(run.document, partial=True, verdict="not-ready")
                with contextlib.suppress(ValueError, ArithmeticError):  # damaged rows: no block has a speed
                    document = with_lost_blocks(document, self._blocks(run.id))
                self._write(run.id, "partial", document)
                self._db.execute("DELETE FROM blocks WHERE run_id = ?", (run.id,))

    def _blocks(self, run: int) -> dict[tuple[str, str, int], list[TimedBlock]]:
        found: dict[tuple[str, str, int], list[TimedBlock]] = {}
        for row in self._db.execute("SELECT * FROM blocks WHERE run_id = ? ORDER BY rowid", (run,)):
            key = (row["workload"], row["backend"], row["repeat"])
            with contextlib.suppress(*UNREADABLE):
                found.setdefault(key, []).append(msgspec.json.decode(row["block"], type=TimedBlock))
        return found

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # on a full disk SQLite has ended it already
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _translated_errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            code = getattr(error, "sqlite_errorcode", 0)
            not_our_tables = doing == "open" and code & 0xFF == sqlite3.SQLITE_ERROR
            if isinstance(error, sqlite3.OperationalError) and not not_our_tables:
                raise HistoryError(f"cannot {doing} the history {self.path}: {error}.") from error
            raise CorruptHistoryError(
                f"the history {self.path} is damaged ({error}) and was not changed: restore a backup, or move it away."
            ) from error
        except OSError as error:
            raise HistoryError(f"cannot {doing} the history {self.path}: {reason(error)}.") from error


_DAMAGE = (sqlite3.DatabaseError, UnicodeDecodeError, IndexError)
"""The last two occur for text that is not UTF-8 and for missing columns."""


def _create_private(path: Path) -> None:
    """Create the file for this user only. SQLite copies its permissions to the write-ahead log. Raises OSError."""
    private_folder(path.parent)
    if path == default_path():  # earlier versions created it with the umask
        for_owner_only(path.parent)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError:  # the file exists already, or SQLite reports the reason
        for suffix in ("", "-wal", "-shm"):
            for_owner_only(path.with_name(path.name + suffix))


def _content(document: Document) -> bytes:
    """A key that is equal for the same run in two histories; it omits the run's number and its report's path."""
    return msgspec.json.encode(msgspec.structs.replace(document, run_id=None, report=None))


def _started(pid: int) -> float:
    """Start time of a process. A pid can be reused; the pair of pid and start time cannot."""
    return round(psutil.Process(pid).create_time(), 1)


def _alive(pid: int, started: float) -> bool:
    try:
        return abs(_started(pid) - started) < 2.0
    except psutil.Error:
        return False


def now() -> str:
    """The current time in UTC as ISO 8601, in whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
