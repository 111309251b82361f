"""Find and load the models that `dlbox workshop run --save` saved."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from workshops.player.expected import Lesson, SavedModelShape, Shape
from workshops.player.outcome import LessonError


def find(lesson: Lesson, folder: Path, model: str | None) -> Path:
    """The saved model of that name, or the newest. Raises LessonError, which names the saved models."""
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
        importlib.import_module(page)  # registers the lesson's own layers
    again = f"remove it, then run `dlbox workshop run {lesson.name} --save`"
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises errors of many kinds for a damaged file
        raise LessonError(
            f"Cannot load {path}: the file is damaged or from another lesson; {again}."
        ) from error
    if not fits(model, lesson):
        raise LessonError(f"{path} is not a model of the lesson {lesson.name}: {again}.")
    return model


def fits(model: Any, lesson: Lesson) -> bool:
    """Whether the model has the inputs and the output of a model of this lesson."""
    try:
        inputs, output = [tuple(each.shape[1:]) for each in model.inputs], tuple(model.output_shape[1:])
    except (AttributeError, TypeError):  # several outputs, or not built
        return False
    named = [
        shape
        for shape in lesson.saved_models
        if shape.name_prefix and model.name.startswith(shape.name_prefix)
    ]
    shapes = named or [shape for shape in lesson.saved_models if not shape.name_prefix]
    return any(_matches(model, inputs, output, shape) for shape in shapes)


def _matches(model: Any, inputs: list[Shape], output: Shape, expected: SavedModelShape) -> bool:
    return (
        len(inputs) == len(expected.inputs)
        and all(_same_shape(own, wanted) for own, wanted in zip(inputs, expected.inputs, strict=True))
        and _same_shape(output, expected.output)
        and (not expected.layer or any(layer.name == expected.layer for layer in model.layers))
    )


def _same_shape(shape: Shape, wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(w is None or s == w for s, w in zip(shape, wanted, strict=True))
