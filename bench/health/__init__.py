"""Health checks: pure functions from the readings of a machine to findings. ``inventory`` takes the readings."""

from __future__ import annotations

from collections.abc import Collection

from bench.finding import Finding, Status
from bench.health import source_needs
from bench.health.causes.explain import explain
from bench.health.check import REGISTER, Check, Subject, skipped
from bench.health.checks import (
    driver,
    driver_setup,
    errors,
    frameworks,
    gpu,
    host,
    memory,
    pcie,
    power,
    thermal,
)
from bench.health.checks.gpu import silent
from bench.health.load import peers, soak, steady
from inventory.cards import cards
from inventory.machine.gpu_records import Gpu
from inventory.machine.records import Machine
from inventory.nvml import bounds

_MODULES = (
    driver,
    driver_setup,
    gpu,
    pcie,
    thermal,
    power,
    memory,
    errors,
    host,
    frameworks,
    steady,
    soak,
    peers,
)
"""Modules of checks: importing a module registers its checks."""


def checks() -> tuple[Check, ...]:
    """All checks, in the order of the report."""
    order = [module.__name__ for module in _MODULES]
    return tuple(sorted(REGISTER.values(), key=lambda check: order.index(check.judge.__module__)))


def themes() -> tuple[str, ...]:
    """The themes of all checks, in the order of the report."""
    return tuple(dict.fromkeys(check.theme for check in checks()))


def subjects(machine: Machine) -> list[Subject]:
    """Each GPU with its catalogue entry and its PCI entry. A physically impossible value is treated as not read."""
    machine = bounds.checked_all(machine)
    return [_subject(machine, gpu) for gpu in machine.gpus]


def wanted(theme: str, only: Collection[str], skip: Collection[str]) -> bool:
    """Whether the options ``only`` and ``skip`` select a theme."""
    return (not only or theme in only) and theme not in skip


def run(
    machine: Machine,
    *,
    expect_gpus: int | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
) -> list[Finding]:
    """All passive findings of a machine; ``only`` and ``skip`` are names of themes.

    A failure that prevents every other check of a card is reported whatever ``only`` selects; otherwise the verdict
    could be "ready" although the selected theme was not checked. The same holds for a wrong number of cards when
    ``expect_gpus`` is given.
    """
    machine = bounds.checked_all(machine)
    seen = subjects(machine)
    findings: list[Finding] = []
    for check in checks():
        if check.theme in skip or check.scope not in ("machine", "gpu"):
            continue
        if check.id == "gpu.count":
            results = [check.apply(machine, expect_gpus)]
        elif check.scope == "machine":
            results = [_of_machine(check, machine)]
        else:
            results = _of_gpus(check, machine, seen)
        if not wanted(check.theme, only, skip):
            results = [f for f in results if f.status is Status.FAIL] if _blocks_others(check) else []
        findings.extend(results)
    return findings


def _blocks_others(check: Check) -> bool:
    """Whether a failure of this check makes all other checks of the card impossible."""
    return check.theme == "driver" or check.id in ("gpu.responds", "gpu.count")


def _of_machine(check: Check, machine: Machine) -> Finding:
    if check.needs_gpu and not source_needs.knows_cards(machine) and not explain(machine):
        return check.finding(skipped(f"{source_needs.NOT_IN_SOURCE}: the cards of the machine"))
    if check.needs_gpu and not machine.has_gpu and not explain(machine):
        unused = check.id == "driver.loaded" and machine.nvml.code == 9
        note = (
            "; the driver's library is installed, but its kernel module is not loaded (NVML code 9)"
            if unused
            else ""
        )
        return check.finding(skipped(f"no NVIDIA card in this machine{note}"))
    return check.apply(machine)


def _of_gpus(check: Check, machine: Machine, seen: list[Subject]) -> list[Finding]:
    if not seen and source_needs.is_missing(machine, "gpus"):
        return [check.finding(skipped(f"{source_needs.NOT_IN_SOURCE}: the output of nvidia-smi -q"))]
    if not seen:
        why = "NVML does not reach the card" if explain(machine) else "no NVIDIA card in this machine"
        return [check.finding(skipped(why))]
    several = machine.gpu_count > 1
    findings = []
    for subject in seen:
        suffix = f":{subject.gpu.index}" if several else ""
        if check.id != "gpu.responds" and silent(subject.gpu):
            findings.append(check.finding(skipped("the card does not answer"), suffix))
        else:
            findings.append(check.apply(subject, suffix=suffix))
    return findings


def _subject(machine: Machine, gpu: Gpu) -> Subject:
    try:
        card = cards.match(gpu.name.value, gpu.pci_device_id.value, gpu.memory_total_bytes.value)
    except (cards.CatalogueError, ValueError):
        card = None
    return Subject(machine=machine, gpu=gpu, card=card, pci=machine.card_of(gpu))
