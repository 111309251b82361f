"""The options and the result of a lesson: plain records without a framework."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workshops.player.expected import CORPUS, Expected


class LessonError(Exception):
    """A lesson cannot do what the learner requested. The message is one sentence for the learner."""


@dataclass(frozen=True)
class LessonOptions:
    """The options of `dlbox workshop run`. ``epochs``: None means the number of epochs that the lesson sets."""

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

    @property
    def data_set(self) -> str:
        """Name of the data set in use. A corpus takes precedence over ``data``."""
        return CORPUS if self.corpus is not None else self.data

    @property
    def only(self) -> str | None:
        """The only model or cell to train. None: train all."""
        return self.model or self.cell

    @property
    def is_default(self) -> bool:
        """Whether the lesson uses its default data, all its models and its default number of epochs."""
        return (self.data_set, self.only, self.epochs) == ("embedded", None, None)

    def key(self, lesson: str, backend: str) -> str:
        """Key of the stored duration. Runs that take equally long have the same key; the seed is not part of it."""
        parts = [lesson, "quick" if self.quick else "full", backend]
        if self.corpus is not None:
            parts.append(f"corpus={self.corpus.resolve()}")
        elif self.data != "embedded":
            parts.append(f"data={self.data}")
        chosen = {"model": self.model, "cell": self.cell, "epochs": self.epochs}
        return "/".join(parts + [f"{name}={value}" for name, value in chosen.items() if value is not None])


@dataclass(frozen=True)
class MeasuredValue:
    """A measured value, and the range in which it should lie (None: there is no expected range)."""

    name: str
    value: float
    expected: Expected | None = None

    @property
    def ok(self) -> bool:
        return self.expected is None or self.expected.contains(self.value)


@dataclass(frozen=True)
class LessonResult:
    """Result of a lesson. ``partial``: the lesson was interrupted. ``unwritten``: files that could not be written."""

    lesson: str
    settings: LessonOptions
    backend: str
    measured: tuple[MeasuredValue, ...]
    pictures: tuple[Path, ...]
    saved: tuple[Path, ...]
    seconds: float
    partial: bool = False
    unwritten: tuple[Path, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the lesson ran to its end with every value in its range and every file written."""
        return not self.partial and not self.unwritten and all(m.ok for m in self.measured)

    def value(self, name: str) -> float:
        """The measured value with this name. Raises KeyError."""
        return {m.name: m.value for m in self.measured}[name]

    def document(self) -> dict[str, Any]:
        """The result as one JSON document."""
        values = asdict(self)
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in values["settings"].items()}
        files = {k: [str(p) for p in values[k]] for k in ("pictures", "saved", "unwritten")}
        for m in values["measured"]:
            if m["expected"] and math.isinf(m["expected"]["high"]):
                m["expected"]["high"] = None  # JSON has no infinity.
        measured = [
            {**m, "value": m["value"] if math.isfinite(m["value"]) else None, "ok": own.ok}
            for m, own in zip(values["measured"], self.measured, strict=True)
        ]
        return {
            **values,
            "settings": settings,
            **files,
            "measured": measured,
            "ok": self.ok,
        }
