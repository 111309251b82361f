"""The options `--csv`, `--mllog` and `--pyperf` of `bench` and `report`: the same result for other programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from bench.results.files import reason, write_atomically
from bench.results.interchange import FORMATS
from bench.results.record import Document

EXIT_SOUND, EXIT_NOT = 0, 1


def write(document: Document, files: Mapping[str, Path | None], complain: Callable[[str], None]) -> int:
    """Write each file that was asked for; one sentence and exit code 1 for each that cannot be."""
    code = EXIT_SOUND
    for name, path in files.items():
        if path is None:
            continue
        if not document.results:
            complain(f"{path} was not written: there is no training result to put into it")
            code = EXIT_NOT
            continue
        try:
            write_atomically(path, FORMATS[name](document))
        except (OSError, ValueError) as error:
            kept = f"; `dlbox report {document.run_id} --{name} FILE` tries again" if document.run_id else ""
            complain(f"cannot write {path}: {reason(error)}{kept}")
            code = EXIT_NOT
    return code
