"""What every lesson does the same way: say what to expect, train in the open, draw, compare at the end."""

from __future__ import annotations

import math
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from common.shown import visible
from workshops import catalog, files, lines, pace, questions, tuned
from workshops.catalog import Expected, Lesson
from workshops.live import Progress, Times, cell, columns, duration, expected_range, number, open_on_desktop
from workshops.outcome import LessonError, Measured, Outcome, Settings
from workshops.settings import SettingsError

__all__ = ["LessonError", "Measured", "Outcome", "Page", "Settings", "open_page"]


@dataclass
class Page:
    """One sitting with one lesson. Text goes to ``out``, progress to ``progress``."""

    lesson: Lesson
    settings: Settings = field(default_factory=Settings)
    out: TextIO = field(default_factory=lambda: sys.stdout)
    progress: TextIO = field(default_factory=lambda: sys.stderr)
    notebook: bool = False
    measured: list[Measured] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    saved: list[Path] = field(default_factory=list)
    unwritten: list[Path] = field(default_factory=list)
    found: dict[str, Expected] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)
    column: int = 0

    @property
    def promised(self) -> dict[str, Expected]:
        """What this very run can be held to: what the lesson says, and what was found in the data."""
        chosen = self.settings
        known = self.lesson.promises(quick=chosen.quick, data=chosen.data_set, model=chosen.only)
        return {e.name: e for e in known} | self.found

    # -- words ---------------------------------------------------------------------------------------

    @property
    def width(self) -> int:
        """Columns that a line may have."""
        return columns(self.out, self.notebook)

    def say(self, text: str = "") -> None:
        """A paragraph, wrapped."""
        self.out.write(textwrap.fill(" ".join(visible(text).split()), self.width) + "\n")
        self.out.flush()

    def line(self, text: str = "") -> None:
        """One line as it stands (numbers, matrices); one that is too long for the terminal is folded."""
        self.out.write(f"{lines.folded(visible(text), self.width)}\n")
        self.column = 0
        self.out.flush()

    def heading(self, text: str) -> None:
        text = visible(text)
        self.out.write(f"\n{text}\n{'-' * min(len(text), self.width)}\n")

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Columns aligned; floats with four digits after the point."""
        for line in lines.table(headers, [[cell(value) for value in row] for row in rows], self.width):
            self.line(line)

    def stream(self, text: str) -> None:
        """Text as it comes, no line end but where the terminal's line is full."""
        text, self.column = lines.flowed(visible(text), self.column, self.width)
        self.out.write(text)
        self.out.flush()

    # -- before --------------------------------------------------------------------------------------

    def announce(self) -> None:
        """Title, data, how long, and what should come out; raises LessonError where pictures cannot be written."""
        lesson, settings = self.lesson, self.settings
        try:
            files.try_out(self.folder)
        except OSError as error:
            raise LessonError(
                f"Cannot write pictures to {self.folder}: {error.strerror}; choose another --output."
            ) from None
        self.out.write(f"{lesson.title}\n{'=' * len(lesson.title)}\n")
        self.say(lesson.about)
        named = f" ({settings.corpus})" if settings.corpus else ""
        self.say(f"Data: {lesson.data_named(settings.data_set)}{named}.")
        self.say(self._time())
        promised = self.promised.values()
        if promised:
            self.say("What should come out:")
            self.table(("", "expected"), [(e.name, expected_range(e)) for e in promised])
        own = any(settings.data_set in e.data and "embedded" not in e.data for e in promised)
        unknown = dict(lesson.unknown).get(settings.data_set)
        if unknown and not own:
            self.say(unknown)
        if promised and settings.epochs is not None:
            self.say(
                f"The ranges are for the lesson's own number of epochs; you asked for {settings.epochs}."
            )

    def promise(self, expected: Sequence[Expected], why: str) -> None:
        """Say what the data itself lets one expect, before the training that is held to it."""
        self.found |= {e.name: e for e in expected}
        self.say(f"What should come out, {why}:")
        self.table(("", "expected"), [(e.name, expected_range(e)) for e in expected])

    def _time(self) -> str:
        lesson, settings = self.lesson, self.settings
        usual = (
            f"{duration(lesson.quick_seconds if settings.quick else lesson.full_seconds)} on two CPU cores"
        )
        last = Times.load().get(self._key())
        here = f"; on this box it took {duration(last)} last time" if last else ""
        if settings.usual:
            return f"Time: about {usual} with TensorFlow{here}."
        whole = (
            "all of the lesson, on its own data" if settings.data_set != "embedded" else "all of the lesson"
        )
        return f"Time: not known for this choice ({whole}: about {usual} with TensorFlow){here}."

    def choose(self, asked: str | None, there_are: Sequence[str], what: str = "model") -> list[str]:
        """The one asked for, or all; raises LessonError for one that this lesson does not have."""
        if asked is None:
            return list(there_are)
        if asked not in there_are:
            raise LessonError(
                f"The lesson {self.lesson.name} has no {what} {asked!r}: there are {', '.join(there_are)}."
            )
        return [asked]

    def epochs(self, full: int, quick: int) -> int:
        """How often to go through the data: the learner's number, else the lesson's."""
        if self.settings.epochs is not None:
            return self.settings.epochs
        return quick if self.settings.quick else full

    # -- training ------------------------------------------------------------------------------------

    def seed(self) -> None:
        """Forget earlier models, start the random numbers again: each model is the same alone or in a row."""
        import keras

        keras.utils.clear_session()
        keras.utils.set_random_seed(self.settings.seed)

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
        quiet: bool = False,
    ) -> dict[str, list[float]]:
        """``model.fit`` with a progress line of our own; returns the history, one number an epoch."""
        import keras

        count = len(inputs[0]) if isinstance(inputs, (list, tuple)) else len(inputs)
        show = Progress(
            self.progress, model.name, epochs, math.ceil(count / batch_size), quiet, self.notebook
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
        with nullcontext() if self._as_tuned(model) else pace.usual(model):
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
        show.done()
        return {name: [float(v) for v in values] for name, values in history.history.items()}

    def _as_tuned(self, model: Any) -> bool:
        try:
            chosen = tuned.setting(self.lesson.name, model.name)
        except SettingsError as error:
            raise LessonError(str(error)) from error
        used = tuned.apply(model, chosen) if chosen else None
        if used is None:
            return False
        self.say(f"{model.name} is trained as `dlbox tune` found: {used.told}.")
        return True

    def keep(self, model: Any, name: str, **extra: Any) -> None:
        """With ``--save``: the model as ``NAME.keras`` and its numbers beside it, whole or not at all."""
        if not self.settings.save:
            return
        path = self.folder / f"{name}.keras"
        note = {
            "lesson": self.lesson.name,
            "model": name,
            "seed": self.settings.seed,
            **extra,
            "numbers": {m.name: m.value for m in self.measured},
        }
        try:
            files.write(path, model.save)
            files.write_json(path.with_suffix(".json"), note)
        except OSError as error:
            self._could_not_write(path, error)
            return
        self.saved.append(path)
        self.line(f"saved {path}")

    def _could_not_write(self, path: Path, error: OSError) -> None:
        self.unwritten.append(path)
        self.say(
            f"Cannot write {path}: {error.strerror or error}. What was there before is as it was; going on."
        )

    # -- pictures ------------------------------------------------------------------------------------

    @contextmanager
    def figure(
        self, name: str, title: str, *, columns: int = 1, size: tuple[float, float] = (8, 4)
    ) -> Iterator[Any]:
        """One picture: axes to draw on (a list of them for several columns); shown and saved as PNG."""
        import matplotlib

        if not self.notebook:
            matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(1, columns, figsize=size, layout="constrained")
        figure.suptitle(title)
        yield list(axes) if columns > 1 else axes
        path = self.folder / f"{name}.png"
        try:
            files.write(path, lambda new: figure.savefig(new, dpi=110))
        except OSError as error:
            self._could_not_write(path, error)
        else:
            self.pictures.append(path)
        if self.notebook:
            from IPython.display import display

            display(figure)
        elif path in self.pictures:
            self.line(f"[picture: {title}: {path}]")
            if self.settings.show:
                open_on_desktop(path)
        plt.close(figure)

    def curves(
        self, name: str, title: str, histories: Mapping[str, Mapping[str, Sequence[float]]], key: str
    ) -> None:
        """One quantity over the epochs, training dashed and validation solid, one colour a model."""
        with self.figure(name, title) as axes:
            for i, (model, history) in enumerate(histories.items()):
                colour = f"C{i % 10}"
                epochs = range(1, len(history[key]) + 1)
                axes.plot(epochs, history[key], "--", color=colour, alpha=0.6)
                axes.plot(epochs, history.get(f"val_{key}", history[key]), color=colour, label=model)
            axes.set_xlabel("epoch (dashed: training, solid: held out)")
            axes.set_ylabel(key)
            axes.legend()

    # -- after ---------------------------------------------------------------------------------------

    def measure(self, name: str, value: float) -> float:
        """Note a number that came out; it is compared with what was promised at the end."""
        self.measured.append(Measured(name, float(value), self.promised.get(name)))
        return value

    def close(self, *, partial: bool = False) -> Outcome:
        """Compare what came out with what should have, and say why where it did not; ``partial``: stopped early."""
        import keras

        seconds = time.perf_counter() - self.began
        if self.measured:
            self.heading("What came out until it was stopped" if partial else "What came out")
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
            promised = self.promised.keys()
            missing = len(promised - {m.name for m in self.measured})
            self.say(f"Stopped after {duration(seconds)}: {missing} of {len(promised)} numbers are missing.")
        else:
            Times.remember(self._key(), seconds)
            self.say(f"Took {duration(seconds)}.")
            self._ask()
        return Outcome(
            self.lesson.name,
            self.settings,
            keras.backend.backend(),
            tuple(self.measured),
            tuple(self.pictures),
            tuple(self.saved),
            seconds,
            partial,
            tuple(self.unwritten),
        )

    def _ask(self) -> None:
        """The questions at the end of the lesson's text; a notebook has them in its last cell."""
        if self.notebook:
            return
        heading, paragraphs = questions.ending(self.lesson)
        self.heading(heading)
        for paragraph in paragraphs:
            self.say(paragraph)

    def _why(self, m: Measured) -> str:
        assert m.expected is not None  # noqa: S101
        if self.settings.epochs is not None:
            return f"you asked for {self.settings.epochs} epoch(s); the range is for the lesson's own number."
        return f"{m.expected.if_off} (The range: {m.expected.why}.)"

    @property
    def folder(self) -> Path:
        """Where pictures and models of this lesson go."""
        return self.settings.output / self.lesson.name

    def _key(self) -> str:
        import keras

        return self.settings.key(self.lesson.name, keras.backend.backend())


def open_page(name: str, *, quick: bool = True, seed: int = 0, data: str = "embedded") -> Page:
    """The page of lesson ``name`` for a notebook: text and pictures appear under the cells."""
    page = Page(
        catalog.find(name),
        Settings(quick=quick, seed=seed, data=data),
        out=sys.stdout,
        progress=sys.stdout,
        notebook=True,
    )
    page.announce()
    return page
