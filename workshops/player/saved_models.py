"""Find and load the models that `dlbox workshop run --save` saved."""

from __future__ import annotations

import importlib
import zipfile
from pathlib import Path
from typing import Any

from common.file_access import inputs
from common.terminal.shown import shortened
from workshops.data.fetch import archive
from workshops.player.expected import Lesson, SavedModelShape, Shape
from workshops.player.outcome import LessonError


def find(lesson: Lesson, folder: Path, model: str | None) -> Path:
    """Path of the saved model of that name, or of the newest. Raises LessonError with a list of the saved models."""
    saved = sorted((folder / lesson.name).glob("*.keras"), key=lambda path: path.stat().st_mtime)
    if not saved:
        raise LessonError(
            f"There is no saved model in {folder / lesson.name}: run `dlbox workshop run {lesson.name} --save` first."
        )
    if model is None:
        return saved[-1]
    for path in saved:
        if model in (path.stem, path.name):
            return path
    names = ", ".join(sorted(path.stem for path in saved))
    raise LessonError(
        f"There is no saved model {model!r} in {folder / lesson.name}; the saved models: {names}."
    )


def load(path: Path, lesson: Lesson) -> Any:
    """The Keras model at ``path``. Raises LessonError if it is damaged or is not a model of this lesson."""
    import keras

    for page in lesson.page_modules:
        importlib.import_module(page)  # Importing the module registers the lesson's own layers.
    again = f"remove it, then run `dlbox workshop run {lesson.name} --save`"
    try:
        _check_sizes(path)
    except (archive.ArchiveError, inputs.InputError, zipfile.BadZipFile, OSError, RuntimeError) as error:
        raise LessonError(f"Cannot load {path}: {_reason(error)}; {again}.") from None
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises errors of many kinds for a damaged file.
        raise LessonError(
            f"Cannot load {path}: the file is damaged or from another lesson; {again}."
        ) from error
    if not fits(model, lesson):
        raise LessonError(f"{path} is not a model of the lesson {lesson.name}: {again}.")
    return model


_LARGEST_MODEL = 256 << 20
"""Maximum size in bytes of all files in a saved model, after extraction."""
_LARGEST_JSON = 8 << 20
"""Maximum size in bytes of one JSON file in a saved model."""


def _check_sizes(path: Path) -> None:
    """Check the file sizes in the directory of the archive, because Keras reads the whole configuration into memory."""
    with inputs.open_regular(path) as file, archive.open_zip(file, "the file", _LARGEST_MODEL) as packed:
        for info in packed.infolist():
            if info.filename.endswith(".json") and info.file_size > _LARGEST_JSON:
                raise archive.ArchiveError(
                    f"its {shortened(info.filename)} has {info.file_size:,} bytes "
                    f"(at most {_LARGEST_JSON:,} are allowed)"
                )
            parts = Path(info.filename).parts
            if info.filename.startswith("/") or ".." in parts:
                raise archive.ArchiveError(
                    f"the file contains {shortened(info.filename)!r}, which points outside"
                )


def _reason(error: Exception) -> str:
    if isinstance(error, archive.ArchiveError):
        return str(error).rstrip(".")
    if isinstance(error, inputs.InputError):
        return error.reason
    return "the file is damaged or from another lesson"


def fits(model: Any, lesson: Lesson) -> bool:
    """Whether the inputs and the output of the model match those of the lesson."""
    try:
        shapes, output = [tuple(each.shape[1:]) for each in model.inputs], tuple(model.output_shape[1:])
    except (AttributeError, TypeError):  # The model has several outputs or is not built.
        return False
    named = [
        shape
        for shape in lesson.saved_models
        if shape.name_prefix and model.name.startswith(shape.name_prefix)
    ]
    candidates = named or [shape for shape in lesson.saved_models if not shape.name_prefix]
    return any(_matches(model, shapes, output, shape) for shape in candidates)


def _matches(model: Any, inputs: list[Shape], output: Shape, expected: SavedModelShape) -> bool:
    return (
        len(inputs) == len(expected.inputs)
        and all(_same_shape(own, wanted) for own, wanted in zip(inputs, expected.inputs, strict=True))
        and _same_shape(output, expected.output)
        and (not expected.layer or any(layer.name == expected.layer for layer in model.layers))
    )


def _same_shape(shape: Shape, wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(w is None or s == w for s, w in zip(shape, wanted, strict=True))
