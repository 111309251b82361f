"""The rows of a batch shared among threads.

A recurrent step of a small model is a product of a few microseconds: threads that share it wait for each other at
every step, and for long where another program holds one of the cores. The rows of a batch do not meet in a recurrence,
so each thread takes its rows through all steps alone, forward and backward; the gradients of the weights are added up.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

LEAST_ROWS = 4
"""A thread with fewer rows gains nothing."""


def everywhere(
    work: Callable[..., Any], given: Sequence[tuple[Any, ...]], begin: Callable[[], object] | None = None
) -> list[Any]:
    """All at the same time, each on one thread of its own; the first error of any is raised.

    ``begin`` is called once in every thread, before its first work.
    """
    if len(given) == 1 and begin is None:
        return [work(*given[0])]
    pool = _pool(len(given), os.getpid(), begin)
    return [one.result() for one in [pool.submit(work, *arguments) for arguments in given]]


@functools.cache
def _pool(threads: int, process: int, begin: Callable[[], object] | None) -> ThreadPoolExecutor:
    """By process, because a forked one has no threads of its parent's."""
    pool = ThreadPoolExecutor(threads, "dlbox-rows", initializer=begin)
    together = threading.Barrier(threads)
    for one in [pool.submit(together.wait) for _ in range(threads)]:
        one.result()  # every thread has started, and has begun
    return pool


def cores() -> int:
    """Those that this process may use."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    here = len(os.sched_getaffinity(0))
    return min(int(told), here) if told.isdigit() and int(told) else here
