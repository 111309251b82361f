"""Finding, Status and Verdict: the record that every check and every judgement of a result produces."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, NamedTuple

import msgspec


class Status(StrEnum):
    """``skip``: the card or machine lacks the feature. ``unknown``: the value could not be read; this never counts as
    a pass."""

    PASS = "pass"  # noqa: S105 - not a password
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"
    UNKNOWN = "unknown"


QUIET = "close other programs and run it again, or let it wait for them with --wait-for-quiet 10"
"""What to do after a verdict "uncertain"."""

Verdict = Literal["ready", "cpu-only", "not-ready", "uncertain"]
VERDICTS: dict[Verdict, tuple[str, str]] = {
    "ready": ("READY", "no check failed."),
    "cpu-only": ("CPU ONLY", "works; this machine has no NVIDIA card."),
    "not-ready": (
        "NOT READY",
        "a check failed or could not be completed; each is listed with its next step.",
    ),
    "uncertain": ("UNCERTAIN", f"the measured speed is too noisy to judge; {QUIET}."),
}
"""Verdict -> the text that is printed for it, and its meaning. For a machine with a card: see ``words``."""


class FindingName(NamedTuple):
    """The parts of a finding's id; ``str`` joins them.

    theme: The subject area: "pcie", "thermal", "training", "results", ...
    check: Which check of that theme: "link-width", "learns", ...; "" only in ids that dlbox does not write.
    subject: The number of a GPU where the machine has several, the label of a training result ("lstm-batch-256"), or
        None for the machine or the run as a whole.
    """

    theme: str
    check: str
    subject: int | str | None = None

    def __str__(self) -> str:
        if isinstance(self.subject, int):
            return f"{self.theme}.{self.check}:{self.subject}"
        if self.subject is not None:
            return f"{self.theme}.{self.subject}-{self.check}"
        return f"{self.theme}.{self.check}" if self.check else self.theme

    @classmethod
    def of(cls, id: str) -> FindingName:  # noqa: A002 - the name of the field
        """Split an id into its parts, for documents that store only the id. An id that cannot be split becomes the
        theme."""
        theme, _, rest = id.partition(".")
        check, _, number = rest.partition(":")
        if re.fullmatch("[0-9]{1,4}", number):
            name = cls(theme, check, int(number))
        elif theme == TRAINING and "-" in rest:
            ending = next((known for known in _CHECKS_WITH_A_DASH if rest.endswith(f"-{known}")), None)
            subject, _, check = rest.rpartition("-") if ending is None else rest.rpartition(f"-{ending}")
            name = cls(theme, ending or check, subject)
        else:
            name = cls(theme, rest)
        return name if str(name) == id else cls(id, "")


TRAINING = "training"
"""Findings of this theme have the label of a training result as their subject."""

_CHECKS_WITH_A_DASH = ("fused-pays",)
"""Checks of the theme ``TRAINING`` with a dash in their name. All others are one word, so in their ids the last dash
ends the subject."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one check: the measured value, the expected value, and the next step if something is wrong.

    ``id`` is ``theme.check`` in lower case with dashes ("pcie.link-width"); with a subject it is ``theme.check:N`` for
    GPU number N of several, and ``training.LABEL-check`` for a training result. Give either ``theme``, ``check`` and
    ``subject`` (see FindingName) or, as documents of dlbox 0.1 do, ``id`` alone: the missing fields are then derived.
    ``measured`` and ``expected`` are in ``unit``; both are null where a finding has no number. Every warn, fail and
    unknown carries a ``remedy``: the next command or step. Raises ValueError if a remedy is missing or if the id and
    its parts differ.
    """

    id: str = ""
    theme: str = ""
    check: str = ""
    subject: int | str | None = None
    status: Status
    title: str
    message: str
    measured: float | int | str | bool | None = None
    expected: float | int | str | bool | None = None
    unit: str | None = None
    remedy: str | None = None

    def __post_init__(self) -> None:
        if not self.theme and self.id:
            for field, part in FindingName.of(self.id)._asdict().items():
                msgspec.structs.force_setattr(self, field, part)
        name = str(FindingName(self.theme, self.check, self.subject))
        if not self.id:
            msgspec.structs.force_setattr(self, "id", name)
        if not self.theme or self.id != name:
            raise ValueError(f"the id of finding {self.id!r} does not match its theme, check and subject")
        if self.status in (Status.WARN, Status.FAIL, Status.UNKNOWN) and not self.remedy:
            raise ValueError(f"finding {self.id} has status {self.status} and no remedy")


_DISTURBED = ("steady", "alone")
"""Checks of the theme ``TRAINING`` that fail only because other programs took too much of the processor or the card."""

_SPEED = ("baseline", "band", "scaling")
"""Checks of the theme ``TRAINING`` that compare a speed with another one. After a disturbed or unsteady measurement
their failure proves nothing."""


def noise(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The failed findings whose cause is a disturbed measurement: the checks ``steady`` and ``alone`` themselves, and
    failures of the speed of a result for which one of the two does not pass. A run that cannot become the baseline for
    this reason counts too."""
    seen = tuple(findings)
    noisy = {
        f.subject
        for f in seen
        if f.theme == TRAINING and f.check in _DISTURBED and f.status in (Status.WARN, Status.FAIL)
    }
    failed = [f for f in seen if f.status is Status.FAIL]
    found = [
        f
        for f in failed
        if f.theme == TRAINING and (f.check in _DISTURBED or (f.check in _SPEED and f.subject in noisy))
    ]
    if found:
        found += [f for f in failed if (f.theme, f.check) == ("results", "baseline")]
    return tuple(found)


def verdict(findings: Iterable[Finding], *, has_gpu: bool) -> Verdict:
    """The verdict of a run: "not-ready" if any finding failed or is unknown; "uncertain" if each of these failed only
    because the measurement was disturbed (``noise``).

    ``has_gpu``: whether the machine has an NVIDIA card and the run used it.
    """
    seen = tuple(findings)
    wrong = [f for f in seen if f.status in (Status.FAIL, Status.UNKNOWN)]
    if wrong:
        return "uncertain" if len(noise(seen)) == len(wrong) else "not-ready"
    return "ready" if has_gpu else "cpu-only"


def is_sound(verdict: str) -> bool:
    """Whether ``verdict`` means that the machine works: "ready" or "cpu-only"."""
    return verdict in ("ready", "cpu-only")


_NAMED = 3
"""Number of findings that the sentence of a verdict names."""


def words(verdict: Verdict, *, has_gpu: bool, findings: Iterable[Finding] = ()) -> tuple[str, str]:
    """The text for ``verdict`` on a machine with or without a card, and its meaning there.

    ``findings``: all findings of the run; the meaning of "not-ready" and "uncertain" names those that decided.
    """
    word, meaning = VERDICTS[verdict]
    if verdict == "not-ready":
        seen = tuple(findings)
        named = [f"{f.id} failed" for f in seen if f.status is Status.FAIL]
        named += [f"{f.id} is unknown" for f in seen if f.status is Status.UNKNOWN]
        if named:
            more = f", and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
            meaning = f"{', '.join(named[:_NAMED])}{more}; each is listed with its next step."
    if verdict == "uncertain":
        ids = [f.id for f in noise(findings)]
        if ids:
            more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
            meaning = f"the measurement is too noisy to judge ({', '.join(ids[:_NAMED])}{more}); {QUIET}."
    if verdict == "cpu-only" and has_gpu:
        meaning = "works on the processor, which --devices selected; the NVIDIA card was not used or judged."
    return word, meaning
