"""Turns findings and a plan into one story. Pure functions: nothing is read or run here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from bench.finding import Finding, Status
from bench.health.causes.records import Explanation, Remedy
from inventory.machine.records import Machine

State = Literal["works", "broken", "unknown"]
"""Whether the machine can train: "unknown" if no check failed but one could not be made."""

_HARDWARE = ("driver.lost", "driver.cables", "gpu.responds", "gpu.count", "driver.bar-space")
"""Faults of hardware and firmware settings: no driver helps as long as one of them is there."""
_THEMES = ("driver", "gpu", "errors", "pcie", "power", "thermal", "memory", "host", "frameworks", "load")
"""Themes in the order in which their faults hide each other."""


class FirstFault(msgspec.Struct, frozen=True, kw_only=True):
    """The first fault: its finding, and the causes behind it if it is a fault of the driver.

    ``by``: who can repair it; "dlbox" with `dlbox doctor --fix`.
    """

    id: str
    theme: str
    title: str
    message: str
    proven: bool
    evidence: tuple[str, ...] = ()
    remedy: str
    commands: tuple[str, ...] = ()
    by: Literal["dlbox", "person"] = "person"


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What `dlbox doctor` prints. ``works``: titles of passed checks; ``also``: further findings that need attention;
    ``next_command``: None if the next step is not a command; ``after``: the steps that follow it."""

    machine: str
    judged_from: str | None
    state: State
    works: tuple[str, ...]
    broken: FirstFault | None
    also: tuple[Finding, ...]
    next_step: str
    next_command: str | None
    after: tuple[str, ...]
    plan: str | None
    """The planned driver and frameworks in one clause, or why there is no plan."""


def compose(
    machine: Machine,
    findings: Sequence[Finding],
    explanations: Sequence[Explanation],
    plan: Mapping[str, Any] | None,
    *,
    judged_from: str | None = None,
) -> Story:
    """The story of a machine.

    ``plan``: the document of `dlbox plan --json`; None if it could not be made.
    """
    faults = sorted(
        (f for f in findings if f.status in (Status.FAIL, Status.UNKNOWN)),
        key=lambda f: _rank(f, explanations),
    )
    first = faults[0] if faults else None
    broken = _broken(first, explanations) if first else None
    state: State = "works" if first is None else "broken" if first.status is Status.FAIL else "unknown"
    steps = _steps(machine, broken, plan)
    return Story(
        machine=describe(machine),
        judged_from=judged_from,
        state=state,
        works=tuple(dict.fromkeys(f.title for f in findings if f.status is Status.PASS)),
        broken=broken,
        also=(*faults[1:], *(f for f in findings if f.status is Status.WARN)),
        next_step=broken.remedy if broken else steps[0],
        next_command=_command(broken, machine) if broken else "dlbox ready",
        after=tuple(steps if broken else steps[1:]),
        plan=_plan_in_words(plan),
    )


def describe(machine: Machine) -> str:
    """The computer in one line: cards, distribution and kernel."""
    names = [gpu.name.value for gpu in machine.gpus if gpu.name.value]
    cards = ", ".join(dict.fromkeys(names)) or ", ".join(card.pci_id for card in machine.cards)
    where = {"container": " (container)", "wsl2": " (WSL2)", "virtual-machine": " (virtual machine)"}
    host = machine.host
    kernel = f", kernel {host.kernel}" if host.kernel else ""
    return f"{cards or 'no NVIDIA card'} on {host.distribution.name}{kernel}{where.get(host.environment, '')}"


def _rank(finding: Finding, explanations: Sequence[Explanation]) -> tuple[int, int, int]:
    """Sort key that puts the probable origin of the other faults first: faulty hardware, then findings whose cause is
    explained; failed before unknown; driver before frameworks."""
    name = f"{finding.theme}.{finding.check}"
    hardware = name in _HARDWARE
    explained = any(explanation.id == name for explanation in explanations)
    theme = _THEMES.index(finding.theme) if finding.theme in _THEMES else len(_THEMES)
    return (0 if hardware else 1 if explained else 2, 0 if finding.status is Status.FAIL else 1, theme)


def _broken(finding: Finding, explanations: Sequence[Explanation]) -> FirstFault:
    mine = [e for e in explanations if e.id == finding.id and e.blocking]
    first = mine[0].causes[0] if mine else None
    proven = first is None or first.proven
    remedy = first.remedy if first is not None and first.proven else Remedy()
    return FirstFault(
        id=finding.id,
        theme=finding.theme,
        title=first.title if first is not None and proven else finding.title,
        message=finding.message,
        proven=proven,
        evidence=first.evidence if first is not None and proven else (),
        remedy=finding.remedy or "dlbox check",
        commands=remedy.commands,
        by="dlbox" if _role_repairs(finding.id, remedy) else "person",
    )


def _role_repairs(name: str, remedy: Remedy) -> bool:
    """Whether the role of the driver does what the remedy says. It loads no module, and it stops at a driver of another
    branch, which a person has to remove first."""
    only_loads = bool(remedy.commands) and all(c.startswith("sudo modprobe ") for c in remedy.commands)
    return remedy.by_dlbox and not remedy.by_hand and not only_loads and name != "driver.branch"


def _command(broken: FirstFault, machine: Machine) -> str | None:
    """The command to run next; None where a person has to act first, or where the report is of another computer."""
    if broken.by == "dlbox":
        return "dlbox doctor --fix" if machine.source is None else " && ".join(broken.commands) or None
    if broken.commands and broken.remedy.startswith(broken.commands[0]):
        return " && ".join(broken.commands)
    return None


def _steps(machine: Machine, broken: FirstFault | None, plan: Mapping[str, Any] | None) -> list[str]:
    """What comes after the next step, each as one sentence part that begins with a command."""
    steps = []
    driver = (plan or {}).get("driver")
    no_driver = not machine.nvml.ok and not _has_driver(machine)
    repaired_by_provision = broken is not None and "dlbox provision" in broken.remedy
    own = machine.host.environment == "bare-metal" and machine.has_gpu
    if broken is not None and driver and no_driver and own and not repaired_by_provision:
        steps.append(f"dlbox provision: driver {driver['branch']} ({driver['flavour']}) and the frameworks")
    if broken is not None:
        steps.append("dlbox doctor: looks again")
    steps.append("dlbox ready: trains on this computer, and gives the verdict")
    return steps


def _has_driver(machine: Machine) -> bool:
    kernels = machine.installation.kernels.value or ()
    return bool(machine.installation.packages.value) or any(kernel.has_nvidia_module for kernel in kernels)


def _plan_in_words(plan: Mapping[str, Any] | None) -> str | None:
    if plan is None:
        return None
    if plan.get("error"):
        return str(plan["error"])
    driver, names = plan.get("driver"), ", ".join(plan.get("environments", {}))
    if driver:
        return f"driver {driver['branch']} ({driver['flavour']} modules), {names}"
    return f"{names} with the driver that is there" if plan.get("cards") else f"{names} for the processor"
