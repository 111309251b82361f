"""The stored setting of a workload, where it counts on this machine as it is now."""

from __future__ import annotations

import math

import msgspec

from bench.finding import Finding, Status
from bench.measure.workloads import Workload
from inventory.machine.records import Machine
from workshops.speed import settings
from workshops.speed.settings import Setting, TunedSettings, installed


def look_up(workload: Workload, book: TunedSettings, machine: Machine) -> tuple[Setting | None, Finding]:
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
    return entry.setting, _told(workload, Status.PASS, f"trained as tuned: {entry.setting.summary}")


def as_set(workload: Workload, setting: Setting | None) -> Workload:
    """``workload`` at the batch of ``setting``, where it has one.

    Its learning rate goes with the square root of the batch, which keeps the noise of Adam's steps (Malladi et al.,
    "On the SDEs and scaling rules for adaptive gradient algorithms", NeurIPS 2022).
    """
    if setting is None or setting.batch_size is None:
        return workload
    times = setting.batch_size / workload.batch_size
    return msgspec.structs.replace(
        workload, batch_size=setting.batch_size, learning_rate=workload.learning_rate * math.sqrt(times)
    )


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
