"""What every lesson does the same way: say what to expect, train in the open, draw, compare at the end."""

from __future__ import annotations

import json
import math
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TextIO

from workshops import catalog, pace, tuned
from workshops.catalog import Expected, Lesson
from workshops.live import Progress, Times, cell, columns, duration, expected_range, number, open_on_desktop
from workshops.settings import SettingsError


class LessonError(Exception):
    """What a learner asked for cannot be done; the message is one sentence for them."""


@dataclass(frozen=True)
class Settings:
    """What a learner may choose. ``epochs`` None: the lesson's own number."""

    model: str | None = None
    cell: str | None = None
    epochs: int | None = None
    quick: bool = False
    seed: int = 0
    data: str = "embedded"
    corpus: Path | None = None
    output: Path = Path("dlbox-results/workshop")
    save: bool = False
    show: bool = False


@dataclass(frozen=True)
class Measured:
    """A number that came out, and the range it should be in (None: nothing was promised)."""

    name: str
    value: float
    expected: Expected | None = None

    @property
    def ok(self) -> bool:
        return self.expected is None or self.expected.holds(self.value)


@dataclass(frozen=True)
class Outcome:
    """What a run of a lesson gave. ``ok``: every promised number is in its range."""

    lesson: str
    settings: Settings
    backend: str
    measured: tuple[Measured, ...]
    pictures: tuple[Path, ...]
    saved: tuple[Path, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        return all(m.ok for m in self.measured)

    def value(self, name: str) -> float:
        """The number called ``name``; raises KeyError."""
        return {m.name: m.value for m in self.measured}[name]

    def document(self) -> dict[str, Any]:
        """The outcome as one JSON document."""
        values = asdict(self)
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in values["settings"].items()}
        files = {k: [str(p) for p in values[k]] for k in ("pictures", "saved")}
        for m in values["measured"]:
            if m["expected"] and math.isinf(m["expected"]["high"]):
                m["expected"]["high"] = None  # JSON has no infinity
        measured = [
            {**m, "value": m["value"] if math.isfinite(m["value"]) else None, "ok": own.ok}
            for m, own in zip(values["measured"], self.measured, strict=True)
        ]
        return {
            "schema_version": 1,
            **values,
            "settings": settings,
            **files,
            "measured": measured,
            "ok": self.ok,
        }


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
    began: float = field(default_factory=time.perf_counter)

    # -- words ---------------------------------------------------------------------------------------

    def say(self, text: str = "") -> None:
        """A paragraph, wrapped."""
        self.out.write(textwrap.fill(" ".join(text.split()), columns(self.out, self.notebook)) + "\n")
        self.out.flush()

    def line(self, text: str = "") -> None:
        """One line as it stands (numbers, matrices)."""
        self.out.write(f"{text}\n")
        self.out.flush()

    def heading(self, text: str) -> None:
        self.out.write(f"\n{text}\n{'-' * len(text)}\n")

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Columns aligned; floats with four digits after the point."""
        cells = [list(headers), *([cell(value) for value in row] for row in rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
        for row in cells:
            parts = [
                text.ljust(width) if i == 0 else text.rjust(width)
                for i, (text, width) in enumerate(zip(row, widths, strict=True))
            ]
            self.line("  " + "  ".join(parts).rstrip())

    def stream(self, text: str) -> None:
        """Text as it comes, no line end."""
        self.out.write(text)
        self.out.flush()

    # -- before --------------------------------------------------------------------------------------

    def announce(self) -> None:
        """Title, data, how long, and what should come out."""
        lesson, quick = self.lesson, self.settings.quick
        self.out.write(f"{lesson.title}\n{'=' * len(lesson.title)}\n")
        self.say(lesson.about)
        self.say(f"Data: {lesson.data if self.settings.data == 'embedded' else self.settings.data}.")
        usual = lesson.quick_seconds if quick else lesson.full_seconds
        last = Times.load().get(self._key())
        here = f"; on this box it took {duration(last)} last time" if last else ""
        self.say(f"Time: about {duration(usual)} on two CPU cores with TensorFlow{here}.")
        promised = lesson.promises(
            quick=quick, data=self.settings.data, model=self.settings.model or self.settings.cell
        )
        if promised:
            self.say("What should come out:")
            self.table(("", "expected"), [(e.name, expected_range(e)) for e in promised])

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
        """With ``--save``: the model as ``NAME.keras`` and its numbers beside it."""
        if not self.settings.save:
            return
        folder = self._folder()
        path = folder / f"{name}.keras"
        model.save(path)
        numbers = {m.name: m.value for m in self.measured}
        note = {
            "lesson": self.lesson.name,
            "model": name,
            "seed": self.settings.seed,
            **extra,
            "numbers": numbers,
        }
        (folder / f"{name}.json").write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
        self.saved.append(path)
        self.line(f"saved {path}")

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
        path = self._folder() / f"{name}.png"
        figure.savefig(path, dpi=110)
        self.pictures.append(path)
        if self.notebook:
            from IPython.display import display

            display(figure)
        else:
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
        """Note a number that came out; it is compared with the lesson's promise at the end."""
        expected = self.lesson.expects(name, quick=self.settings.quick)
        self.measured.append(Measured(name, float(value), expected))
        return value

    def close(self) -> Outcome:
        """Compare what came out with what should have, and say why where it did not."""
        import keras

        seconds = time.perf_counter() - self.began
        if self.measured:
            self.heading("What came out")
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
        if self.settings == replace(Settings(), quick=self.settings.quick, output=self.settings.output):
            Times.remember(self._key(), seconds)
        self.say(f"Took {duration(seconds)}.")
        return Outcome(
            self.lesson.name,
            self.settings,
            keras.backend.backend(),
            tuple(self.measured),
            tuple(self.pictures),
            tuple(self.saved),
            seconds,
        )

    def _why(self, m: Measured) -> str:
        assert m.expected is not None  # noqa: S101
        if self.settings.epochs is not None:
            return f"you asked for {self.settings.epochs} epoch(s); the range is for the lesson's own number."
        return f"{m.expected.if_off} (The range: {m.expected.why}.)"

    def _folder(self) -> Path:
        folder = self.settings.output / self.lesson.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LessonError(
                f"Cannot write pictures to {folder}: {error.strerror}; choose another --output."
            ) from None
        return folder

    def _key(self) -> str:
        import keras

        return f"{self.lesson.name}/{'quick' if self.settings.quick else 'full'}/{keras.backend.backend()}"


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


Backend = Literal["tensorflow", "torch", "jax"]
