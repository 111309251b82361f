"""Train a lesson's model with the settings that `dlbox tune` stored for this machine."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from workshops.speed import defaults, precision, settings
from workshops.speed.settings import Setting


def stored_setting(workload: str | None) -> Setting | None:
    """The stored setting of ``workload``. None if no stored setting is valid on this machine, or if ``workload`` is
    None.

    This function compares only versions and the number of threads. `dlbox bench --tuned`, which has more time, also
    compares the processor, the card and the workload. Raises TunedSettingsError.
    """
    entry = settings.read().entries.get(workload) if workload else None
    if entry is None:
        return None
    here = {**entry.versions, **settings.installed(entry.setting.backend)}
    device = entry.device if _may_be_this_machine(entry.device) else "another machine"
    reason = settings.stale(entry, fingerprint=entry.fingerprint, device=device, versions=here)
    return None if reason else entry.setting


def apply(model: Any, chosen: Setting) -> Setting | None:
    """Prepare ``model``, which is compiled but not yet trained, for training with ``chosen``. Returns None if
    ``chosen`` is for another backend.

    Otherwise returns the part of the setting that is used: a lesson sets its own batch size, and the precision of a
    model is fixed when the model is built.
    """
    import keras

    if chosen.backend != keras.backend.backend():
        return None
    chosen = msgspec.structs.replace(chosen, batch_size=None, precision=precision.current())
    if chosen.layers != "stock":
        from workshops import fast

        fast.quicken(model, chosen.layers)
    if chosen.jit is not None:
        model.jit_compile = chosen.jit
    model.steps_per_execution = chosen.steps_per_execution
    return chosen


def _may_be_this_machine(device: str) -> bool:
    if device.endswith(" threads"):
        return device.endswith(f", {os.cpu_count()} threads")
    return defaults.has_card()
