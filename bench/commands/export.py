"""The options of `bench` and `report` that give the same result to other programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.results.export.formats import FORMATS
from bench.results.record.document import Document
from bench.results.store.history import default_path
from common.exit_codes import EXIT_FAILED, EXIT_OK
from common.files import clash, display_name, is_stdout, reason, write_atomically


def impossible(files: Mapping[str, Path | bool | None], *, taken: str | None) -> str | None:
    """Why what was asked for cannot all be written, as one sentence, or None; asked before hours are spent.

    ``taken``: the option that prints on stdout, or None.
    """
    return clash(((_option(name), asked) for name, asked in files.items()), taken=taken)


def on_stdout(files: Mapping[str, Path | bool | None]) -> bool:
    """Whether one of ``files`` is stdout, so that nothing else may be printed there."""
    return any(is_stdout(asked) for asked in files.values())


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def missing(files: Mapping[str, Path | bool | None]) -> str | None:
    """What has to be installed for what was asked, as one sentence, or None; asked before hours are spent."""
    if files.get("wandb"):
        from bench.results.export import weights_and_biases

        return None if weights_and_biases.installed() else weights_and_biases.MISSING
    return None


def write(
    document: Document, files: Mapping[str, Path | bool | None], complain: Callable[[str], None]
) -> int:
    """Write all that was asked for; one sentence and exit code 1 for each that cannot be.

    Raises OSError where stdout is what cannot be written to.
    """
    code = EXIT_OK
    for name, asked in files.items():
        if not asked:
            continue
        path = (
            asked if isinstance(asked, Path) else Path(os.environ.get("WANDB_DIR") or default_path().parent)
        )
        option = _option(name)
        if not document.results:
            complain(f"{display_name(path)} was not written: there is no training result to put into it")
            code = EXIT_FAILED
            continue
        try:
            _write(name, document, path, complain)
        except (OSError, ValueError, ImportError) as error:
            if is_stdout(path):
                raise
            value = {"tensorboard": " FOLDER", "wandb": ""}.get(name, " FILE")
            again = (
                f"; `dlbox report {document.run_id} {option}{value}` tries again" if document.run_id else ""
            )
            complain(f"cannot write {path}: {reason(error)}{again}")
            code = EXIT_FAILED
    return code


def _write(name: str, document: Document, path: Path, complain: Callable[[str], None]) -> None:
    if name == "tensorboard":
        from bench.results.export import tensorboard

        tensorboard.write(document, path)
        complain(f"look at it with: tensorboard --logdir {path}")
    elif name == "wandb":
        from bench.results.export import weights_and_biases

        folders = weights_and_biases.write(document, path)
        complain(f"{len(folders)} offline runs below {path / 'wandb'}; `wandb sync FOLDER` sends one")
    else:
        write_atomically(path, FORMATS[name](document))
