"""`dlbox history` and its subcommands export, import and prune."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.measure.workloads import UnknownWorkloadError, select
from bench.results.record.document import Result
from bench.results.store import archive
from bench.results.store.access import open_history_to_read
from bench.results.store.history import History, HistoryError, default_path
from bench.results.store.lookup import LARGEST_EXPORT, SourceError, bounded
from bench.results.store.rows import Run
from bench.results.terminal import results, trends
from common.command_line.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Complain
from common.command_line.json_output import print_json
from common.file_access.files import STANDARD, descriptor, is_stdout, reason, write_atomically
from common.file_access.inputs import InputError, open_regular
from common.terminal.console import Console
from common.terminal.shown import place, visible


def list_runs(*, limit: int, as_json: bool, complain: Complain) -> int:
    """Print the newest ``limit`` runs, the newest last; returns the exit code."""
    try:
        store = open_history_to_read()
        runs = store.runs(limit) if store else []
    except HistoryError as error:
        complain(str(error))
        return EXIT_FAILED
    if as_json:
        print_json("history", {"runs": [_summary(run) for run in runs]})
    elif runs:
        Console(highlight=True).print(results.history_table(runs))
    else:
        sys.stdout.write(_NO_RUNS)
    return EXIT_OK


_NO_RUNS = "The history has no runs: `dlbox ready` measures and records one.\n"


def list_models(
    *,
    limit: int,
    workloads: tuple[str, ...],
    backend: str | None,
    batch: int | None,
    as_json: bool,
    complain: Complain,
) -> int:
    """Print one row per run and model of the newest ``limit`` runs with a selected model; returns the exit code."""
    try:
        select(workloads, "full")
        store = open_history_to_read()
        found = list(itertools.islice(_with_model(store, workloads, backend, batch), limit))[::-1]
    except UnknownWorkloadError as error:
        complain(str(error))
        return EXIT_USAGE
    except HistoryError as error:
        complain(str(error))
        return EXIT_FAILED
    rows = trends.rows(found)
    if as_json:
        print_json("history", {"models": [msgspec.to_builtins(row) for row in rows]})
    elif rows:
        Console(highlight=True).print(trends.table(rows))
    elif store is not None and store.runs(1):
        sys.stdout.write("The history has no run with such a model: `dlbox history` lists all runs.\n")
    else:
        sys.stdout.write(_NO_RUNS)
    return EXIT_OK


def _with_model(
    store: History | None, workloads: tuple[str, ...], backend: str | None, batch: int | None
) -> Iterator[tuple[Run, tuple[Result, ...]]]:
    """Finished runs with their selected results, the newest first."""
    for run in store.newest() if store is not None else ():
        results = tuple(
            result
            for result in (run.document.results if run.document and run.state != "running" else ())
            if (not workloads or result.workload in workloads)
            and backend in (None, result.backend)
            and batch in (None, result.batch_size)
        )
        if results:
            yield run, results


def _summary(run: Run) -> dict[str, object]:
    document = run.document
    return {
        "id": run.id,
        "started_at": run.started_at,
        "command": run.command,
        "name": results.run_name(run),
        "state": run.state,
        "verdict": document.verdict if document else None,
        "baseline": run.baseline,
        "report": document.report if document else None,
        "results": msgspec.to_builtins(document.results) if document else [],
    }


def export(file: Path, *, number: int | None, complain: Complain) -> int:
    """Write all finished runs, or one, to ``file`` ("-": stdout) as JSON Lines; returns the exit code."""
    try:
        store = open_history_to_read()
        runs = store.runs() if store else []
    except HistoryError as error:
        complain(str(error))
        return EXIT_FAILED
    if number is not None:
        runs = [run for run in runs if run.id == number]
    text, count = archive.lines(runs)
    if not count:
        problem = (
            f"the history has no finished run {number}: `dlbox history` lists the runs"
            if number is not None
            else "the history has no finished runs to export: `dlbox ready` measures and records one"
        )
        complain(problem)
        return EXIT_USAGE
    try:
        write_atomically(file, text)
    except OSError as error:
        if is_stdout(file):
            raise
        complain(f"cannot write {file}: {reason(error)}")
        return EXIT_FAILED
    if is_stdout(file):
        return EXIT_OK
    skipped = f"; {len(runs) - count} skipped, because unfinished or unreadable" if count < len(runs) else ""
    sys.stdout.write(visible(f"{_runs(count)} written to {file}{skipped}\n"))
    return EXIT_OK


def bring_in(file: Path, *, as_json: bool, complain: Complain) -> int:
    """Add the runs of ``file`` ("-": stdin) that the history lacks, all of them or none; returns the exit code."""
    try:
        documents = archive.documents(_read(file), str(file))
    except SourceError as error:
        complain(f"{error}; nothing was imported")
        return EXIT_USAGE
    except (OSError, ValueError) as error:
        complain(f"cannot read {file}: {reason(error)}")
        return EXIT_USAGE
    try:
        history = History(default_path())
        added = history.add_missing(documents)
        history.close()
    except HistoryError as error:
        complain(str(error))
        return EXIT_FAILED
    known = len(documents) - len(added)
    if as_json:
        print_json("history import", {"imported": added, "already_there": known})
    else:
        sys.stdout.write(
            f"{_runs(len(added))} imported" + (f", {known} already in the history" if known else "") + "\n"
        )
    return EXIT_OK


def prune(
    *,
    keep: int | None,
    older_than: float | None,
    confirm: Callable[[str], bool] | None,
    as_json: bool,
    complain: Complain,
) -> int:
    """Remove old runs permanently and free their disk space; returns the exit code.

    keep: The newest ``keep`` runs are not removed. older_than: Runs of the last ``older_than`` days are not removed.
    confirm: Asks the user the question in its argument; None: remove without asking.
    """
    if keep is None and older_than is None:
        complain(
            "prune needs --keep N, --older-than DAYS, or both; a run is removed only if both options allow it"
        )
        return EXIT_USAGE
    try:
        history = open_history_to_read()
        runs = history.runs() if history else []
        expired = archive.expendable(runs, datetime.now(UTC), keep=keep, older_than_days=older_than)
        undated = [run.id for run in runs if archive.started(run) is None]
        if undated and older_than is not None:
            numbers = ", ".join(map(str, sorted(undated)))
            complain(f"not removed, because their start times cannot be read: runs {numbers}")
        if expired and confirm is not None:
            asked = (
                f"Remove {_runs(len(expired))} of {len(runs)} ({_span([r.id for r in expired])}) permanently?"
            )
            if not confirm(asked):
                complain("nothing was removed")
                return EXIT_FAILED
        removed = history.remove([run.id for run in expired]) if history and expired else []
    except HistoryError as error:
        complain(str(error))
        return EXIT_FAILED
    if as_json:
        print_json("history prune", {"removed": removed, "left": len(runs) - len(removed)})
    else:
        sys.stdout.write(f"{_runs(len(removed))} removed, {len(runs) - len(removed)} left\n")
    return EXIT_OK


def _read(file: Path) -> bytes:
    """The runs in ``file``. Raises SourceError, OSError or ValueError if it cannot be read."""
    if file == STANDARD or descriptor(file) == 0:
        return bounded(sys.stdin.buffer, LARGEST_EXPORT)
    try:
        with open_regular(file) as source:
            return bounded(source, LARGEST_EXPORT)
    except InputError as error:
        raise SourceError(f"cannot read {place(file)}: {error.reason}") from None


def _span(numbers: list[int]) -> str:
    return f"run {numbers[0]}" if len(numbers) == 1 else f"runs {min(numbers)} to {max(numbers)}"


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"
