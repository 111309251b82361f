"""`dlbox report`: write the page of a run, or the run in another format."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from bench.commands import export
from bench.commands.lookup_errors import lookup_failed
from bench.results.record.document import Document
from bench.results.report import markdown as summary
from bench.results.report import page
from bench.results.store import lookup
from bench.results.store.access import open_history_to_read
from bench.results.store.history import COMPARED, History, default_path
from common.command_line.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Complain
from common.file_access.files import reason, write_atomically
from common.terminal.shown import on_terminal, visible


def run(
    which: str | None,
    output: Path | None,
    complain: Complain,
    *,
    markdown: bool = False,
    **exports: Path | bool | None,
) -> int:
    """Write the page of a run and print its path, or write only the requested ``exports``; returns the exit code.

    ``which``: a run number, name or file, see ``bench.results.store.lookup``. None: the newest run, complete or not.
    ``output``: the folder of the page. None: next to the history. ``exports``: see ``bench.commands.export``.
    """
    taken = "--markdown" if markdown else None
    problem = export.impossible(exports, taken=taken) or export.missing(exports)
    if problem is not None:
        complain(problem)
        return EXIT_USAGE
    try:
        store = open_history_to_read()
        newest = store.last() if store is not None and which is None else None
        document = newest.document if newest else None
        if which is not None:
            document = _find(which, store)
        earlier = store.runs(COMPARED, until=document.started_at) if store is not None and document else []
    except lookup.ERRORS as error:
        return lookup_failed(error, complain)
    if document is None and newest is not None:
        complain(lookup.unreadable(newest.id))
        return EXIT_FAILED
    if document is None:
        complain("the history has no runs: `dlbox ready` measures and records one")
        return EXIT_USAGE
    if markdown:
        sys.stdout.write(visible(summary.markdown(document)))
    if markdown or any(exports.values()):
        return export.write(document, exports, complain)
    path = ((output or default_path().parent / "reports") / page.file_name(document)).absolute()
    try:
        write_atomically(path, page.render(document, earlier), private=output is None, follow=False)
    except OSError as error:
        complain(f"cannot write the report {path}: {reason(error)}; choose another folder with --output")
        return EXIT_FAILED
    sys.stdout.write(on_terminal(f"{path}\n", sys.stdout))
    return EXIT_OK


def _find(which: str, store: History | None) -> Document:
    _, document = lookup.find(which, store)
    if lookup.in_history(which):
        return document
    return msgspec.structs.replace(document, run_id=None)  # a number in the history of another machine
