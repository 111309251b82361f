"""The functions that every lesson uses: list the expected values, train, draw, and compare the measured values."""

from __future__ import annotations

import json
import math
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from common.file_access.files import write_atomically, write_with
from common.terminal.shown import visible
from workshops.player import files, lines, questions
from workshops.player.expected import Expected, Lesson
from workshops.player.live import (
    LessonTimes,
    TrainingProgress,
    cell,
    columns,
    duration,
    expected_range,
    number,
    open_on_desktop,
)
from workshops.player.outcome import LessonError, LessonOptions, LessonResult, MeasuredValue
from workshops.speed import defaults, tuned
from workshops.speed.settings import TunedSettingsError

__all__ = ["LessonPage", "LessonResult"]


@dataclass
class LessonPage:
    """One run of a lesson. Text goes to ``out``, progress to ``progress``."""

    lesson: Lesson
    options: LessonOptions = field(default_factory=LessonOptions)
    out: TextIO = field(default_factory=lambda: sys.stdout)
    progress: TextIO = field(default_factory=lambda: sys.stderr)
    notebook: bool = False
    measured: list[MeasuredValue] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    saved: list[Path] = field(default_factory=list)
    unwritten: list[Path] = field(default_factory=list)
    added: dict[str, Expected] = field(default_factory=dict)
    start: float = field(default_factory=time.perf_counter)
    column: int = 0

    @property
    def expected(self) -> dict[str, Expected]:
        """Name -> expected value in this run: the values of the lesson, and those that ``expect`` added."""
        options = self.options
        known = self.lesson.expected_values(quick=options.quick, data=options.data_set, model=options.only)
        return {e.name: e for e in known} | self.added

    # -- text ---------------------------------------------------------------------------------------

    @property
    def width(self) -> int:
        """Maximum length of a line in characters."""
        return columns(self.out, self.notebook)

    def say(self, text: str = "") -> None:
        """Print a paragraph, wrapped."""
        self.out.write(textwrap.fill(" ".join(visible(text).split()), self.width) + "\n")
        self.out.flush()

    def line(self, text: str = "") -> None:
        """Print one line without changing its spaces (for numbers, matrices). A line wider than the terminal is
        wrapped."""
        self.out.write(f"{lines.folded(visible(text), self.width)}\n")
        self.column = 0
        self.out.flush()

    def heading(self, text: str) -> None:
        text = visible(text)
        self.out.write(f"\n{text}\n{'-' * min(len(text), self.width)}\n")

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print aligned columns. Floats have four decimals."""
        for line in lines.table(headers, [[cell(value) for value in row] for row in rows], self.width):
            self.line(line)

    def stream(self, text: str) -> None:
        """Print text without a line end. A line that is full is wrapped."""
        text, self.column = lines.flowed(visible(text), self.column, self.width)
        self.out.write(text)
        self.out.flush()

    # -- before --------------------------------------------------------------------------------------

    def announce(self) -> None:
        """Print title, data, duration and expected values. Raises LessonError if pictures cannot be written."""
        lesson, options = self.lesson, self.options
        try:
            files.check_writable(self.folder)
        except OSError as error:
            raise LessonError(
                f"Cannot write pictures to {self.folder}: {error.strerror}; choose another --output."
            ) from None
        self.out.write(f"{lesson.title}\n{'=' * len(lesson.title)}\n")
        self.say(lesson.about)
        named = f" ({options.corpus})" if options.corpus else ""
        self.say(f"Data: {lesson.describe_data(options.data_set)}{named}.")
        self.say(self._time())
        expected = self.expected.values()
        if expected:
            self.say("Expected values:")
            self.table(("", "expected"), [(e.name, expected_range(e)) for e in expected])
        own = any(options.data_set in e.data and "embedded" not in e.data for e in expected)
        no_range = dict(lesson.without_ranges).get(options.data_set)
        if no_range and not own:
            self.say(no_range)
        if expected and options.epochs is not None:
            self.say(
                f"The ranges are valid for the lesson's own number of epochs, not for --epochs {options.epochs}."
            )

    def expect(self, expected: Sequence[Expected], where: str) -> None:
        """Add expected values that were computed from the data, and print them before the training."""
        self.added |= {e.name: e for e in expected}
        self.say(f"Expected values {where}:")
        self.table(("", "expected"), [(e.name, expected_range(e)) for e in expected])

    def _time(self) -> str:
        lesson, options = self.lesson, self.options
        usual = duration(lesson.quick_seconds if options.quick else lesson.full_seconds)
        last = LessonTimes.load().get(self._key())
        here = f"; the last run on this machine took {duration(last)}" if last else ""
        if options.is_default:
            return f"Time: about {usual} on two CPU cores with TensorFlow{here}."
        own_data = " with its own data" if options.data_set != "embedded" else ""
        return (
            f"Time: unknown for these options (the whole lesson{own_data} takes about {usual} on two CPU cores with "
            f"TensorFlow){here}."
        )

    def choose(self, asked: str | None, available: Sequence[str], what: str = "model") -> list[str]:
        """The requested model or cell, or all of them. Raises LessonError for one that the lesson does not have."""
        if asked is None:
            return list(available)
        if asked not in available:
            raise LessonError(
                f"The lesson {self.lesson.name} has no {what} {asked!r}; choose from {', '.join(available)}."
            )
        return [asked]

    def epochs(self, full: int, quick: int) -> int:
        """Number of epochs: the value of ``--epochs``, else that of the lesson."""
        if self.options.epochs is not None:
            return self.options.epochs
        return quick if self.options.quick else full

    # -- training ------------------------------------------------------------------------------------

    def seed(self) -> None:
        """Clear earlier models and reset the random numbers, so that a model learns the same whether others were
        trained before it or not."""
        import keras

        keras.utils.clear_session()
        keras.utils.set_random_seed(self.options.seed)

    def fit(
        self,
        model: Any,
        inputs: Any,
        targets: Any,
        *,
        epochs: int,
        batch_size: int = 32,
        validation: tuple[Any, Any] | None = None,
        weights: Any = None,
        each_epoch: Callable[[int], None] | None = None,
    ) -> dict[str, list[float]]:
        """Call ``model.fit`` and show its progress. Returns the history: for each metric one number per epoch."""
        import keras

        count = len(inputs[0]) if isinstance(inputs, (list, tuple)) else len(inputs)
        show = TrainingProgress(
            self.progress, model.name, epochs, math.ceil(count / batch_size), self.notebook
        )
        events: dict[str, Any] = {
            "on_epoch_begin": lambda epoch, logs: show.epoch_begins(epoch),
            "on_epoch_end": lambda epoch, logs: show.epoch_ended(epoch, logs),
        }
        if show.live:
            events["on_train_batch_end"] = lambda batch, logs: show.batch(batch)
        callbacks = [keras.callbacks.LambdaCallback(**events)]
        if each_epoch is not None:
            callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: each_epoch(e)))
        callbacks[0].async_safe = True
        tuned_model = self._apply_tuned(model)
        with nullcontext() if tuned_model else defaults.for_training(model), show:
            history = model.fit(
                inputs,
                targets,
                epochs=epochs,
                batch_size=batch_size,
                validation_data=validation,
                sample_weight=weights,
                callbacks=callbacks,
                verbose=0,
            )
        return {name: [float(v) for v in values] for name, values in history.history.items()}

    def _apply_tuned(self, model: Any) -> bool:
        try:
            chosen = tuned.stored_setting(self.lesson.workload(model.name))
        except TunedSettingsError as error:
            raise LessonError(str(error)) from error
        used = tuned.apply(model, chosen) if chosen else None
        if used is None:
            return False
        self.say(f"{model.name} is trained with the settings that `dlbox tune` stored: {used.summary}.")
        return True

    def save_model(self, model: Any, name: str, **extra: Any) -> None:
        """With ``--save``: write the model to ``NAME.keras`` and its values to ``NAME.json``, each atomically."""
        if not self.options.save:
            return
        path = self.folder / f"{name}.keras"
        note = {
            "lesson": self.lesson.name,
            "model": name,
            "seed": self.options.seed,
            **extra,
            "numbers": {m.name: m.value for m in self.measured},
        }
        try:
            write_with(path, model.save)
            write_atomically(path.with_suffix(".json"), json.dumps(note, indent=1) + "\n")
        except OSError as error:
            self._could_not_write(path, error)
            return
        self.saved.append(path)
        self.line(f"saved {path}")

    def _could_not_write(self, path: Path, error: OSError) -> None:
        self.unwritten.append(path)
        self.say(
            f"Cannot write {path}: {error.strerror or error}. An earlier file there is unchanged; the "
            f"lesson continues."
        )

    # -- pictures ------------------------------------------------------------------------------------

    @contextmanager
    def figure(
        self, name: str, title: str, *, columns: int = 1, size: tuple[float, float] = (8, 4)
    ) -> Iterator[Any]:
        """Context manager for a picture: yields axes to draw on (a list for several columns), then shows the
        picture and saves it as PNG."""
        import matplotlib

        if not self.notebook:
            matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(1, columns, figsize=size, layout="constrained")
        figure.suptitle(title)
        yield list(axes) if columns > 1 else axes
        path = self.folder / f"{name}.png"
        try:
            write_with(path, lambda new: figure.savefig(new, dpi=110))
        except OSError as error:
            self._could_not_write(path, error)
        else:
            self.pictures.append(path)
        if self.notebook:
            from IPython.display import display

            display(figure)
        elif path in self.pictures:
            self.line(f"[picture: {title}: {path}]")
            if self.options.show:
                open_on_desktop(path)
        plt.close(figure)

    def curves(
        self, name: str, title: str, histories: Mapping[str, Mapping[str, Sequence[float]]], key: str
    ) -> None:
        """Draw one metric over the epochs, with one colour per model: training dashed, validation solid."""
        with self.figure(name, title) as axes:
            for i, (model, history) in enumerate(histories.items()):
                colour = f"C{i % 10}"
                epochs = range(1, len(history[key]) + 1)
                axes.plot(epochs, history[key], "--", color=colour, alpha=0.6)
                axes.plot(epochs, history.get(f"val_{key}", history[key]), color=colour, label=model)
            axes.set_xlabel("epoch (dashed: training, solid: validation)")
            axes.set_ylabel(key)
            axes.legend()

    # -- after ---------------------------------------------------------------------------------------

    def measure(self, name: str, value: float) -> float:
        """Record a measured value. ``close`` compares it with its expected range."""
        self.measured.append(MeasuredValue(name, float(value), self.expected.get(name)))
        return value

    def close(self, *, partial: bool = False) -> LessonResult:
        """Compare the measured values with their ranges and explain deviations. ``partial``: the run was
        interrupted."""
        import keras

        seconds = time.perf_counter() - self.start
        if self.measured:
            self.heading("Results until the interruption" if partial else "Results")
            self.table(
                ("", "measured", "expected", ""),
                [
                    (
                        m.name,
                        number(m.value),
                        expected_range(m.expected),
                        ("ok" if m.ok else "OFF") if m.expected else "",
                    )
                    for m in self.measured
                ],
            )
        for m in self.measured:
            if m.expected and not m.ok:
                self.say(f"{m.name}: {self._why(m)}")
        if self.unwritten:
            self.say(f"Not written: {', '.join(map(str, self.unwritten))}.")
        if partial:
            expected = self.expected.keys()
            missing = len(expected - {m.name for m in self.measured})
            self.say(
                f"Interrupted after {duration(seconds)}: {missing} of {len(expected)} values are missing."
            )
        else:
            LessonTimes.store(self._key(), seconds)
            self.say(f"Took {duration(seconds)}.")
            self._show_questions()
        return LessonResult(
            self.lesson.name,
            self.options,
            keras.backend.backend(),
            tuple(self.measured),
            tuple(self.pictures),
            tuple(self.saved),
            seconds,
            partial,
            tuple(self.unwritten),
        )

    def _show_questions(self) -> None:
        """Print the questions at the end of the lesson. A notebook has them in its last cell."""
        if self.notebook:
            return
        heading, paragraphs = questions.closing_questions(self.lesson)
        self.heading(heading)
        for paragraph in paragraphs:
            self.say(paragraph)

    def _why(self, m: MeasuredValue) -> str:
        assert m.expected is not None  # noqa: S101
        if self.options.epochs is not None:
            return (
                f"the range is for the lesson's own number of epochs, not for --epochs {self.options.epochs}."
            )
        return f"{m.expected.if_off} (Source of the range: {m.expected.why}.)"

    @property
    def folder(self) -> Path:
        """Folder for pictures and models of this lesson."""
        return self.options.output / self.lesson.name

    def _key(self) -> str:
        import keras

        return self.options.key(self.lesson.name, keras.backend.backend())
