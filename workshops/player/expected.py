"""What a lesson declares before it runs: its data, its models, and the values to expect. Imports no framework."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

Mode = Literal["both", "quick", "full"]
ANY = "any"
"""Entry in ``Expected.data`` for a value that is measured with every data set."""
CORPUS = "corpus"
"""Name of the data set in a run with ``--corpus``."""
Shape = tuple[int | None, ...]

ARITHMETIC = (
    "This value is computed, not learned: a difference means that a framework changed its formula; report it."
)
TRAIN_LONGER = "With another seed or backend a model may learn more slowly: try a larger --epochs."
CEILING = (
    "A value below the range: the model has not finished learning, try a larger --epochs. A value above it: chance, "
    "because there are few test reviews."
)
SCORE_UNKNOWN = "No score is expected: the best possible score on your own data is not known."
"""Several lessons use the sentences above, in ``if_off`` and ``without_ranges``."""


@dataclass(frozen=True)
class Expected:
    """The range in which a measured value of a lesson should lie, both ends included.

    ``mode``: the range is valid with ``--quick``, without it, or in both cases. ``why``: the source of the range.
    ``if_off``: the usual reason for a value outside the range, one sentence. ``data``: the data sets with which the
    value is measured. ``model``: the model or cell that must be trained to measure the value, if the name of the
    value does not contain it. ``whole``: the value is measured only if the whole lesson runs, not a single model.
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

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class SavedModelShape:
    """Shapes of the inputs and the output of a saved model, without the batch axis. None stands for any length.

    ``name_prefix``: applies only to models whose name starts with this text. ``layer``: name of a layer that such a
    model must have.
    """

    inputs: tuple[Shape, ...]
    output: Shape
    name_prefix: str = ""
    layer: str = ""


@dataclass(frozen=True)
class Lesson:
    """One lesson. ``package``: the Python package of its folder, such as "workshops.lessons.by_hand".

    ``order``: position in the list of lessons. ``pages``: its page files in reading order, without ".py".
    ``quick_seconds`` and ``full_seconds``: duration on two CPU cores with TensorFlow. ``data``: description of the
    embedded data set. ``other_data``: (name, description) of each other data set, and of CORPUS. ``without_ranges``:
    (data set, sentence to print) where no result is known beforehand. ``unavailable``: (data set, reason) of data
    sets that the lesson cannot fetch. ``saved_models``: the models that `dlbox workshop predict` accepts.
    ``workloads``: (model, workload of `dlbox tune` whose settings it is trained with).
    """

    package: str
    order: int
    title: str
    about: str
    data: str
    quick_seconds: int
    full_seconds: int
    expected: tuple[Expected, ...]
    pages: tuple[str, ...] = ("page",)
    models: tuple[str, ...] = ()
    quick_models: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    other_data: tuple[tuple[str, str], ...] = ()
    without_ranges: tuple[tuple[str, str], ...] = ()
    unavailable: tuple[tuple[str, str], ...] = ()
    saved_models: tuple[SavedModelShape, ...] = ()
    workloads: tuple[tuple[str, str], ...] = ()

    @property
    def stem(self) -> str:
        """Name of the folder and of the learner's files: "by_hand" ("by_hand.ipynb", "by_hand.py")."""
        return self.package.rpartition(".")[2]

    @property
    def name(self) -> str:
        """Name on the command line: "by-hand"."""
        return self.stem.replace("_", "-")

    @property
    def folder(self) -> Path:
        """The folder of the lesson's files. Raises ModuleNotFoundError if the package does not exist."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(f"{self.package} is not a package")
        return Path(spec.submodule_search_locations[0])

    @property
    def page_modules(self) -> tuple[str, ...]:
        return tuple(f"{self.package}.{page}" for page in self.pages)

    @property
    def page_files(self) -> tuple[Path, ...]:
        return tuple(self.folder / f"{page}.py" for page in self.pages)

    @property
    def data_choices(self) -> tuple[str, ...]:
        """The values that ``--data`` accepts for this lesson."""
        return ("embedded", *(name for name, _ in self.other_data if name != CORPUS))

    @property
    def reads_corpus(self) -> bool:
        return any(name == CORPUS for name, _ in self.other_data)

    @property
    def predicts(self) -> bool:
        """Whether `dlbox workshop predict` works with models of this lesson."""
        return bool(self.saved_models)

    def describe_data(self, data: str) -> str:
        """Description of the data set ``data`` (or of CORPUS)."""
        return {"embedded": self.data, **dict(self.other_data)}[data]

    def workload(self, model: str) -> str | None:
        """The workload of `dlbox tune` whose settings apply to ``model``; None if there is none."""
        return dict(self.workloads).get(model.replace("_", "-"))

    def expected_values(
        self, *, quick: bool, data: str = "embedded", model: str | None = None
    ) -> tuple[Expected, ...]:
        """The values that a run measures in this mode, with this data set, for this model or cell (None: all
        models)."""
        mode = "quick" if quick else "full"
        return tuple(
            e
            for e in self.expected
            if e.mode in ("both", mode)
            and (data in e.data or ANY in e.data)
            and not (e.whole and model)
            and self._is_trained(e, quick, model)
        )

    def _is_trained(self, expected: Expected, quick: bool, model: str | None) -> bool:
        available = {*self.models, *self.cells}
        words = {word.strip() for word in re.split("[:/,]", expected.name)}
        needed = {expected.model} if expected.model else words & available
        trained = {model} if model else set(self.quick_models if quick and self.quick_models else available)
        return needed <= trained


def vary(*expected: Expected, **changes: Any) -> tuple[Expected, ...]:
    """Copies of the values with the given fields replaced in all of them, as in ``vary(a, b, data=("airline",))``."""
    return tuple(replace(e, **changes) for e in expected)
