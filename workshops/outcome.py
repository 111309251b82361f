"""What a learner may choose, and what a run of a lesson gives: plain records, no framework."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workshops.promises import CORPUS, Expected


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

    @property
    def data_set(self) -> str:
        """What the lesson works on: a corpus goes before ``data``."""
        return CORPUS if self.corpus is not None else self.data

    @property
    def only(self) -> str | None:
        """The one model or cell asked for, None: all."""
        return self.model or self.cell

    @property
    def usual(self) -> bool:
        """The lesson as it is: its own data, all its models, its own number of epochs."""
        return (self.data_set, self.only, self.epochs) == ("embedded", None, None)

    def key(self, lesson: str, backend: str) -> str:
        """One key for all runs that take equally long; the seed does not matter."""
        parts = [lesson, "quick" if self.quick else "full", backend]
        if self.corpus is not None:
            parts.append(f"corpus={self.corpus.resolve()}")
        elif self.data != "embedded":
            parts.append(f"data={self.data}")
        chosen = {"model": self.model, "cell": self.cell, "epochs": self.epochs}
        return "/".join(parts + [f"{name}={value}" for name, value in chosen.items() if value is not None])


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
    """What a run of a lesson gave. ``partial``: it was stopped before its end; ``unwritten``: files that failed."""

    lesson: str
    settings: Settings
    backend: str
    measured: tuple[Measured, ...]
    pictures: tuple[Path, ...]
    saved: tuple[Path, ...]
    seconds: float
    partial: bool = False
    unwritten: tuple[Path, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it ran to its end, every promised number is in its range and every file was written."""
        return not self.partial and not self.unwritten and all(m.ok for m in self.measured)

    def value(self, name: str) -> float:
        """The number called ``name``; raises KeyError."""
        return {m.name: m.value for m in self.measured}[name]

    def document(self) -> dict[str, Any]:
        """The outcome as one JSON document."""
        values = asdict(self)
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in values["settings"].items()}
        files = {k: [str(p) for p in values[k]] for k in ("pictures", "saved", "unwritten")}
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
