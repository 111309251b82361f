"""`dlbox history export`, `import` and `prune`: the two sides of a file, and what may go."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench.results.store import archive
from bench.results.store.access import open_history_to_read
from bench.results.store.history import History, HistoryError, default_path
from bench.results.store.lookup import SourceError, bounded
from common.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Complain
from common.files import STANDARD, descriptor, is_stdout, reason, write_atomically
from common.inputs import InputError, open_regular
from common.json_output import print_json
from common.shown import place, visible


def export(file: Path, *, number: int | None, complain: Complain) -> int:
    """Write all closed runs, or one, to ``file`` as JSON Lines ("-": to stdout)."""
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
        what = f"no finished run {number}" if number is not None else "nothing to export"
        complain(f"there is {what}: `dlbox history` lists the runs, `dlbox ready` makes one")
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
    left_out = f"; {len(runs) - count} under way or not readable left out" if count < len(runs) else ""
    sys.stdout.write(visible(f"{_runs(count)} written to {file}{left_out}\n"))
    return EXIT_OK


def bring_in(file: Path, *, as_json: bool, complain: Complain) -> int:
    """Add the runs of ``file`` ("-": of stdin) that the history does not hold yet; all of them or none."""
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
            f"{_runs(len(added))} imported" + (f", {known} known already" if known else "") + "\n"
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
    """Remove old runs for good, after ``confirm`` (None: without asking), and give their room back."""
    if keep is None and older_than is None:
        complain("prune needs --keep N, --older-than DAYS or both: only what both allow to go goes")
        return EXIT_USAGE
    try:
        history = open_history_to_read()
        runs = history.runs() if history else []
        going = archive.expendable(runs, datetime.now(UTC), keep=keep, older_than_days=older_than)
        undated = [run.id for run in runs if archive.started(run) is None]
        if undated and older_than is not None:
            numbers = ", ".join(map(str, sorted(undated)))
            complain(f"kept, because when they began cannot be read: {numbers} (by `dlbox history`)")
        if going and confirm is not None:
            asked = f"Remove {_runs(len(going))} of {len(runs)} ({_span([r.id for r in going])}) for good?"
            if not confirm(asked):
                complain("nothing was removed")
                return EXIT_FAILED
        removed = history.remove([run.id for run in going]) if history and going else []
    except HistoryError as error:
        complain(str(error))
        return EXIT_FAILED
    if as_json:
        print_json("history prune", {"removed": removed, "left": len(runs) - len(removed)})
    else:
        sys.stdout.write(f"{_runs(len(removed))} removed, {len(runs) - len(removed)} left\n")
    return EXIT_OK


def _read(file: Path) -> bytes:
    """Raises SourceError, OSError, ValueError."""
    if file == STANDARD or descriptor(file) == 0:
        return bounded(sys.stdin.buffer)
    try:
        with open_regular(file) as source:
            return bounded(source)
    except InputError as error:
        raise SourceError(f"cannot read {place(file)}: {error.reason}") from None


def _span(numbers: list[int]) -> str:
    return f"run {numbers[0]}" if len(numbers) == 1 else f"runs {min(numbers)} to {max(numbers)}"


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"
