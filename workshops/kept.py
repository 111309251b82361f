"""The models that ``run --save`` kept: find one, load it, see that it is of the lesson that is asked."""

from __future__ import annotations

import importlib
import zipfile
from pathlib import Path
from typing import Any

from common import inputs
from common.shown import shortened
from workshops.catalog import Lesson
from workshops.data import archive
from workshops.page import LessonError

Shape = tuple[int | None, ...]

SHAPES: dict[str, tuple[tuple[tuple[Shape, ...], Shape], ...]] = {
    "seq2seq": ((((7, 12),), (4, 12)), (((7, 12), (4, 13)), (4, 12))),
    "text-classification": ((((34,),), (1,)), (((300,),), (1,))),
    "attention": ((((34,),), (1,)),),
    "text-generation": ((((None,),), (None, None)),),
}
"""Lesson -> what its models read and what they write, without the batch; None stands for any length."""


def find(lesson: Lesson, folder: Path, model: str | None) -> Path:
    """The kept model of that name, or the newest; raises LessonError, which names those that are there."""
    there = sorted((folder / lesson.name).glob("*.keras"), key=lambda path: path.stat().st_mtime)
    if not there:
        raise LessonError(
            f"No model is kept in {folder / lesson.name}: `dlbox workshop run {lesson.name} --save` first."
        )
    if model is None:
        return there[-1]
    for path in there:
        if model in (path.stem, path.name):
            return path
    names = ", ".join(sorted(path.stem for path in there))
    raise LessonError(f"No model {model!r} is kept in {folder / lesson.name}: there is {names}.")


def load(path: Path, lesson: Lesson) -> Any:
    """The Keras model at ``path``; raises LessonError where it is damaged or was made by something else."""
    import keras

    for page in lesson.pages:
        importlib.import_module(f"workshops.{page}")  # its own layers have to be known
    again = f"`dlbox workshop run {lesson.name} --save`"
    try:
        _check_sizes(path)
    except (archive.ArchiveError, inputs.InputError, zipfile.BadZipFile, OSError, RuntimeError) as error:
        raise LessonError(f"{path} cannot be loaded: {_reason(error)}; remove it, then {again}.") from None
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # whatever a file of anybody's makes Keras say
        raise LessonError(
            f"{path} cannot be loaded: it is damaged or of another lesson; remove it, then {again}."
        ) from error
    if not fits(model, lesson):
        raise LessonError(f"{path} is no model of the lesson {lesson.name}: remove it, then {again}.")
    return model


_LARGEST_MODEL = 256 << 20
"""Bytes of all of a kept model, unpacked."""
_LARGEST_TEXTS = 8 << 20
"""Bytes of one of its JSON files."""


def _check_sizes(path: Path) -> None:
    """Keras reads a model's configuration as a whole, so its directory is looked at before."""
    with inputs.open_regular(path) as file, archive.open_zip(file, "it", _LARGEST_MODEL) as packed:
        for info in packed.infolist():
            if info.filename.endswith(".json") and info.file_size > _LARGEST_TEXTS:
                raise archive.ArchiveError(
                    f"its {shortened(info.filename)} unpacks to {info.file_size:,} bytes, "
                    f"and {_LARGEST_TEXTS:,} are the most"
                )
            parts = Path(info.filename).parts
            if info.filename.startswith("/") or ".." in parts:
                raise archive.ArchiveError(f"it holds {shortened(info.filename)!r}, which points outside")


def _reason(error: Exception) -> str:
    if isinstance(error, archive.ArchiveError):
        return str(error).rstrip(".")
    if isinstance(error, inputs.InputError):
        return error.reason
    return "it is damaged or of another lesson"


def fits(model: Any, lesson: Lesson) -> bool:
    """Does it read and write what a model of this lesson reads and writes?"""
    try:
        reads, writes = [tuple(each.shape[1:]) for each in model.inputs], tuple(model.output_shape[1:])
    except (AttributeError, TypeError):  # several outputs, or none yet
        return False
    known = any(
        len(reads) == len(inputs)
        and all(_like(read, shape) for read, shape in zip(reads, inputs, strict=True))
        and _like(writes, output)
        for inputs, output in SHAPES[lesson.name]
    )
    real = model.name.startswith("imdb_")  # these carry the words that they read
    return (
        known and real == (reads[0] == (300,)) and (not real or any(e.name == "words" for e in model.layers))
    )


def _like(shape: Shape, wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(w is None or s == w for s, w in zip(shape, wanted, strict=True))
