"""The stored setting of a workload, if it still applies to this machine."""

from __future__ import annotations

import math

import msgspec

from bench.finding import Finding, Status
from bench.measure.workloads import Workload
from inventory.machine.records import Machine
from workshops.speed import settings
from workshops.speed.settings import Setting, TunedSettings, installed


def look_up(
    workload: Workload, tuned_settings: TunedSettings, machine: Machine
) -> tuple[Setting | None, Finding]:
    """The stored setting to train with, or None if none applies, and the finding about it."""
    entry = tuned_settings.entries.get(workload.name)
    if entry is None:
        return None, _finding(workload, Status.WARN, "no setting is stored, so it trained with the default")
    here = {**entry.versions, **installed(entry.setting.backend)}
    why = settings.stale(entry, fingerprint=workload.fingerprint, device=device(machine), versions=here)
    if why:
        return None, _finding(
            workload,
            Status.WARN,
            f"the stored setting does not apply ({why}), so it trained with the default",
        )
    return entry.setting, _finding(
        workload, Status.PASS, f"trained with the stored setting: {entry.setting.summary}"
    )


def as_set(workload: Workload, setting: Setting | None) -> Workload:
    """``workload`` with the batch size of ``setting``, if it has one.

    The learning rate rises with the square root of the batch size, which keeps the noise of Adam's updates unchanged
    (Malladi et al., "On the SDEs and scaling rules for adaptive gradient algorithms", NeurIPS 2022).
    """
    if setting is None or setting.batch_size is None:
        return workload
    times = setting.batch_size / workload.batch_size
    return msgspec.structs.replace(
        workload, batch_size=setting.batch_size, learning_rate=workload.learning_rate * math.sqrt(times)
    )


def device(machine: Machine) -> str:
    """The device on which a setting is measured: the names of the cards, or the processor and its number of
    threads."""
    names = [gpu.name.value or "an NVIDIA GPU" for gpu in machine.gpus]
    return ", ".join(names) or f"{machine.host.cpu_model or 'CPU'}, {machine.host.cpu_threads} threads"


def _finding(workload: Workload, status: Status, message: str) -> Finding:
    return Finding(
        theme="tuned",
        check=workload.name,
        status=status,
        title=f"{workload.name} trains with its tuned setting",
        message=message,
        remedy="" if status is Status.PASS else f"dlbox tune --workload {workload.name}",
    )
