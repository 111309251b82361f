"""The export options of `bench`, `report` and `check`. The registry lists the formats that they can write."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from bench.results.export.registry import ExportFormat, Source, formats
from bench.results.record.document import Document
from common.command_line.click_types import Folder, NamedPath
from common.command_line.exit_codes import EXIT_FAILED, EXIT_OK, Complain
from common.file_access.files import clash, is_stdout, reason, write_atomically

Requested = Mapping[str, Path | bool | None]
"""Parameter name of a format (``ExportFormat.parameter``) -> the value of its option; false or None: not requested."""


def export_options(source: Source) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that gives a click command one option per format of ``source``."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for one in reversed(formats(source)):
            command = _option(one)(command)
        return command

    return decorate


def _option(one: ExportFormat) -> Any:
    if one.target == "data-folder":
        return click.option(f"--{one.option}", one.parameter, is_flag=True, help=one.help)
    value = Folder() if one.target == "folder" else NamedPath(path_type=Path, dir_okay=False)
    return click.option(f"--{one.option}", one.parameter, type=value, metavar=one.metavar, help=one.help)


def option_names(source: Source) -> tuple[str, ...]:
    """The options of the formats of ``source``: ("--csv", "--prometheus", ...)."""
    return tuple(f"--{one.option}" for one in formats(source))


def take(options: dict[str, Any], source: Source) -> dict[str, Path | bool | None]:
    """Remove the values of the export options from ``options``, and return them by parameter name."""
    return {one.parameter: options.pop(one.parameter, None) for one in formats(source)}


def impossible(requested: Requested, *, taken: str | None, source: Source = "run") -> str | None:
    """One sentence that says why an export cannot be written, or None if all of them can.

    ``taken``: the option that already prints on stdout, or None. Call this before the measurement, which can take
    hours.
    """
    return clash(((f"--{one.option}", requested.get(one.parameter)) for one in formats(source)), taken=taken)


def missing(requested: Requested, *, source: Source = "run") -> str | None:
    """How to install the first package that a requested export lacks, as one sentence, or None.

    Call this before the measurement, which can take hours.
    """
    lacking = (one for one in formats(source) if requested.get(one.parameter) and not one.available)
    return next((one.install_hint for one in lacking), None)


def on_stdout(requested: Requested) -> bool:
    """Whether one of the exports goes to stdout, so that nothing else may be printed there."""
    return any(is_stdout(value) for value in requested.values())


def write(document: Document, requested: Requested, complain: Complain, *, source: Source = "run") -> int:
    """Write every requested export, and return the exit code: 1 if any could not be written.

    ``complain`` prints one sentence for each export that failed, and for each folder how to open it. Raises
    OSError where stdout cannot be written to.
    """
    code = EXIT_OK
    for one in formats(source):
        value = requested.get(one.parameter)
        if not value:
            continue
        path = value if isinstance(value, Path) else _data_folder(one)
        if source == "run" and not document.results:
            place = "stdout" if is_stdout(path) else path
            complain(f"{place} was not written: the run has no training results")
            code = EXIT_FAILED
            continue
        try:
            _write(one, document, path, complain)
        except (OSError, ValueError, ImportError) as error:
            if is_stdout(path):
                raise
            complain(f"cannot write {path}: {reason(error)}{_retry(one, document)}")
            code = EXIT_FAILED
    return code


def _data_folder(one: ExportFormat) -> Path:
    from bench.results.store.history import default_path  # this module is imported for every `dlbox --help`

    return Path(os.environ.get(one.folder_variable) or default_path().parent)


def _write(one: ExportFormat, document: Document, path: Path, complain: Complain) -> None:
    if one.render is not None:
        write_atomically(path, one.render(document))
    elif one.write is not None:
        complain(one.write(document, path))


def _retry(one: ExportFormat, document: Document) -> str:
    """The end of an error message: how to export a stored run again."""
    if one.source != "run" or not document.run_id:
        return ""
    command = " ".join(filter(None, (f"dlbox report {document.run_id} --{one.option}", one.metavar)))
    return f"; to try again: `{command}`"
