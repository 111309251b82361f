"""Theme "memory": how much of the card's memory is free for training, and which programs use the rest."""

from __future__ import annotations

from bench.health.check import CheckOutcome, NotRead, Subject, check, passed, skipped, value, warned
from inventory.machine.reading import Reading

_SHARE = 0.25
_DESKTOP_BYTES = 3 << 29
"""1.5 GiB: displays and browsers use 0.2 to 1.5 GiB on the recorded desktop machines."""


@check(
    "memory.used",
    title="Memory used by other programs",
    looks_at="memory used by programs, without the driver's reserve",
    limits="the check warns if more than a quarter of the memory and more than 1.5 GiB are in use",
    source="version 2 of NVML's memory struct; desktops use 0.2 to 1.5 GiB",
    fix="list the programs: nvidia-smi; stop them, or connect the screen to the mainboard",
    needs={"gpu.memory_total_bytes": "memory size", "gpu.memory_used_bytes": "memory in use"},
    optional=("gpu.processes", "gpu.display_active"),
    unread="warn",
)
def used(subject: Subject) -> CheckOutcome:
    """Memory that other programs use is not available for training. The driver's own reserve is counted
    separately; older tools count it as used."""
    total = value(subject.gpu.memory_total_bytes, "memory size")
    used_bytes = value(subject.gpu.memory_used_bytes, "memory in use")
    if used_bytes > total:
        raise NotRead(Reading.failed(f"{used_bytes >> 20} MiB is more than the card has"), "memory in use")
    message = f"{used_bytes >> 20} of {total >> 20} MiB"
    if used_bytes > max(_DESKTOP_BYTES, _SHARE * total):
        if _is_hidden(subject, used_bytes):
            return warned(
                f"{message} are in use, and the driver lists no program that uses them",
                used_bytes >> 20,
                total >> 20,
                "MiB",
                remedy=_find_hidden(subject),
            )
        return warned(f"{message} are in use{_programs(subject)}", used_bytes >> 20, total >> 20, "MiB")
    return passed(message, used_bytes >> 20, total >> 20, "MiB")


@check(
    "memory.processes",
    title="Programs on the card",
    looks_at="the driver's lists of compute and graphics programs",
    limits="none: the list shows which programs cause the load",
    applies_to="not under WSL2, which has no list of programs",
    source="NVML",
    fix="stop programs that should not run: kill PID",
    needs={"gpu.processes": "list of programs"},
    unread="warn",
)
def processes(subject: Subject) -> CheckOutcome:
    """Programs that use the card. The display server of a desktop is normal. In a container, programs of the
    host have no name in the list or are missing."""
    if subject.machine.host.environment == "wsl2":
        return skipped("WSL2 has no list of programs")
    listed = value(subject.gpu.processes, "list of programs")
    number = len(listed)
    return passed(f"{number}{_programs(subject)}" if number else "none", number)


def _is_hidden(subject: Subject, used_bytes: int) -> bool:
    """Whether the listed programs do not explain most of the used memory. Under WSL2 there is no list."""
    listed = subject.gpu.processes
    if not listed.ok or subject.machine.host.environment == "wsl2":
        return False
    sizes = [program.memory_bytes for program in listed.value or ()]
    return all(size is not None for size in sizes) and sum(size or 0 for size in sizes) < 0.5 * used_bytes


def _find_hidden(subject: Subject) -> str:
    """The next step for memory that no listed program uses: nvidia-smi would show none either."""
    if subject.machine.host.environment == "container":
        return (
            "programs outside this container are not listed: look for them on the host with sudo fuser -v "
            "/dev/nvidia*, and stop them there"
        )
    reset = (
        "reboot"
        if subject.gpu.display_active.value
        else f"sudo nvidia-smi -i {subject.gpu.index} --gpu-reset"
    )
    return (
        "a program that did not end properly, or one in a container, still uses the memory: list it with "
        f"sudo fuser -v /dev/nvidia*, stop it with sudo kill PID; if none is listed: {reset}, else reboot"
    ).replace("reboot, else reboot", "reboot")


def _programs(subject: Subject) -> str:
    listed = sorted(subject.gpu.processes.value or (), key=lambda p: -(p.memory_bytes or 0))
    names = [f"{p.name or 'a program'} ({p.pid})" for p in listed[:4]]
    return f": {', '.join(names)}" + (" and others" if len(listed) > 4 else "") if names else ""
