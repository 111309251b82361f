"""Finding and Status: the one record of a judgement, whoever made it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

import msgspec


class Status(StrEnum):
    """``skip``: this card or machine does not have the feature. ``unknown``: could not look; never a pass."""

    PASS = "pass"  # noqa: S105 - not a password
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"
    UNKNOWN = "unknown"


Verdict = Literal["ready", "cpu-only", "not-ready"]
VERDICTS: dict[Verdict, tuple[str, str]] = {
    "ready": ("READY", "this box does what it should."),
    "cpu-only": ("CPU ONLY", "works; there is no NVIDIA card, so this is not a GPU box."),
    "not-ready": ("NOT READY", "see what failed, and the next step beside it."),
}
"""Verdict -> the word for it, and what it means; of a document: ``words``."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, what was found, what was expected, and the next step where something is wrong.

    ``id`` is ``theme.check`` in lower case with dashes ("pcie.link-width"), with ``:N`` appended for GPU
    number N where a machine has several. ``measured`` and ``expected`` are in ``unit``; both are null
    where a judgement has no number. Every warn, fail and unknown carries a ``remedy``: the next command or step.
    """

    id: str
    status: Status
    title: str
    message: str
    measured: float | int | str | bool | None = None
    expected: float | int | str | bool | None = None
    unit: str | None = None
    remedy: str | None = None

    def __post_init__(self) -> None:
        if self.status in (Status.WARN, Status.FAIL, Status.UNKNOWN) and not self.remedy:
            raise ValueError(f"finding {self.id} is a {self.status} without a remedy")

    @property
    def theme(self) -> str:
        return self.id.partition(".")[0]


def verdict(findings: Iterable[Finding], *, has_gpu: bool) -> Verdict:
    """A box is sound only when nothing failed and nothing is unknown. ``has_gpu``: and the run was of its card."""
    if any(f.status in (Status.FAIL, Status.UNKNOWN) for f in findings):
        return "not-ready"
    return "ready" if has_gpu else "cpu-only"


def words(verdict: Verdict, *, has_gpu: bool) -> tuple[str, str]:
    """The word for ``verdict`` on a machine with or without a card, and what it means there."""
    word, meaning = VERDICTS[verdict]
    if verdict == "cpu-only" and has_gpu:
        meaning = "works on the processor, as --devices asked for; the card was left out and is not judged."
    return word, meaning
