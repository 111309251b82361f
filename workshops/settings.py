"""What `dlbox tune` found for this machine, one setting a workload: a small JSON file in the user's data folder.

An entry counts only where it was measured: same processor and card, same framework versions, same workload. Any other
is left out, with the reason.
"""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Literal

import msgspec
import platformdirs

from common import inputs
from workshops import files

SCHEMA_VERSION = 1
_LARGEST_BYTES = 4 << 20


Precision = Literal["tf32", "mixed_float16", "mixed_bfloat16"]
"""Other numbers than float32: see ``workshops.precision``."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is trained.

    ``batch_size`` and ``precision`` change what is learned, and are stored only where the model reached its accuracy
    bar with them; nothing else here changes what is computed beyond rounding.
    """

    backend: str
    layers: Literal["stock", "fast", "split", "loops"] = "stock"
    """As ``workshops.fast.quicken`` says; "stock": Keras' own."""
    jit: bool | None = None
    """Keras' ``jit_compile``; None: Keras decides."""
    steps_per_execution: int = 1
    """Batches that one call of the compiled function trains on."""
    precision: Precision | None = None
    """None: float32."""
    batch_size: int | None = None
    """None: the workshop's. Lessons have their own."""

    @property
    def told(self) -> str:
        compiled = {None: "", True: ", XLA", False: ", no XLA"}[self.jit]
        steps = f", {self.steps_per_execution} steps a call" if self.steps_per_execution > 1 else ""
        numbers = f", {self.precision}" if self.precision else ""
        batch = f", batch {self.batch_size}" if self.batch_size else ""
        return f"{self.backend}, {self.layers} layers{compiled}{steps}{numbers}{batch}"

    @property
    def learns_otherwise(self) -> bool:
        return self.precision is not None or self.batch_size is not None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A setting and what it was measured with; rates in samples/s."""

    setting: Setting
    fingerprint: str
    """Of the workload."""
    device: str
    versions: dict[str, str]
    samples_per_second: float
    default_samples_per_second: float
    at: str
    """ISO 8601, UTC."""


class Book(msgspec.Struct, frozen=True, kw_only=True):
    schema_version: int = SCHEMA_VERSION
    entries: dict[str, Entry] = {}
    """By name of the workload."""


class SettingsError(Exception):
    """The file cannot be read or written; the message is one sentence and says what to do."""


def default_path() -> Path:
    return Path(platformdirs.user_data_dir("dlbox")) / "tuned.json"


def read(path: Path | None = None) -> Book:
    """Nothing where there is no file. Raises SettingsError for one that is damaged or of a later dlbox."""
    path = path or default_path()
    try:
        book = msgspec.json.decode(inputs.read_bytes(path, _LARGEST_BYTES), type=Book)
    except inputs.InputError as error:
        if error.missing:
            return Book()
        why = error.reason or "it is too large"
        raise SettingsError(
            f"cannot read the tuned settings {path} ({why}): remove the file and tune again"
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(
            f"cannot read the tuned settings {path} ({error}): remove the file and tune again"
        ) from error
    if book.schema_version > SCHEMA_VERSION:
        raise SettingsError(
            f"the tuned settings {path} are of a later dlbox: update this one, or remove the file"
        )
    return book


def keep(name: str, entry: Entry, path: Path | None = None) -> None:
    """Put ``entry`` in the place of an earlier one; the file is written whole or not at all. Raises SettingsError."""
    path = path or default_path()
    book = read(path)
    book = msgspec.structs.replace(book, entries={**book.entries, name: entry})
    text = msgspec.json.format(msgspec.json.encode(book), indent=1) + b"\n"
    try:
        files.write(path, lambda new: new.write_bytes(text), private=True)
    except OSError as error:
        raise SettingsError(
            f"cannot write the tuned settings {path} ({error.strerror or error}): make room there, or set "
            "XDG_DATA_HOME to a folder that you can write to"
        ) from error


def installed(backend: str) -> dict[str, str]:
    """Versions of Python, Keras, NumPy and ``backend``, read without importing them; "none" for what is not there."""
    wheels = {"tensorflow": ("tensorflow", "tensorflow-cpu")}
    found = {"python": platform.python_version()}
    for name in ("keras", "numpy", backend):
        found[name] = "none"
        for wheel in wheels.get(name, (name,)):
            try:
                found[name] = importlib.metadata.version(wheel)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def stale(entry: Entry, *, fingerprint: str, device: str, versions: dict[str, str]) -> str:
    """Why ``entry`` does not count here and now; empty where it does. ``versions``: what is installed."""
    if entry.fingerprint != fingerprint:
        return "the workload has changed since"
    if entry.device != device:
        return f"it was measured on {entry.device}, and this is {device}"
    for name, version in entry.versions.items():
        if versions.get(name) != version:
            return f"it was measured with {name} {version}, and here is {versions.get(name, 'none')}"
    return ""
