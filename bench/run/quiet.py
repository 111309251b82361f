"""Before training: which other programs keep the processor busy, a warning that names them, and waiting for them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import msgspec
import psutil

from bench.results.stats.steadiness import BUSY_CORES, BUSY_SHARE
from common.terminal.progress import ProgressDisplay
from common.terminal.shown import shortened

SECONDS = 0.5
"""Time of one reading. The kernel counts in steps of 0.01 s, so a reading is correct within 0.02 cores per program."""

SECONDS_BETWEEN_READINGS = 5.0
"""Time from one reading to the next while the run waits."""

_NAMED = 3
"""Maximum number of programs that the warning names."""

_LEAST_NAMED = 0.05
"""A program that uses fewer cores than this is not named."""

_ALL_THREADS = 4
"""Training uses all of so many threads. With more threads it needs one per core of the processor, because two threads
of a core share its arithmetic units (proposed value)."""


class OtherPrograms(msgspec.Struct, frozen=True, kw_only=True):
    """What other programs use. ``cores``: number of cores together. ``usable``: number of threads that training may
    use. ``programs``: cores of each program by its name."""

    cores: float
    usable: int
    programs: Mapping[str, float] = {}

    def taken(self, needed: float) -> float:
        """Share of the processor, 0 to 1, that they take from training that needs ``needed`` cores: what they use
        beyond the cores that training leaves free."""
        return min(1.0, max(0.0, self.cores + needed - self.usable) / self.usable)

    def matters(self, needed: float) -> bool:
        """Whether a result measured beside them would be marked as too low (``bench.results.stats.steadiness``)."""
        return self.cores > BUSY_CORES and self.taken(needed) > BUSY_SHARE

    @property
    def text(self) -> str:
        """For example "other programs use 1.4 of 2 cores (firefox 1.1, apt 0.2)"."""
        busiest = sorted(self.programs.items(), key=lambda item: -item[1])[:_NAMED]
        names = [f"{shortened(name, 30)} {cores:.1f}" for name, cores in busiest if cores >= _LEAST_NAMED]
        named = ", ".join(names) or "this user cannot see which"
        return f"other programs use {self.cores:.1f} of {self.usable} core{'s' if self.usable != 1 else ''} ({named})"


def needed_cores(usable: int, physical: int, *, on_card: bool) -> float:
    """Number of cores that training needs: one beside a card, else all cores of the processor."""
    if on_card:
        return 1.0
    return float(min(usable, max(physical, _ALL_THREADS)))


def read(seconds: float = SECONDS, *, sleep: Callable[[float], None] = time.sleep) -> OtherPrograms:
    """Measure for ``seconds`` what other programs use, while this process waits."""
    busy, each, began = _busy_seconds(), _program_seconds(), time.monotonic()
    sleep(seconds)
    passed = max(time.monotonic() - began, 0.001)
    busy, now = _busy_seconds() - busy, _program_seconds()
    own = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    programs: dict[str, float] = {}
    mine = 0.0
    for (pid, name), spent in now.items():
        used = max(0.0, spent - each.get((pid, name), 0.0))
        if pid in own:
            mine += used
        else:
            programs[name] = programs.get(name, 0.0) + used / passed
    return OtherPrograms(
        cores=max(0.0, (busy - mine) / passed), usable=len(os.sched_getaffinity(0)), programs=programs
    )


def _busy_seconds() -> float:
    """Seconds of all cores that were not idle since the machine started."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # already part of user and nice
    return float(sum(times) - idle - guests)


def _program_seconds() -> dict[tuple[int, str], float]:
    """Processor seconds of each program by its number and name, without those that this user cannot see."""
    found = {}
    for process in psutil.process_iter(["name", "cpu_times"]):
        times = process.info["cpu_times"]
        if times is not None:
            found[process.pid, process.info["name"] or "a program without a name"] = times.user + times.system
    return found


def before_training(
    watcher: ProgressDisplay,
    needed: float,
    minutes: float | None = None,
    *,
    look: Callable[[], OtherPrograms] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> OtherPrograms:
    """Warn once if other programs take a part of the ``needed`` cores that matters; returns the last reading.

    minutes: Wait at most so long until they do not, instead of warning at once; training starts in any case.
    """
    measure = look or read
    found = measure()
    if not found.matters(needed):
        return found
    if minutes is None:
        watcher.say(
            f"Warning: {found.text}, so the measured speed will be too low. Close them, or let the next run wait for "
            "them: --wait-for-quiet 10"
        )
        return found
    watcher.begin("other programs", f"waiting up to {minutes:g} min; {found.text}")
    began = clock()
    end = began + 60 * minutes
    while found.matters(needed) and clock() < end:
        sleep(min(SECONDS_BETWEEN_READINGS, max(0.0, end - clock())))
        found = measure()
        watcher.update(f"waiting; {found.text}", min(1.0, (clock() - began) / (60 * minutes)))
    if found.matters(needed):
        watcher.done(
            f"{found.text} after {minutes:g} min of waiting; training starts, its speed will be too low"
        )
    else:
        watcher.done(f"quiet after {(clock() - began) / 60:.1f} min; training starts")
    return found
