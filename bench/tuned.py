"""The stored setting of a workload, where it counts on this machine as it is now."""

from __future__ import annotations

from bench.finding import Finding, Status
from bench.measure.workloads import Workload
from inventory.machine import Machine
from workshops import settings
from workshops.settings import Book, Setting, installed


def look_up(workload: Workload, book: Book, machine: Machine) -> tuple[Setting | None, Finding]:
    """The setting to train with, None where there is none that counts; and what to say of it."""
    entry = book.entries.get(workload.name)
    if entry is None:
        return None, _told(workload, Status.WARN, "nothing is stored for it: trained with the default")
    here = {**entry.versions, **installed(entry.setting.backend)}
    why = settings.stale(entry, fingerprint=workload.fingerprint, device=device(machine), versions=here)
    if why:
        return None, _told(
            workload, Status.WARN, f"the stored setting does not count, {why}: the default was used"
        )
    return entry.setting, _told(workload, Status.PASS, f"trained as tuned: {entry.setting.told}")


def device(machine: Machine) -> str:
    """What a setting is measured on: the card, or the processor and its threads."""
    names = [gpu.name.value or "an NVIDIA GPU" for gpu in machine.gpus]
    return ", ".join(names) or f"{machine.host.cpu_model or 'CPU'}, {machine.host.cpu_threads} threads"


def _told(workload: Workload, status: Status, message: str) -> Finding:
    return Finding(
        id=f"tuned.{workload.name}",
        status=status,
        title=f"{workload.name} is trained with its tuned setting",
        message=message,
        remedy="" if status is Status.PASS else f"dlbox tune --workload {workload.name}",
    )
