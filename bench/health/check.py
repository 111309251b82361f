"""What a check is: a pure judgement with its explanation beside it, entered in one register.

A check reads a ``Machine`` (or one GPU of it, or measurements) and returns an ``Outcome``. The decorator
adds what ``dlbox check --list`` and ``--explain`` print; the function's docstring is the explanation.

Each check declares the readings that it uses: ``needs`` must have been read for a pass, ``optional`` need not. A value
outside its physical bounds counts as not read. tests/test_unread.py holds the declarations against the functions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from bench.finding import Finding, FindingName, Status
from bench.health import plausible
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


def unknown(message: str, remedy: str) -> Outcome:
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
    """Raised where there is nothing to judge by: ``what`` was not read, and ``reading`` says why."""

    def __init__(self, reading: Reading[Any], what: str) -> None:
        super().__init__(f"{what}: {reading.why}" if reading.why else f"{what} is not available")
        self.reading = reading


def value(reading: Reading[Any], what: str) -> Any:
    """The value; raises NotRead where there is none: ``Check.apply`` makes the outcome of it."""
    if not reading.ok:
        raise NotRead(reading, what)
    return reading.value


_NOT_VISIBLE: Reading[Any] = Reading.not_supported("the card is not visible on this system's bus")


def reach(source: Any, path: str) -> Reading[Any]:
    """The reading at "gpu.temperatures.gpu_c" of a Subject, or at "driver.module_version" of a Machine."""
    for name in path.split("."):
        source = getattr(source, name)
        if source is None:
            return _NOT_VISIBLE
    assert isinstance(source, Reading), path  # noqa: S101 - a wrong declaration, found by its test
    return source


KIND = ("gpu.name", "gpu.pci_device_id")
"""What tells a laptop's card, and for ``optional``: judged as a desktop's where it is not known, which is stricter."""


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


Unread = Literal["unknown", "warn"]
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
    needs: Mapping[str, str] = {}
    """Readings without which it does not pass, each with its name for a person. Either is enough of
    "gpu.link.width | pci.link_width"."""
    optional: tuple[str, ...] = ()
    """Readings that it uses and passes without."""
    unread: Unread = "unknown"
    """Its status where a needed reading failed: "warn" where no verdict rests on this check."""

    @property
    def theme(self) -> str:
        return FindingName.of(self.id).theme

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
        given = [plausible.checked_all(s) if isinstance(s, Machine | Subject) else s for s in subjects]
        try:
            outcome = self.judge(*given)
            if outcome.status is Status.PASS:
                self._confirm(given[0])
        except NotRead as way_out:
            outcome = self._not_read(way_out)
        except Exception as error:  # a fault in one check must not hide the others' findings
            outcome = unknown(
                f"the check itself failed ({type(error).__name__}: {error})",
                "report this with the output of: dlbox check --json",
            )
        return self.finding(outcome, suffix)

    def _confirm(self, source: Any) -> None:
        """Raises NotRead where a needed reading is missing, whatever the function made of that."""
        for paths, words in self.needs.items():
            found = [reach(source, path) for path in paths.split(" | ")]
            if not any(reading.ok for reading in found):
                raise NotRead(next((r for r in found if r.state != "not-supported"), found[0]), words)

    def _not_read(self, way_out: NotRead) -> Outcome:
        """Skip where the card has no such sensor; else ``unread`` with the next step."""
        state = way_out.reading.state
        if state == "not-supported":
            return skipped(str(way_out))
        if state == "no-permission":
            remedy = "run the check as root: sudo dlbox check"
        elif self.scope == "machine":
            remedy = (
                f"look again: dlbox check --only {self.theme}; if it stays, read why: sudo dmesg | tail -30"
            )
        else:
            remedy = (
                "see whether the driver's own tool reads it: nvidia-smi -q; if not, reboot and look again: "
                f"dlbox check --only {self.theme}; if it stays, update the driver: dlbox provision"
            )
        return Outcome(status=Status(self.unread), message=str(way_out), remedy=remedy)


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
    needs: Mapping[str, str] | None = None,
    optional: tuple[str, ...] = (),
    unread: Unread = "unknown",
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
            needs=needs or {},
            optional=optional,
            unread=unread,
        )
        return judge

    return enter
