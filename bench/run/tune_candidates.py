"""What `dlbox tune` tries, and which of it is best."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from workshops.fast import recurrence
from workshops.speed.settings import Precision, Setting

GAIN = 1.03
"""A setting must beat the default's better figure by this: less may be noise."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate and its samples/s; ``why`` it has none or does not count. ``accuracy`` where that was looked at."""

    setting: Setting
    samples_per_second: float | None = None
    accuracy: float | None = None
    why: str = ""


def candidates(backends: Sequence[str], on_gpu: bool) -> list[Setting]:
    """The default (Keras' own choices on the first backend) first; what cannot differ is left out."""
    tried = [Setting(backend=name) for name in backends]
    compiled = not on_gpu and recurrence.at_hand()
    if "torch" in backends and not on_gpu:
        tried += [Setting(backend="torch", layers="fast"), Setting(backend="torch", layers="split")]
    tried += [
        Setting(backend=name, layers="loops")
        for name in ("tensorflow", "torch")
        if compiled and name in backends
    ]
    if "tensorflow" in backends:
        tried.append(Setting(backend="tensorflow", jit=True))
    return tried


STEPS = (8, 32)
"""Batches a call that are tried with the fastest setting. Keras on torch refuses more than one."""

NEAR = 0.85
"""What several batches a call may still make up for, as a share of the best."""


def longer_calls(tried: Sequence[Measured]) -> list[Setting]:
    """The fastest that can take several batches a call, with these, where it is near the best."""
    rates = {one.setting: one.samples_per_second for one in tried if one.samples_per_second}
    able = {setting: rate for setting, rate in rates.items() if setting.backend != "torch"}
    if not able:
        return []
    setting = max(able, key=lambda one: able[one])
    if able[setting] < NEAR * max(rates.values()):
        return []
    return [msgspec.structs.replace(setting, steps_per_execution=steps) for steps in STEPS]


def precisions(setting: Setting, on_gpu: bool, cpu_flags: Collection[str]) -> list[Setting]:
    """``setting`` in other numbers, where the device has units for them. The fast layers know float32 alone."""
    stock = msgspec.structs.replace(setting, layers="stock")
    found: list[Precision] = ["mixed_float16", "mixed_bfloat16"] if on_gpu else []
    if on_gpu and setting.backend == "torch":  # the others use TF32 units by themselves
        found.insert(0, "tf32")
    if not on_gpu and {"amx_bf16", "avx512_bf16"}.intersection(cpu_flags):
        found.append("mixed_bfloat16")
    return [msgspec.structs.replace(stock, precision=one) for one in found]


def choose(tried: Sequence[Measured]) -> tuple[Setting | None, float | None, float | None]:
    """The best setting, its rate and the default's. The default is judged by the better of its two figures."""
    if not tried:
        return None, None, None
    usual = tried[0].setting
    usual_rates = [m.samples_per_second for m in tried if m.setting == usual and m.samples_per_second]
    ran = [m for m in tried if m.samples_per_second and m.setting != usual and not m.why]
    best = max(ran, key=lambda m: m.samples_per_second or 0.0, default=None)
    default_rate = max(usual_rates, default=None)
    if (
        best is not None
        and best.samples_per_second
        and best.samples_per_second > GAIN * (default_rate or 0.0)
    ):
        return best.setting, best.samples_per_second, default_rate
    return (usual if default_rate else None), default_rate, default_rate
