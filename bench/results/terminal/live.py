"""The lines of the live view: a card's sensors, and speeds with a sparkline."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from inventory.machine.gpu_records import Gpu
from inventory.machine.reading import Reading

_GIB = 2**30
_REASONS = {
    0x4: "power limit",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "power brake",
}
"""Clock event reasons of NVML that reduce the clocks; idle and a user's clock setting do not count."""


def throttle_reasons(mask: int | None) -> tuple[str, ...]:
    """The reasons in ``mask`` (nvmlClocksEventReasons) for which the card reduces its clocks."""
    return tuple(name for bit, name in _REASONS.items() if (mask or 0) & bit)


def card_lines(gpu: Gpu, silent_s: float | None = None) -> list[str]:
    """A card's state, the most important line first. ``silent_s``: seconds for which the card has not answered."""
    name = f"card {gpu.index}" + (f" {gpu.name.value}" if gpu.name.value else "")
    if not gpu.handle.ok:
        return [f"{name}: the card does not answer ({gpu.handle.why})"]
    if silent_s is not None:
        return [f"{name}: the card has not answered for {silent_s:.0f} s"]
    parts = [
        _part(gpu.utilisation_percent, "{:.0f} % busy"),
        _part(gpu.temperatures.gpu_c, "{:.0f} C"),
        _part(gpu.power.draw_w, "{:.0f} W") + _part(gpu.power.limit_w, " of {:.0f} W"),
        _part(gpu.clocks.sm_mhz, "{:.0f} MHz"),
    ]
    lines = [f"{name}: {', '.join(part for part in parts if part) or 'no sensor answers'}"]
    used, total = gpu.memory_used_bytes.value, gpu.memory_total_bytes.value
    if used is not None:
        of = f" of {total / _GIB:.1f}" if total else ""
        lines.append(f"  memory {used / _GIB:.1f}{of} GiB" + _part(gpu.clocks.memory_mhz, " at {:.0f} MHz"))
    if reasons := throttle_reasons(gpu.clocks.event_reasons.value):
        lines.append(f"  clocks reduced: {', '.join(reasons)}")
    for process in gpu.processes.value or ():
        size = "" if process.memory_bytes is None else f", {process.memory_bytes / _GIB:.1f} GiB"
        lines.append(f"  {process.name or 'a program'} ({process.pid}){size}")
    return lines


def panel(title: str, lines: Sequence[str], height: int) -> Panel:
    """The lines in a frame of at most ``height`` rows; long lines are cut, and the last ones are left out."""
    rows = max(1, height - 3)
    shown = [Text(line, no_wrap=True, overflow="ellipsis") for line in lines[:rows]]
    return Panel(Group(*shown), title=Text(title), title_align="left")


def _part(reading: Reading[int] | Reading[float], form: str) -> str:
    return "" if reading.value is None else form.format(reading.value)
