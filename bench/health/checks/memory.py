"""Theme "memory": what of the card's memory is free for training, and who holds the rest."""

from __future__ import annotations

from bench.health.check import NotRead, Outcome, Subject, check, passed, skipped, value, warned
from inventory.machine.reading import Reading

_SHARE = 0.25
_DESKTOP_BYTES = 3 << 29
"""1.5 GiB: screens and browsers hold 0.2 to 1.5 GiB on the captured desktop machines."""


@check(
    "memory.used",
    title="Memory in use by others",
    looks_at="memory held by programs, without what the driver reserves",
    limits="more than a quarter of it, and more than 1.5 GiB, warns",
    source="NVML's second memory struct; desktops hold 0.2 to 1.5 GiB",
    fix="see who holds it: nvidia-smi; end those programs, or plug the screen into the mainboard",
    needs={"gpu.memory_total_bytes": "memory size", "gpu.memory_used_bytes": "memory in use"},
    optional=("gpu.processes",),
    unread="warn",
)
def used(subject: Subject) -> Outcome:
    """What other programs hold is not there for training. The driver's own reserve is counted apart; older
    tools count it as used."""
    total = value(subject.gpu.memory_total_bytes, "memory size")
    held = value(subject.gpu.memory_used_bytes, "memory in use")
    if held > total:
        raise NotRead(Reading.failed(f"{held >> 20} MiB is more than the card has"), "memory in use")
    words = f"{held >> 20} of {total >> 20} MiB"
    if held > max(_DESKTOP_BYTES, _SHARE * total):
        return warned(f"{words} are in use{_holders(subject)}", held >> 20, total >> 20, "MiB")
    return passed(words, held >> 20, total >> 20, "MiB")


@check(
    "memory.processes",
    title="Programs on the card",
    looks_at="the driver's lists of compute and graphics programs",
    limits="none: shown so that you can tell whose load it is",
    applies_to="not under WSL2, which has no list",
    source="NVML",
    fix="end what should not be there: kill PID",
    needs={"gpu.processes": "list of programs"},
    unread="warn",
)
def processes(subject: Subject) -> Outcome:
    """Programs that hold the card. A desktop's display server is normal. In a container, programs of the
    host appear without names or not at all."""
    if subject.machine.host.environment == "wsl2":
        return skipped("WSL2 has no list of programs")
    listed = value(subject.gpu.processes, "list of programs")
    number = len(listed)
    return passed(f"{number}{_holders(subject)}" if number else "none", number)


def _holders(subject: Subject) -> str:
    listed = sorted(subject.gpu.processes.value or (), key=lambda p: -(p.memory_bytes or 0))
    names = [f"{p.name or 'a program'} ({p.pid})" for p in listed[:4]]
    return f": {', '.join(names)}" + (" and others" if len(listed) > 4 else "") if names else ""
