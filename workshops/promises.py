"""What a lesson says of itself before it runs: its data, its models, and the numbers that should come out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Mode = Literal["both", "quick", "full"]
ANY = "any"
"""In ``Expected.data``: whatever the data, this number comes out."""
CORPUS = "corpus"
"""The data of a learner who named a file or folder."""


@dataclass(frozen=True)
class Expected:
    """A number of a lesson and the range it should land in (both ends included).

    ``mode``: the range holds for ``--quick``, for the full run, or for both. ``why``: where the range comes
    from. ``if_off``: what usually explains a number outside it, one sentence. ``data``: the sets on which it is
    measured. ``model``: the model or cell that must be trained for it, where its name does not say so.
    ``whole``: measured only when all of the lesson runs, not one model.
    """

    name: str
    low: float
    high: float
    why: str
    if_off: str
    mode: Mode = "both"
    unit: str = ""
    data: tuple[str, ...] = ("embedded",)
    model: str = ""
    whole: bool = False

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Lesson:
    """One lesson. ``quick_seconds`` and ``full_seconds``: its default run on two CPU cores, TensorFlow.

    ``data``: what the embedded set is. ``other_data``: (choice, what it is) for each of ``--data`` and for a corpus.
    ``unknown``: (choice, a sentence) for data on which no score is known beforehand.
    """

    name: str
    title: str
    about: str
    data: str
    quick_seconds: int
    full_seconds: int
    expected: tuple[Expected, ...]
    models: tuple[str, ...] = ()
    quick_models: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    other_data: tuple[tuple[str, str], ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()
    more_pages: tuple[str, ...] = ()
    predicts: bool = False

    @property
    def stem(self) -> str:
        """Name of its file in each of the folders ``workshops``, ``exercises``, ``checks``, ``solutions``."""
        return self.name.replace("-", "_")

    @property
    def pages(self) -> tuple[str, ...]:
        """The files that make up the lesson, in reading order, without ".py"."""
        return (self.stem, *self.more_pages)

    @property
    def module(self) -> str:
        return f"workshops.{self.stem}"

    @property
    def data_choices(self) -> tuple[str, ...]:
        """What ``--data`` may be."""
        return ("embedded", *(name for name, _ in self.other_data if name != CORPUS))

    @property
    def reads_corpus(self) -> bool:
        return any(name == CORPUS for name, _ in self.other_data)

    def data_named(self, data: str) -> str:
        """What the data set ``data`` (or a corpus) is, in words."""
        return {"embedded": self.data, **dict(self.other_data)}[data]

    def promises(
        self, *, quick: bool, data: str = "embedded", model: str | None = None
    ) -> tuple[Expected, ...]:
        """What a run in this mode, on this data, of this model or cell (None: all) measures and can be held to."""
        mode = "quick" if quick else "full"
        return tuple(
            e
            for e in self.expected
            if e.mode in ("both", mode)
            and (data in e.data or ANY in e.data)
            and not (e.whole and model)
            and self._trained(e, quick, model)
        )

    def _trained(self, expected: Expected, quick: bool, model: str | None) -> bool:
        there_are = {*self.models, *self.cells}
        words = {word.strip() for word in re.split("[:/,]", expected.name)}
        needed = {expected.model} if expected.model else words & there_are
        trained = {model} if model else set(self.quick_models if quick and self.quick_models else there_are)
        return needed <= trained

    def expects(self, name: str, *, quick: bool) -> Expected | None:
        """The range for number ``name`` in this mode, None where the lesson promises nothing."""
        mode = "quick" if quick else "full"
        return next((e for e in self.expected if e.name == name and e.mode in ("both", mode)), None)
