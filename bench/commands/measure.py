"""`dlbox bench` and `dlbox ready`: measure, print the result, export it, return the exit code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.commands import export
from bench.finding import is_sound
from bench.judge import scaling
from bench.measure.workloads import UnknownWorkloadError, select
from bench.results.record.document import Document, to_json
from bench.results.terminal import results
from bench.run import session
from common.command_line.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, Complain
from common.file_access.files import to_stdout
from common.terminal.console import Console
from common.terminal.progress import ProgressDisplay
from common.terminal.shown import visible
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
    name: str | None = None,
    devices: str | None = None,
    wait_for_quiet: float | None = None,
    verbose: bool = False,
    **exports: Path | bool | None,
) -> int:
    """Run ``bench`` or ``ready`` (``command``), and return the exit code.

    The document is printed on stdout and written to ``exports``, even if the run was interrupted.
    ``verbose``: also print the figures of each model and the full text of findings.
    ``exports``: see ``bench.commands.export``.
    """
    taken = "--json" if as_json else None
    problem = export.impossible(exports, taken=taken) or export.missing(exports)
    if problem is not None:
        complain(problem)
        return EXIT_USAGE
    try:
        options = session.RunOptions(
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
            name=session.run_name(name),
            wait_for_quiet=wait_for_quiet,
            bill=None if build is None else open_bill(build),
        )
        with ProgressDisplay() as watcher:
            document = session.run(options, watcher)
    except (UnknownWorkloadError, session.RunOptionsError, scaling.DevicesError, BillError) as error:
        complain(str(error))
        return EXIT_USAGE
    except session.InterruptedRunError as stopped:
        if stopped.document is not None:
            _output(stopped.document, as_json, exports, complain, verbose=verbose)
        complain(_interrupted(stopped.document))
        return EXIT_INTERRUPTED
    return max(_output(document, as_json, exports, complain, verbose=verbose), exit_code(document))


def _interrupted(document: Document | None) -> str:
    if document is None:
        return "interrupted before the first training: nothing is stored"
    if document.partial:
        return "interrupted; the results until then are stored and marked as partial"
    again = f"`dlbox report {document.run_id}`" if document.run_id else "the same command"
    return f"interrupted after the last measurement; all results are stored, and {again} writes the report"


def exit_code(document: Document) -> int:
    """0 if the verdict is "ready" or "cpu-only", else 1."""
    return EXIT_OK if is_sound(document.verdict) else EXIT_FAILED


def _output(
    document: Document,
    as_json: bool,
    exports: Mapping[str, Path | bool | None],
    complain: Complain,
    *,
    verbose: bool,
) -> int:
    """Write the exports, then print the document, because stdout may fail; returns the exit code of the exports."""
    try:
        return export.write(document, exports, complain)
    finally:
        if as_json:
            to_stdout(visible(to_json(document)) + "\n")
        else:
            results.show(document, Console(stderr=export.on_stdout(exports)), verbose=verbose)
