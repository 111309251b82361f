"""The file in which `dlbox tune` stores the fastest setting of each workload on this machine (JSON).

An entry is valid only with the processor, card, framework versions and workload that it was measured with.
"""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Literal

import msgspec
import platformdirs

from common.file_access import inputs
from common.file_access.files import write_atomically

SCHEMA_VERSION = 1
_LARGEST_BYTES = 4 << 20


Precision = Literal["tf32", "mixed_float16", "mixed_bfloat16"]
"""Precisions of training other than float32: see ``workshops.speed.precision``."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """The settings with which a model trains fast.

    ``batch_size`` and ``precision`` change the training. They are stored only if the model reached its minimum accuracy
    with them. The other fields change results only by rounding.
    """

    backend: str
    layers: Literal["stock", "fast", "split", "loops"] = "stock"
    """See ``workshops.fast.quicken``; "stock": the layers of Keras."""
    jit: bool | None = None
    """Value of Keras' ``jit_compile``. None: Keras decides."""
    steps_per_execution: int = 1
    """Number of batches per call of the compiled training function."""
    precision: Precision | None = None
    """None: float32."""
    batch_size: int | None = None
    """Examples per batch. None: the batch size of the workload. Lessons set their own batch size."""

    @property
    def summary(self) -> str:
        compiled = {None: "", True: ", XLA", False: ", no XLA"}[self.jit]
        steps = f", {self.steps_per_execution} steps a call" if self.steps_per_execution > 1 else ""
        numbers = f", {self.precision}" if self.precision else ""
        batch = f", batch {self.batch_size}" if self.batch_size else ""
        return f"{self.backend}, {self.layers} layers{compiled}{steps}{numbers}{batch}"

    @property
    def changes_training(self) -> bool:
        return self.precision is not None or self.batch_size is not None


class TunedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A setting, and the conditions under which it was measured. Rates are in samples/s."""

    setting: Setting
    fingerprint: str
    """Of the workload."""
    device: str
    versions: dict[str, str]
    samples_per_second: float
    default_samples_per_second: float
    at: str
    """ISO 8601, UTC."""


class TunedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Content of the file of tuned settings."""

    schema_version: int = SCHEMA_VERSION
    entries: dict[str, TunedEntry] = {}
    """Name of the workload -> its setting."""


class TunedSettingsError(Exception):
    """The file cannot be read or written. The message is one sentence that says what to do."""


def default_path() -> Path:
    return Path(platformdirs.user_data_dir("dlbox")) / "tuned.json"


def read(path: Path | None = None) -> TunedSettings:
    """The stored settings. Without a file, there are none.

    Raises TunedSettingsError for a file that is damaged or was written by a later version of dlbox.
    """
    path = path or default_path()
    try:
        book = msgspec.json.decode(inputs.read_bytes(path, _LARGEST_BYTES), type=TunedSettings)
    except inputs.InputError as error:
        if error.missing:
            return TunedSettings()
        why = error.reason or "it is too large"
        raise TunedSettingsError(
            f"cannot read the tuned settings {path} ({why}): remove the file and tune again"
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TunedSettingsError(
            f"cannot read the tuned settings {path} ({error}): remove the file and tune again"
        ) from error
    if book.schema_version > SCHEMA_VERSION:
        raise TunedSettingsError(
            f"the tuned settings {path} were written by a later version of dlbox: update dlbox, or remove the file"
        )
    return book


def store(name: str, entry: TunedEntry, path: Path | None = None) -> None:
    """Store ``entry`` and replace an earlier one. The file is replaced atomically. Raises TunedSettingsError."""
    path = path or default_path()
    book = read(path)
    book = msgspec.structs.replace(book, entries={**book.entries, name: entry})
    text = msgspec.json.format(msgspec.json.encode(book), indent=1) + b"\n"
    try:
        write_atomically(path, text, private=True)
    except OSError as error:
        raise TunedSettingsError(
            f"cannot write the tuned settings {path} ({error.strerror or error}): free some space there, or set "
            "XDG_DATA_HOME to a folder that you can write to"
        ) from error


def installed(backend: str) -> dict[str, str]:
    """Versions of Python, Keras, NumPy and ``backend``, read without importing them; "none" for one that is not
    installed."""
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


def stale(entry: TunedEntry, *, fingerprint: str, device: str, versions: dict[str, str]) -> str:
    """The reason why ``entry`` is not valid on this machine; empty if it is valid. ``versions``: the installed
    versions."""
    if entry.fingerprint != fingerprint:
        return "the workload has changed since then"
    if entry.device != device:
        return f"it was measured on {entry.device}, but this is {device}"
    for name, version in entry.versions.items():
        if versions.get(name) != version:
            return f"it was measured with {name} {version}; installed: {versions.get(name, 'none')}"
    return ""
