"""What the commands around a measurement do: run it, print it, give back the exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from bench.commands import export
from bench.judge import scaling
from bench.measure.workloads import UnknownWorkloadError, select
from bench.results.record.document import Document, to_json
from bench.results.report import markdown as summary
from bench.results.report import page
from bench.results.store import lookup
from bench.results.store.access import open_history_to_read
from bench.results.store.history import HistoryError, Run, default_path
from bench.results.terminal import results
from bench.run import session
from common.console import Console
from common.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, Complain
from common.files import reason, to_stdout, write_atomically
from common.json_output import print_json
from common.progress import ProgressDisplay
from common.shown import on_terminal, visible
from inventory.builds.bill import BillError, open_bill


def measure(
    command: str,
    *,
    workloads: tuple[str, ...],
    suite: str,
    backend: str | None,
    quick: bool | None,
    seed: int,
    repeats: int | None,
    output: Path | None,
    expect_gpus: int | None,
    as_json: bool,
    complain: Complain,
    baseline: bool = False,
    tuned: bool = False,
    batch: str | None = None,
    build: str | None = None,
    devices: str | None = None,
    **files: Path | bool | None,
) -> int:
    """``bench`` or ``ready``. Once there is a document it goes to stdout whatever happens, and to ``files``.

    ``files``: by format, see ``bench.commands.export``.
    """
    taken = "--json" if as_json else None
    lacking = export.impossible(files, taken=taken) or export.missing(files)
    if lacking is not None:
        complain(lacking)
        return EXIT_USAGE
    try:
        options = session.Options(
            command=command,
            workloads=tuple(select(workloads, suite)),
            backend=backend,
            quick=quick,
            seed=seed,
            repeats=repeats,
            output=output,
            expect_gpus=expect_gpus,
            health_checks=command == "ready",
            baseline=baseline,
            tuned=tuned,
            batch=session.batch_size(batch),
            devices=devices,
            bill=None if build is None else open_bill(build),
        )
        with ProgressDisplay() as watcher:
            document = session.run(options, watcher)
    except (UnknownWorkloadError, session.UsageError, scaling.DevicesError, BillError) as error:
        complain(str(error))
        return EXIT_USAGE
    except session.InterruptedRunError as stopped:
        if stopped.document is not None:
            _give(stopped.document, as_json, files, complain)
        complain(_interrupted(stopped.document))
        return EXIT_INTERRUPTED
    return max(_give(document, as_json, files, complain), exit_code(document))


def _interrupted(document: Document | None) -> str:
    if document is None:
        return "interrupted before anything was trained: nothing is kept"
    if document.partial:
        return "interrupted; what was measured until then is kept and marked partial"
    again = f"`dlbox report {document.run_id}`" if document.run_id else "the same command"
    return f"interrupted; all was measured and is kept, {again} writes the report"


def exit_code(document: Document) -> int:
    return EXIT_FAILED if document.verdict == "not-ready" else EXIT_OK


def history(*, limit: int, as_json: bool, complain: Complain) -> int:
    """List the newest ``limit`` runs, the newest last."""
    try:
        store = open_history_to_read()
        runs = store.runs()[-limit:] if store else []
    except HistoryError as error:
        complain(str(error))
        return EXIT_FAILED
    if as_json:
        print_json("history", {"runs": [_listed(run) for run in runs]})
    elif runs:
        Console(highlight=True).print(results.history_table(runs))
    else:
        sys.stdout.write("Nothing was measured yet: `dlbox ready` does.\n")
    return EXIT_OK


def write_report(
    which: str | None,
    output: Path | None,
    complain: Complain,
    *,
    markdown: bool = False,
    **files: Path | bool | None,
) -> int:
    """Write the page of a run again; where ``files`` are asked for, those instead.

    ``which``: as ``bench.results.store.lookup`` understands it. None: the newest run, whatever became of it.
    """
    taken = "--markdown" if markdown else None
    lacking = export.impossible(files, taken=taken) or export.missing(files)
    if lacking is not None:
        complain(lacking)
        return EXIT_USAGE
    try:
        store = open_history_to_read()
        kept = store.runs() if store else []
        newest = kept[-1] if kept and which is None else None
        document = newest.document if newest else None
        if which is not None:
            _, document = lookup.find(which, store)
            if not lookup.in_history(which):  # a number of another box's history
                document = msgspec.structs.replace(document, run_id=None)
    except HistoryError as error:
        complain(str(error))
        return EXIT_FAILED
    except lookup.SourceError as error:
        complain(str(error))
        return EXIT_USAGE
    if document is None and newest is not None:
        complain(lookup.unreadable(newest.id))
        return EXIT_FAILED
    if document is None:
        complain("nothing was measured yet: `dlbox history` lists the runs, `dlbox ready` makes one")
        return EXIT_USAGE
    if markdown:
        sys.stdout.write(visible(summary.markdown(document)))
    if markdown or any(files.values()):
        return export.write(document, files, complain)
    path = ((output or default_path().parent / "reports") / page.file_name(document)).absolute()
    try:
        write_atomically(path, page.render(document, kept), private=output is None, follow=False)
    except OSError as error:
        complain(f"cannot write the report {path}: {reason(error)}; choose another place with --output")
        return EXIT_FAILED
    sys.stdout.write(on_terminal(f"{path}\n", sys.stdout))
    return EXIT_OK


def _give(
    document: Document, as_json: bool, files: Mapping[str, Path | bool | None], complain: Complain
) -> int:
    """Files first, because stdout may be full or a pipe that nobody reads any more; the exit code is theirs."""
    try:
        return export.write(document, files, complain)
    finally:
        if as_json:
            to_stdout(visible(to_json(document)) + "\n")
        else:
            results.show(document, Console(stderr=export.on_stdout(files)))


def _listed(run: Run) -> dict[str, object]:
    document = run.document
    return {
        "id": run.id,
        "started_at": run.started_at,
        "command": run.command,
        "state": run.state,
        "verdict": document.verdict if document else None,
        "baseline": run.baseline,
        "report": document.report if document else None,
        "results": msgspec.to_builtins(document.results) if document else [],
    }
