"""What a check is: a pure judgement with its explanation beside it, entered in one register.

A check reads a ``Machine`` (or one GPU of it, or measurements) and returns an ``Outcome``. The decorator
adds what ``dlbox check --list`` and ``--explain`` print; the function's docstring is the explanation.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec

from bench.finding import Finding, Status
from inventory.cards.cards import Card, is_laptop_id, is_laptop_name
from inventory.machine.reading import Reading
from inventory.machine.records import Gpu, Machine, PciCard

Measure: TypeAlias = float | int | str | bool | None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A Finding without its name."""

    status: Status
    message: str
    measured: Measure = None
    expected: Measure = None
    unit: str | None = None
    remedy: str | None = None


def passed(
    message: str, measured: Measure = None, expected: Measure = None, unit: str | None = None
) -> Outcome:
    return Outcome(status=Status.PASS, message=message, measured=measured, expected=expected, unit=unit)


def skipped(message: str) -> Outcome:
    return Outcome(status=Status.SKIP, message=message)


def unknown(message: str, remedy: str | None = None) -> Outcome:
    return Outcome(status=Status.UNKNOWN, message=message, remedy=remedy)


def warned(
    message: str,
    measured: Measure = None,
    expected: Measure = None,
    unit: str | None = None,
    *,
    remedy: str | None = None,
) -> Outcome:
    """Without ``remedy`` the check's own ``fix`` is the next step."""
    return Outcome(
        status=Status.WARN, message=message, measured=measured, expected=expected, unit=unit, remedy=remedy
    )


def failed(
    message: str,
    measured: Measure = None,
    expected: Measure = None,
    unit: str | None = None,
    *,
    remedy: str | None = None,
) -> Outcome:
    return Outcome(
        status=Status.FAIL, message=message, measured=measured, expected=expected, unit=unit, remedy=remedy
    )


class NotRead(Exception):  # noqa: N818  # a way out of a check, not an error of the program
    """Raised by ``value`` where there is nothing to judge; carries the outcome that says so."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


def value(reading: Reading[Any], what: str) -> Any:
    """The value, or the way out: skip where the card has none, unknown where it could not be read."""
    if reading.ok:
        return reading.value
    why = f"{what}: {reading.why}" if reading.why else f"{what} is not available"
    if reading.state == "not-supported":
        raise NotRead(skipped(why))
    remedy = "run the check as root: sudo dlbox check" if reading.state == "no-permission" else None
    raise NotRead(unknown(why, remedy))


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU with all that is known of it: NVML's view, the catalogue's card, the bus's view."""

    machine: Machine
    gpu: Gpu
    card: Card | None = None
    """None where the catalogue does not have this model."""
    pci: PciCard | None = None

    @property
    def is_laptop(self) -> bool:
        """Laptop cards share names with desktop ones and run at other limits: never failed for speed."""
        name, device = self.gpu.name.value or "", self.gpu.pci_device_id.value
        return (
            self.machine.host.is_laptop
            or is_laptop_name(name)
            or (device is not None and is_laptop_id(device))
        )


Scope = Literal["machine", "gpu", "load", "frameworks"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """``id`` is "theme.what"; the texts are for people who want to know before they believe."""

    id: str
    title: str
    scope: Scope
    looks_at: str
    limits: str
    applies_to: str
    source: str
    fix: str
    explanation: str
    judge: Callable[..., Outcome]
    needs_gpu: bool = True

    @property
    def theme(self) -> str:
        return self.id.partition(".")[0]

    def finding(self, outcome: Outcome, suffix: str = "") -> Finding:
        remedy = outcome.remedy
        if remedy is None and outcome.status in (Status.WARN, Status.FAIL):
            remedy = self.fix
        return Finding(
            id=self.id + suffix,
            status=outcome.status,
            title=self.title,
            message=outcome.message,
            measured=outcome.measured,
            expected=outcome.expected,
            unit=outcome.unit,
            remedy=remedy,
        )

    def apply(self, *subjects: Any, suffix: str = "") -> Finding:
        """Judge; a check that cannot digest what it got says so instead of ending the run."""
        try:
            outcome = self.judge(*subjects)
        except NotRead as way_out:
            outcome = way_out.outcome
        except Exception as error:  # a fault in one check must not hide the others' findings
            outcome = unknown(
                f"the check itself failed ({type(error).__name__}: {error})",
                "report this with the output of: dlbox check --json",
            )
        return self.finding(outcome, suffix)


REGISTER: dict[str, Check] = {}


def check(
    id: str,  # noqa: A002  # it is the finding's id
    *,
    title: str,
    looks_at: str,
    limits: str,
    source: str,
    fix: str,
    scope: Scope = "gpu",
    applies_to: str = "every card",
    needs_gpu: bool = True,
    explanation: str = "",
) -> Callable[[Callable[..., Outcome]], Callable[..., Outcome]]:
    """Enter a judging function in the register."""

    def enter(judge: Callable[..., Outcome]) -> Callable[..., Outcome]:
        if id in REGISTER:
            raise ValueError(f"two checks are called {id}")
        REGISTER[id] = Check(
            id=id,
            title=title,
            scope=scope,
            looks_at=looks_at,
            limits=limits,
            applies_to=applies_to,
            source=source,
            fix=fix,
            explanation=explanation or inspect.cleandoc(judge.__doc__ or title),
            judge=judge,
            needs_gpu=needs_gpu,
        )
        return judge

    return enter
