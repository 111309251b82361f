"""Why a process ended: by itself, by a crash, by a kill, or because memory ran out, which needs evidence."""

from __future__ import annotations

import contextlib
import re
import signal
from pathlib import Path
from typing import Literal

import msgspec

_CRASHES = frozenset({"SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS"})
"""What a process gets for its own mistakes. Every other signal comes from someone else."""

_MEMORY = re.compile(
    r"resource_?exhausted|out[ _]?of[ _]?memory|\boom\b|_alloc_failed\b|_allocation_failed\b|\bbad_alloc\b"
    r"|can(?:no|')t allocate memory(?! in static tls)|cudaErrorMemoryAllocation|\bMemoryError\b",
    re.IGNORECASE,
)
"""A library that finds no room for its thread-local variables "cannot allocate memory in static TLS block"."""


_HARMLESS = "not a failure"
"""TensorFlow's allocator warns so where it goes on with less memory."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """``why`` continues a sentence that begins with the process."""

    kind: Literal["out-of-memory", "killed", "crash"]
    why: str


def of(code: int, kills_before: int | None, words: str = "") -> Ending:
    """Of a process that ended with ``code``, which is not 0: negative is a signal, as in ``subprocess``.

    ``kills_before``: what ``kills`` gave before it started. ``words``: the last lines that it wrote.

    Anybody can send a SIGKILL. That memory ran out is said only where the kernel counts such a kill meanwhile, or the
    process wrote it.
    """
    name = _name(-code) if code < 0 else ""
    crashed = name in _CRASHES
    how = f"ended with exit code {code}"
    if name:
        how = f"crashed ({name})" if crashed else f"was killed by {name}"
    if speaks_of_memory(words):
        return Ending(kind="out-of-memory", why=f"{how}, and wrote that memory ran out")
    if crashed or code >= 0:
        return Ending(kind="crash", why=how)
    if name == "SIGKILL":
        now = kills()
        if now is None or kills_before is None:
            return Ending(kind="killed", why=f"{how}; the kernel does not tell whether memory ran out")
        if now > kills_before:
            return Ending(kind="out-of-memory", why=f"{how}, and the kernel counts a kill for lack of memory")
        return Ending(kind="killed", why=f"{how}; the kernel counts no kill for lack of memory")
    return Ending(kind="killed", why=how)


def speaks_of_memory(words: str) -> bool:
    """Whether memory of the card or of the machine ended, in the words of any framework."""
    return any(_MEMORY.search(line) and _HARMLESS not in line for line in words.splitlines())


def kills(root: Path = Path("/")) -> int | None:
    """Programs that the kernel killed because memory ran out; None where it does not say.

    Those of this process' own control group where it is counted there, else those of the whole machine since its boot.
    """
    for path in (*_counters(root), root / "proc/vmstat"):
        with contextlib.suppress(OSError):
            found = re.search(r"^oom_kill (\d{1,18})$", path.read_text(errors="replace"), re.MULTILINE)
            if found:
                return int(found[1])
    return None


def _counters(root: Path) -> list[Path]:
    """Files of the control group, of version 2 and of version 1."""
    try:
        lines = (root / "proc/self/cgroup").read_text(errors="replace").splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if ".." in group.split("/"):  # of a group outside what can be seen here
            continue
        if not controllers:
            groups = root / "sys/fs/cgroup"  # a container may see its own group alone, as the root
            found += [groups / group.strip("/") / "memory.events", groups / "memory.events"]
        elif "memory" in controllers.split(","):
            found.append(root / "sys/fs/cgroup/memory" / group.strip("/") / "memory.oom_control")
    return found


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
