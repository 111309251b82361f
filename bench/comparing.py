"""`dlbox compare A B`: find the two runs, hold them against each other, print, give back the exit code."""

from __future__ import annotations

from collections.abc import Callable

from bench.results import comparison, sources
from bench.results.compare import Comparison, compare
from bench.results.files import to_stdout
from bench.results.history import HistoryError
from bench.results.record import to_json
from bench.results.store import open_history_to_read
from common.console import Console

EXIT_SOUND, EXIT_NOT, EXIT_USAGE = 0, 1, 2


def run(a: str, b: str, *, as_json: bool, complain: Callable[[str], None]) -> int:
    """The exit code.

    0: B is not slower. 1: it is, significantly, in some workload, or it seems so beside other programs; or the history
    cannot be read. 2: there is nothing to compare.
    """
    try:
        store = open_history_to_read() if sources.in_history(a) or sources.in_history(b) else None
        (a_name, document_a), (b_name, document_b) = sources.find_both(a, b, store)
    except HistoryError as error:
        complain(str(error))
        return EXIT_NOT
    except sources.SourceError as error:
        complain(str(error))
        return EXIT_USAGE
    for name, document in ((a_name, document_a), (b_name, document_b)):
        if not document.results:
            complain(f"{name} holds no training results: it is a {document.command}")
            return EXIT_USAGE
    found = compare(document_a, document_b, a_name=a_name, b_name=b_name)
    if as_json:
        to_stdout(to_json(found) + "\n")
    else:
        comparison.show(found, Console())
    if not found.comparable:
        complain(f"{a_name} and {b_name} have no comparable result: {_why_none(found)}")
        return EXIT_USAGE
    return EXIT_NOT if found.slower or found.disturbed else EXIT_SOUND


def _why_none(found: Comparison) -> str:
    """Every reason with its models: "lstm, gru: only in A; cnn: only in B"."""
    models: dict[str, list[str]] = {}
    for pair in found.pairs:
        names = models.setdefault(pair.reason, [])
        if pair.workload not in names:
            names.append(pair.workload)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in models.items())
