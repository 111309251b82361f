"""The registry of export formats. Each module in this folder registers one format here.

To add a format, add one module to this folder that calls ``register`` when it is imported. Its option then appears
in the help of `dlbox bench` and `dlbox report` (or of `dlbox check`), and the command writes it.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from bench.results import export
from bench.results.record.document import Document

Source = Literal["run", "check"]
"""What is exported: the training results of a run (`bench`, `report`), or the findings of `check`."""

Target = Literal["file", "folder", "data-folder"]
"""What the value of the option is: a file ("-" is stdout) or a folder. With "data-folder" the option has no value,
and the format writes to the folder of the history."""


class ExportFormat(msgspec.Struct, frozen=True, kw_only=True):
    """One format, as ``register`` takes it.

    option: Name of the command-line option without its dashes, for example "pytest-benchmark-json".
    source: The documents that can be exported.
    target: What the option names.
    help: The line about the option in ``--help``.
    render: Required for ``target`` "file": the content of the file.
    write: Required for the other targets: writes below the folder and returns one sentence that says how to open the
        result. Raises OSError, ValueError or ImportError.
    folder_variable: An environment variable that replaces the folder of the history for ``target`` "data-folder".
    package: A Python package that the format needs, or "".
    install_hint: One sentence that says how to install ``package``.
    """

    option: str
    source: Source
    target: Target
    help: str
    render: Callable[[Document], str] | None = None
    write: Callable[[Document, Path], str] | None = None
    folder_variable: str = ""
    package: str = ""
    install_hint: str = ""

    def __post_init__(self) -> None:
        if (self.render is None) == (self.target == "file") or (self.write is None) != (
            self.target == "file"
        ):
            raise ValueError(
                f"export format {self.option}: a file needs `render`, a folder needs `write`, and never both"
            )

    @property
    def parameter(self) -> str:
        """Name of the option as a Python identifier."""
        return self.option.replace("-", "_")

    @property
    def metavar(self) -> str:
        """Placeholder for the value in ``--help``; "" where the option has no value."""
        return {"file": "FILE", "folder": "FOLDER", "data-folder": ""}[self.target]

    @property
    def available(self) -> bool:
        """Whether the package that the format needs is installed."""
        return not self.package or importlib.util.find_spec(self.package) is not None


_REGISTERED: dict[str, ExportFormat] = {}


def register(export_format: ExportFormat) -> ExportFormat:
    """Add a format, and return it. Raises ValueError if another format has the same option."""
    other = _REGISTERED.get(export_format.option)
    if other is not None and other != export_format:
        raise ValueError(f"two export formats have the option --{export_format.option}")
    _REGISTERED[export_format.option] = export_format
    return export_format


def formats(source: Source) -> tuple[ExportFormat, ...]:
    """All formats of one source, sorted by option. Imports every module of this folder."""
    for module in pkgutil.iter_modules(export.__path__, f"{export.__name__}."):
        importlib.import_module(module.name)
    return tuple(one for _, one in sorted(_REGISTERED.items()) if one.source == source)
