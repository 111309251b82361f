"""The definition of a check: a pure function with its explanation, registered by the decorator ``check``.

A check takes a ``Machine`` (or one GPU of it, or measurements) and returns a ``CheckOutcome``. The arguments of the
decorator are what ``dlbox check --list`` and ``--explain`` print; the function's docstring is the explanation.

Each check declares the readings that it uses. A pass requires those in ``needs``, but not those in ``optional``. A
value outside its physical bounds counts as not read. tests/test_unread.py compares the declarations with the functions.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from bench.finding import Finding, FindingName, Status
from bench.health import source_needs
from inventory.cards.cards import Card, is_laptop_id, is_laptop_name
from inventory.machine.gpu_records import Gpu
from inventory.machine.reading import Reading
from inventory.machine.records import Machine, PciCard
from inventory.nvml import bounds

Measure: TypeAlias = float | int | str | bool | None


class CheckOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a check: a Finding without id and title."""

    status: Status
    message: str
    measured: Measure = None
    expected: Measure = None
    unit: str | None = None
    remedy: str | None = None


def passed(
    message: str, measured: Measure = None, expected: Measure = None, unit: str | None = None
) -> CheckOutcome:
    return CheckOutcome(status=Status.PASS, message=message, measured=measured, expected=expected, unit=unit)


def skipped(message: str) -> CheckOutcome:
    return CheckOutcome(status=Status.SKIP, message=message)


def unknown(message: str, remedy: str) -> CheckOutcome:
    return CheckOutcome(status=Status.UNKNOWN, message=message, remedy=remedy)


def warned(
    message: str,
    measured: Measure = None,
    expected: Measure = None,
    unit: str | None = None,
    *,
    remedy: str | None = None,
) -> CheckOutcome:
    """A warning. Without ``remedy`` the finding gets the check's own ``fix``."""
    return CheckOutcome(
        status=Status.WARN, message=message, measured=measured, expected=expected, unit=unit, remedy=remedy
    )


def failed(
    message: str,
    measured: Measure = None,
    expected: Measure = None,
    unit: str | None = None,
    *,
    remedy: str | None = None,
) -> CheckOutcome:
    return CheckOutcome(
        status=Status.FAIL, message=message, measured=measured, expected=expected, unit=unit, remedy=remedy
    )


class NotRead(Exception):  # noqa: N818  # ends a check early; not an error of the program
    """Raised if a check cannot decide because the value named ``what`` was not read; ``reading`` has the reason."""

    def __init__(self, reading: Reading[Any], what: str) -> None:
        super().__init__(f"{what}: {reading.why}" if reading.why else f"{what} is not available")
        self.reading, self.what = reading, what


def value(reading: Reading[Any], what: str) -> Any:
    """The value of a reading. Raises NotRead if it has none; ``Check.apply`` turns that into an outcome."""
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
    assert isinstance(source, Reading), path  # noqa: S101 - a wrong declaration, which a test finds
    return source


KIND = ("gpu.name", "gpu.pci_device_id")
"""Readings that tell a laptop's card from a desktop card. Pass them to ``@check`` as ``optional``: if they fail, the
stricter limits of desktop cards apply."""


_DATA_CENTRE = re.compile(
    r"^(?:NVIDIA )?(?:Tesla |GRID |(?:A(?:2|10G?|16|30|40|100|800)|B\d{3}|G[BH]\d{3}|H\d{2,3}|L(?:2|4|20|40S?)|"
    r"M(?:4|10|40|60)|P(?:4|40|100)|T4|V100S?)(?![0-9]))"
)


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU with its NVML readings, its catalogue entry and its PCI entry."""

    machine: Machine
    gpu: Gpu
    card: Card | None = None
    """None if the catalogue does not have this model."""
    pci: PciCard | None = None

    @property
    def is_laptop(self) -> bool:
        """Whether this is a laptop card. Such cards have desktop names but other limits: low speed never fails."""
        name, device = self.gpu.name.value or "", self.gpu.pci_device_id.value
        return (
            self.machine.host.is_laptop
            or is_laptop_name(name)
            or (device is not None and is_laptop_id(device))
        )

    @property
    def is_data_centre(self) -> bool:
        """Whether this is a data-centre card, which runs without a screen, by the catalogue or by its name."""
        if self.card is not None:
            return self.card.kind == "datacentre"
        return bool(_DATA_CENTRE.search(self.gpu.name.value or ""))


Unread = Literal["unknown", "warn"]
Scope = Literal["machine", "gpu", "load", "frameworks"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A registered check. ``id`` is "theme.what"; ``dlbox check --explain`` prints the texts."""

    id: str
    title: str
    scope: Scope
    looks_at: str
    limits: str
    applies_to: str
    source: str
    fix: str
    explanation: str
    judge: Callable[..., CheckOutcome]
    needs_gpu: bool = True
    needs: Mapping[str, str] = {}
    """Path and readable name of each reading that a pass requires. "gpu.link.width | pci.link_width" requires one of
    the two."""
    optional: tuple[str, ...] = ()
    """Readings that the check uses, but that it does not require for a pass."""
    unread: Unread = "unknown"
    """Status of the check if a required reading failed: "warn" if the verdict does not depend on this check."""

    @property
    def theme(self) -> str:
        return FindingName.of(self.id).theme

    def finding(self, outcome: CheckOutcome, suffix: str = "") -> Finding:
        """``outcome`` as a finding of this check; ``suffix`` (":1") is appended to its id."""
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

    def _for_host(self, outcome: CheckOutcome, source: Any) -> CheckOutcome:
        """``outcome`` with a remedy that can be followed: in a virtual machine the hardware belongs to the host."""
        machine = source.machine if isinstance(source, Subject) else source
        faulty = outcome.status in (Status.WARN, Status.FAIL, Status.UNKNOWN)
        remedy = outcome.remedy or (self.fix if faulty else None)
        if not isinstance(machine, Machine) or remedy is None:
            return outcome
        elsewhere = _outside(machine.host.environment, remedy)
        if elsewhere is not None:
            return msgspec.structs.replace(outcome, remedy=elsewhere)
        if machine.host.environment != "virtual-machine" or not _ON_THE_HARDWARE.search(remedy):
            return outcome
        return msgspec.structs.replace(
            outcome,
            remedy="the hardware belongs to the host of this virtual machine: in a cloud, stop the instance and start "
            f"it again, and report the fault to the provider; on a host of your own: {remedy}",
        )

    def apply(self, *subjects: Any, suffix: str = "") -> Finding:
        """Run the check. An exception in it becomes an ``unknown`` finding and does not end the command."""
        given = [bounds.checked_all(s) if isinstance(s, Machine | Subject) else s for s in subjects]
        try:
            self._confirm_source(given[0], source_needs.FIELDS)
            outcome = self.judge(*given)
            if outcome.status is Status.PASS:
                self._confirm(given[0])
                self._confirm_source(given[0], source_needs.FIELDS_FOR_A_PASS)
        except NotRead as missing:
            outcome = self._not_read(missing)
        except Exception as error:  # an error in one check must not hide the findings of the others
            outcome = unknown(
                f"the check itself failed ({type(error).__name__}: {error})",
                "report this with the output of: dlbox check --json",
            )
        return self.finding(self._for_host(outcome, given[0]), suffix)

    def _confirm(self, source: Any) -> None:
        """Raise NotRead if a required reading is missing, even though the function passed."""
        for paths, name in self.needs.items():
            found = [reach(source, path) for path in paths.split(" | ")]
            if not any(reading.ok for reading in found):
                raise NotRead(next((r for r in found if r.state != "not-supported"), found[0]), name)

    def _confirm_source(self, subject: Any, fields: Mapping[str, tuple[str, ...]]) -> None:
        """Raise NotRead if the machine was read from a report that does not contain one of the check's ``fields``."""
        machine = subject.machine if isinstance(subject, Subject) else subject
        if not isinstance(machine, Machine) or machine.source is None:
            return
        for field in fields.get(self.id, ()):
            if source_needs.is_missing(machine, field):
                raise NotRead(Reading.not_in_source(), source_needs.NAMES[field])

    def _not_read(self, missing: NotRead) -> CheckOutcome:
        """The outcome for a failed reading: skipped if the card has no such sensor, else ``unread`` with a remedy."""
        state = missing.reading.state
        if state == "not-supported":
            return skipped(str(missing))
        if state == "not-in-source":
            return skipped(f"{source_needs.NOT_IN_SOURCE}: {missing.what}")
        if state == "no-permission":
            remedy = "run the check as root: sudo dlbox check"
        elif self.scope == "machine":
            remedy = (
                f"repeat the check: dlbox check --only {self.theme}; if it fails again: sudo dmesg | tail -30"
            )
        else:
            remedy = (
                "see whether the driver's own tool reads the value: nvidia-smi -q; if not, reboot and repeat: "
                f"dlbox check --only {self.theme}; if it fails again, update the driver: dlbox provision"
            )
        return CheckOutcome(status=Status(self.unread), message=str(missing), remedy=remedy)


_ON_THE_HARDWARE = re.compile(
    r"reseat|riser|slot\b|in the firmware|power (?:cable|connector)|power supply|thermal p|clean fans|fan cable|"
    r"switch (?:off|the machine off)|power the machine|have the card|return a card|cool the card|cooling"
)
"""Remedies that need access to the computer's case or firmware."""

_DRIVER_STEP = re.compile(r"(?:(?:re)?install|update) the driver[^:;,]*: dlbox provision")


def _outside(environment: str, remedy: str) -> str | None:
    """``remedy`` for a container or WSL2, where driver and computer belong to the host or to Windows; None if the
    remedy can be followed where it is."""
    if environment == "wsl2" and "dlbox provision" in remedy:
        return _DRIVER_STEP.sub("update NVIDIA's driver on Windows", remedy).replace(
            "dlbox provision", "update NVIDIA's driver on Windows"
        )
    on_host = (
        "dlbox provision" in remedy or _ON_THE_HARDWARE.search(remedy) or re.search(r"\breboot\b", remedy)
    )
    if environment == "container" and on_host and not re.search(r"\bhost\b", remedy):
        return f"on the host of this container: {remedy}"
    return None


REGISTER: dict[str, Check] = {}


def check(
    id: str,  # noqa: A002  # the id of its findings
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
) -> Callable[[Callable[..., CheckOutcome]], Callable[..., CheckOutcome]]:
    """Register the decorated function as the check ``id``. ValueError if there is a check with this id already."""

    def register(judge: Callable[..., CheckOutcome]) -> Callable[..., CheckOutcome]:
        if id in REGISTER:
            raise ValueError(f"two checks have the id {id}")
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

    return register
