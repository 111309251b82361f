"""`dlbox compare A B`: find the two runs, compare their speeds, print the comparison."""

from __future__ import annotations

from collections.abc import Callable

from bench.commands.lookup_errors import lookup_failed
from bench.results.record.document import to_json
from bench.results.stats.compare import Comparison, compare
from bench.results.store import lookup
from bench.results.store.access import open_history_to_read
from bench.results.terminal import comparison
from common.command_line.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from common.file_access.files import to_stdout
from common.terminal.console import Console


def run(a: str, b: str, *, as_json: bool, complain: Callable[[str], None]) -> int:
    """Compare run ``a`` with run ``b`` (see ``bench.results.store.lookup``); returns the exit code.

    0: B is not slower. 1: B is significantly slower in some workload, or appears slower while other programs ran; or
    the history cannot be read. 2: the runs have nothing to compare.
    """
    try:
        store = open_history_to_read() if lookup.in_history(a) or lookup.in_history(b) else None
        (a_name, document_a), (b_name, document_b) = lookup.find_both(a, b, store)
    except lookup.ERRORS as error:
        return lookup_failed(error, complain)
    for name, document in ((a_name, document_a), (b_name, document_b)):
        if not document.results:
            complain(f"{name} has no training results: it is a run of `dlbox {document.command}`")
            return EXIT_USAGE
    found = compare(document_a, document_b, a_name=a_name, b_name=b_name)
    if as_json:
        to_stdout(to_json(found) + "\n")
    else:
        comparison.show(found, Console())
    if not found.comparable:
        complain(f"{a_name} and {b_name} have no comparable results: {_why_none(found)}")
        return EXIT_USAGE
    return EXIT_FAILED if found.slower or found.disturbed else EXIT_OK


def _why_none(found: Comparison) -> str:
    """Each reason with the models it concerns: "lstm, gru: only in A; cnn: only in B"."""
    models: dict[str, list[str]] = {}
    for pair in found.pairs:
        names = models.setdefault(pair.reason, [])
        if pair.workload not in names:
            names.append(pair.workload)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in models.items())
