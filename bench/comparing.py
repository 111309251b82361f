"""`dlbox compare A B`: find the two runs, hold them against each other, print, give back the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

import msgspec
from rich.console import Console

from bench.results import comparison, sources
from bench.results.compare import compare
from bench.results.history import HistoryError
from bench.results.store import open_history_to_read

EXIT_SOUND, EXIT_SLOWER, EXIT_USAGE = 0, 1, 2


def run(a: str, b: str, *, as_json: bool, complain: Callable[[str], None]) -> int:
    """0: B is not slower; 1: it is, significantly, in some workload; 2: there is nothing to compare."""
    try:
        store = open_history_to_read() if sources.in_history(a) or sources.in_history(b) else None
        a_name, document_a = sources.find(a, store)
        b_name, document_b = sources.find(b, store)
    except (sources.SourceError, HistoryError) as error:
        complain(str(error))
        return EXIT_USAGE
    for name, document in ((a_name, document_a), (b_name, document_b)):
        if not document.results:
            complain(f"{name} holds no training results: it is a {document.command}")
            return EXIT_USAGE
    found = compare(document_a, document_b, a_name=a_name, b_name=b_name)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    else:
        comparison.show(found, Console(highlight=False))
    if not found.comparable:
        complain(f"{a_name} and {b_name} have no comparable result: {found.pairs[0].reason}")
        return EXIT_USAGE
    return EXIT_SLOWER if found.slower else EXIT_SOUND
