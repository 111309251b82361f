"""The settings that `dlbox tune` tries, and the choice of the best."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from workshops.fast import recurrence
from workshops.speed.settings import Precision, Setting

GAIN = 1.03
"""A setting is better only if it is this many times as fast as the faster measurement of the default. A smaller gain
may be noise."""


class TriedSetting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting and its speed in samples/s.

    why: Why it has no speed or does not count, or "". accuracy: On held-out examples; None if it was not measured.
    """

    setting: Setting
    samples_per_second: float | None = None
    accuracy: float | None = None
    why: str = ""


def candidates(backends: Sequence[str], on_gpu: bool) -> list[Setting]:
    """The settings to try: the default (Keras' own choices on the first backend), then all other settings."""
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
"""Numbers of batches per call (``steps_per_execution``) to try with the fastest setting. Keras on torch refuses more
than one."""

NEAR = 0.85
"""Minimum speed, as a share of the best, of a setting that several batches per call may make the fastest."""


def longer_calls(tried: Sequence[TriedSetting]) -> list[Setting]:
    """The fastest setting that accepts several batches per call, with each of ``STEPS``; none if it is far too slow."""
    rates = {one.setting: one.samples_per_second for one in tried if one.samples_per_second}
    able = {setting: rate for setting, rate in rates.items() if setting.backend != "torch"}
    if not able:
        return []
    setting = max(able, key=lambda one: able[one])
    if able[setting] < NEAR * max(rates.values()):
        return []
    return [msgspec.structs.replace(setting, steps_per_execution=steps) for steps in STEPS]


def precisions(setting: Setting, on_gpu: bool, cpu_flags: Collection[str]) -> list[Setting]:
    """``setting`` in other precisions that the device has units for. The fast layers support float32 only."""
    stock = msgspec.structs.replace(setting, layers="stock")
    found: list[Precision] = ["mixed_float16", "mixed_bfloat16"] if on_gpu else []
    if on_gpu and setting.backend == "torch":  # the other backends use TF32 by default
        found.insert(0, "tf32")
    if not on_gpu and {"amx_bf16", "avx512_bf16"}.intersection(cpu_flags):
        found.append("mixed_bfloat16")
    return [msgspec.structs.replace(stock, precision=one) for one in found]


def choose(tried: Sequence[TriedSetting]) -> tuple[Setting | None, float | None, float | None]:
    """The best setting, its samples/s, and the samples/s of the default (the faster of its two measurements)."""
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
