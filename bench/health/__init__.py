"""Health checks: what was read of a machine -> findings. Pure functions; all reading is in ``inventory``."""

from __future__ import annotations

from collections.abc import Collection

from bench.finding import Finding, Status
from bench.health import plausible
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
from bench.health.diagnosis import diagnose
from bench.health.load import soak, steady
from inventory.cards import cards
from inventory.machine.records import Gpu, Machine

_MODULES = (driver, driver_setup, gpu, pcie, thermal, power, memory, errors, host, frameworks, steady, soak)
"""Importing a module enters its checks in the register."""


def checks() -> tuple[Check, ...]:
    """Every check there is, in the order of the report."""
    order = [module.__name__ for module in _MODULES]
    return tuple(sorted(REGISTER.values(), key=lambda check: order.index(check.judge.__module__)))


def themes() -> tuple[str, ...]:
    return tuple(dict.fromkeys(check.theme for check in checks()))


def subjects(machine: Machine) -> list[Subject]:
    """Each GPU with what the catalogue and the bus know of it; values that cannot be count as not read."""
    machine = plausible.checked_all(machine)
    return [_subject(machine, gpu) for gpu in machine.gpus]


def wanted(theme: str, only: Collection[str], skip: Collection[str]) -> bool:
    """Whether a theme was asked for."""
    return (not only or theme in only) and theme not in skip


def run(
    machine: Machine,
    *,
    expect_gpus: int | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
) -> list[Finding]:
    """All passive findings of a machine; ``only`` and ``skip`` are names of themes.

    What keeps a card from being judged at all is told whatever ``only`` says: nobody shall read "ready" from a
    theme that could not be looked at. So is the number of cards, where one was expected.
    """
    machine = plausible.checked_all(machine)
    seen = subjects(machine)
    findings: list[Finding] = []
    for check in checks():
        if check.theme in skip or check.scope not in ("machine", "gpu"):
            continue
        if check.id == "gpu.count":
            told = [check.apply(machine, expect_gpus)]
        elif check.scope == "machine":
            told = [_of_machine(check, machine)]
        else:
            told = _of_gpus(check, machine, seen)
        if not wanted(check.theme, only, skip):
            told = [f for f in told if f.status is Status.FAIL] if _decides(check) else []
        findings.extend(told)
    return findings


def _decides(check: Check) -> bool:
    """Whether nothing else can be judged where this fails."""
    return check.theme == "driver" or check.id in ("gpu.responds", "gpu.count")


def _of_machine(check: Check, machine: Machine) -> Finding:
    if check.needs_gpu and not machine.has_gpu and not diagnose(machine):
        unused = check.id == "driver.loaded" and machine.nvml.code == 9
        note = (
            "; the driver's library is installed, its kernel module is not loaded (NVML code 9)"
            if unused
            else ""
        )
        return check.finding(skipped(f"no NVIDIA card in this machine{note}"))
    return check.apply(machine)


def _of_gpus(check: Check, machine: Machine, seen: list[Subject]) -> list[Finding]:
    if not seen:
        why = "NVML does not reach the card" if diagnose(machine) else "no NVIDIA card in this machine"
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
