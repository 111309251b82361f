"""`dlbox report`: write the page of a run, or the run in another format."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from bench.commands import export
from bench.commands.lookup_errors import lookup_failed
from bench.judge import card_scores
from bench.results.record.document import Document
from bench.results.report import history_page, page
from bench.results.report import markdown as summary
from bench.results.report import share as share_files
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
    share: bool = False,
    trends: bool = False,
    **exports: Path | bool | None,
) -> int:
    """Write the page of a run and print its path, or write only the requested ``exports``; returns the exit code.

    ``which``: a run number, name or file, see ``bench.results.store.lookup``. None: the newest run, complete or not.
    ``output``: the folder of the page. None: next to the history. ``share``: write a picture and a badge beside it.
    ``trends``: write the page of all runs instead. ``exports``: see ``bench.commands.export``.
    """
    taken = "--markdown" if markdown else None
    problem = export.impossible(exports, taken=taken) or export.missing(exports)
    if trends and (which is not None or markdown or share or any(exports.values())):
        problem = "--history is a page of all runs: use it without ID and without --share or another format"
    elif share and (markdown or any(exports.values())):
        problem = "--share writes files beside the page: use it without another format"
    if problem is not None:
        complain(problem)
        return EXIT_USAGE
    if trends:
        return _trends(output, complain)
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
    name, text = page.file_name(document), page.render(document, earlier, card_scores.measured())
    path = _write(name, text, output, complain)
    if path is None:
        return EXIT_FAILED
    return _share(document, path, output, complain) if share else EXIT_OK


def _trends(output: Path | None, complain: Complain) -> int:
    """Write the page of trends of the newest runs; returns the exit code."""
    try:
        store = open_history_to_read()
        runs = store.runs(COMPARED) if store is not None else []
    except lookup.ERRORS as error:
        return lookup_failed(error, complain)
    if not runs:
        complain("the history has no runs: `dlbox ready` measures and records one")
        return EXIT_USAGE
    written = _write(history_page.FILE_NAME, history_page.render(runs), output, complain)
    return EXIT_FAILED if written is None else EXIT_OK


def _share(document: Document, page_path: Path, output: Path | None, complain: Complain) -> int:
    """Write the badge and the picture beside the page; returns the exit code."""
    badge = _write(f"{page_path.stem}-badge.svg", share_files.badge(document), output, complain)
    try:
        picture = share_files.picture(document)
    except ImportError as error:
        complain(f"no picture was written, because {error.name} is not installed: install dlbox[draw]")
        return EXIT_FAILED
    drawn = _write(f"{page_path.stem}.png", picture, output, complain)
    return EXIT_OK if badge and drawn else EXIT_FAILED


def _write(name: str, content: str | bytes, output: Path | None, complain: Complain) -> Path | None:
    """Write a file of the report and print its path; None, after an error message, if that is impossible."""
    path = ((output or default_path().parent / "reports") / name).absolute()
    try:
        write_atomically(path, content, private=output is None, follow=False)
    except OSError as error:
        complain(f"cannot write the report {path}: {reason(error)}; choose another folder with --output")
        return None
    sys.stdout.write(on_terminal(f"{path}\n", sys.stdout))
    return path


def _find(which: str, store: History | None) -> Document:
    _, document = lookup.find(which, store)
    if lookup.in_history(which):
        return document
    return msgspec.structs.replace(document, run_id=None)  # a number in the history of another machine
