"""Store the document of a run in the history while the run continues. If the disk is full, storing ends, but the run
continues."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from bench.finding import Finding, Status
from bench.results.record.document import Document, Result, TimedBlock
from bench.results.store.access import BRING_BACK, MAKE_ROOM, HistoryProblem, open_history
from bench.results.store.history import COMPARED, CorruptHistoryError, History, HistoryError
from bench.results.store.rows import Run, RunState
from common.terminal.progress import ProgressDisplay


class RunRecorder:
    """Stores one run in the history. ``document`` is the run so far, with findings about problems of storing it."""

    def __init__(self, watcher: ProgressDisplay) -> None:
        self._watcher = watcher
        self._history: History | None = None
        self._number: int | None = None
        self._problems: list[Finding] = []
        self._document: Document | None = None
        self._started_processes: set[tuple[str, int]] = set()
        self._instead_of: Iterable[int] | None = None
        self.folder = Path.cwd()
        self.first_run = False
        problems: list[HistoryProblem] = []
        try:
            self._history, problems = open_history()
            self.first_run = self._history.last_verdict() is None
            self.folder = self._history.path.parent
            os.environ.setdefault("MPLCONFIGDIR", str(self.folder / "matplotlib"))
        except HistoryError as error:
            self._lose(error)
        for problem in problems:
            self.report_problem(_history_finding(Status.WARN, *problem))

    @property
    def document(self) -> Document:
        """The run so far. Raises LookupError before ``start``."""
        if self._document is None:
            raise LookupError("the run has not started")
        return self._document

    @property
    def started(self) -> bool:
        return self._document is not None

    def start(self, document: Document) -> None:
        self._take(document)
        self._try(lambda history, _: self._start(history))

    def save(self, document: Document) -> None:
        """Store the next state of the run."""
        self._take(document)
        self._try(lambda history, number: history.save(number, self.document))

    def save_block(self, repeat: int, block: TimedBlock, result: Result) -> None:
        """Store a timed block of process number ``repeat``; ``result``: the result of its workload so far."""
        document = msgspec.structs.replace(self.document, results=with_result(self.document.results, result))
        key = (result.label, repeat)
        if key in self._started_processes:
            self._take(document)
        else:
            self._started_processes.add(key)
            self.save(document)
        self._try(
            lambda history, number: history.add_block(number, result.label, result.backend, repeat, block)
        )

    def finish(self, document: Document, *, baseline_instead_of: Iterable[int] | None = None) -> None:
        """Store the final state of the run; may be called again with a later one.

        baseline_instead_of: The run is a baseline and replaces the baselines with these numbers.
        """
        self._instead_of = baseline_instead_of
        self._take(document)
        state: RunState = "partial" if document.partial else "complete"
        self._try(
            lambda history, number: history.save(
                number, self.document, state, baseline_instead_of=baseline_instead_of
            )
        )

    def baselines(self) -> list[Run]:
        """The baselines of the history; none if it cannot be read."""
        found: list[Run] = []
        self._try(lambda history, _: found.extend(history.baselines()))
        return found

    def runs(self) -> list[Run]:
        """The newest ``COMPARED`` runs, the oldest first; none if the history cannot be read."""
        found: list[Run] = []
        self._try(lambda history, _: found.extend(history.runs(COMPARED)))
        return found

    def interrupted(self) -> Document:
        """Store the run so far as partial, unless it is complete, and return it."""
        if not self.document.partial:
            self.finish(
                self.document, baseline_instead_of=self._instead_of
            )  # the run may have been interrupted while it was being stored
            return self.document
        self.finish(msgspec.structs.replace(self.document, partial=True, verdict="not-ready"))
        return self.document

    def report_problem(self, finding: Finding) -> None:
        """Print a problem of storing the run, and add it to the findings."""
        self._watcher.say(f"dlbox: {finding.message}")
        self._problems.append(finding)
        if self._document:
            self._take(self._document)

    def close(self) -> None:
        if self._history:
            self._history.close()

    def _take(self, document: Document) -> None:
        findings = [f for f in document.findings if f.id not in {t.id for t in self._problems}]
        failed = any(t.status is Status.FAIL for t in self._problems)
        self._document = msgspec.structs.replace(
            document,
            findings=(*findings, *self._problems),
            verdict="not-ready" if failed else document.verdict,
            run_id=self._number,
        )

    def _start(self, history: History) -> None:
        self._number = history.begin(self.document)
        self._take(self.document)

    def _try(self, act: Callable[[History, int], None]) -> None:
        if self._history is None:
            return
        try:
            act(self._history, self._number or 0)
        except HistoryError as error:
            self._lose(error)

    def _lose(self, error: HistoryError) -> None:
        if self._history:
            self._history.close()
        self._history, self._number = None, None
        remedy = BRING_BACK if isinstance(error, CorruptHistoryError) else MAKE_ROOM
        message = f"{str(error).rstrip('.')}; the result is printed but not stored"
        self.report_problem(_history_finding(Status.FAIL, message, remedy))


def _history_finding(status: Status, message: str, remedy: str) -> Finding:
    return Finding(
        theme="results",
        check="history",
        status=status,
        title="the run is stored in the history",
        message=message,
        remedy=remedy,
    )


def with_result(results: Iterable[Result], new: Result | None) -> tuple[Result, ...]:
    """``results`` with ``new`` instead of its earlier state; a new result comes after those of the same workload."""
    made = list(results)
    if new is None:
        return tuple(made)
    for place, old in enumerate(made):
        if (old.label, old.backend) == (new.label, new.backend):
            return (*made[:place], new, *made[place + 1 :])
    place = max((n for n, old in enumerate(made, 1) if old.workload == new.workload), default=len(made))
    return (*made[:place], new, *made[place:])
