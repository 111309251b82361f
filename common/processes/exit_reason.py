"""Why a process failed: an error, a crash, a signal, or lack of memory (only if there is evidence for it)."""

from __future__ import annotations

import contextlib
import re
import signal
from pathlib import Path
from typing import Literal

import msgspec

_CRASHES = frozenset({"SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS"})
"""Signals that a process causes by its own errors. All other signals come from other processes."""

_MEMORY = re.compile(
    r"resource_?exhausted|out[ _]?of[ _]?memory|\boom\b|_alloc_failed\b|_allocation_failed\b|\bbad_alloc\b"
    r"|can(?:no|')t allocate memory(?! in static tls)|cudaErrorMemoryAllocation|\bMemoryError\b",
    re.IGNORECASE,
)
"""Excluded: "cannot allocate memory in static TLS block" means that a library could not be loaded."""

_HARMLESS = "not a failure"
"""Part of a warning of TensorFlow's allocator, which then continues with less memory."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """``why`` is the predicate of a sentence whose subject is the process."""

    kind: Literal["out-of-memory", "killed", "crash"]
    why: str


def explain(code: int, oom_kills_before: int | None, output: str = "") -> Ending:
    """Why a process ended with ``code``, which is not 0; a negative code is a signal, as in ``subprocess``.

    ``oom_kills_before``: the value of ``oom_kills`` before the start. ``output``: the last lines that it wrote.

    Any process can send SIGKILL. The kind is "out-of-memory" only if the kernel has counted such a kill since the
    start, or if the process reported it.
    """
    name = _name(-code) if code < 0 else ""
    crashed = name in _CRASHES
    how = f"ended with exit code {code}"
    if name:
        how = f"crashed ({name})" if crashed else f"was killed by {name}"
    if reports_out_of_memory(output):
        return Ending(kind="out-of-memory", why=f"{how} after it reported that memory ran out")
    if crashed or code >= 0:
        return Ending(kind="crash", why=how)
    if name == "SIGKILL":
        now = oom_kills()
        if now is None or oom_kills_before is None:
            return Ending(kind="killed", why=f"{how}; the kernel does not report whether memory ran out")
        if now > oom_kills_before:
            return Ending(
                kind="out-of-memory", why=f"{how}; the kernel counted a kill because memory ran out"
            )
        return Ending(kind="killed", why=f"{how}; the kernel counted no kill because memory ran out")
    return Ending(kind="killed", why=how)


def reports_out_of_memory(text: str) -> bool:
    """Whether ``text`` is a message of any framework that memory of the card or the computer ran out."""
    return any(_MEMORY.search(line) and _HARMLESS not in line for line in text.splitlines())


def oom_kills(root: Path = Path("/")) -> int | None:
    """Number of processes that the kernel has killed because memory ran out; None if the kernel does not report it.

    The count is that of this process's control group if it has a counter, else of the whole computer since its boot.
    """
    for path in (*_counters(root), root / "proc/vmstat"):
        with contextlib.suppress(OSError):
            found = re.search(r"^oom_kill (\d{1,18})$", path.read_text(errors="replace"), re.MULTILINE)
            if found:
                return int(found[1])
    return None


def _counters(root: Path) -> list[Path]:
    """Files with the counter of the control group, for cgroup versions 2 and 1."""
    try:
        lines = (root / "proc/self/cgroup").read_text(errors="replace").splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if ".." in group.split("/"):  # a group that is not visible from here
            continue
        if not controllers:
            groups = root / "sys/fs/cgroup"  # a container may see only its own group, as the root group
            found += [groups / group.strip("/") / "memory.events", groups / "memory.events"]
        elif "memory" in controllers.split(","):
            found.append(root / "sys/fs/cgroup/memory" / group.strip("/") / "memory.oom_control")
    return found


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
