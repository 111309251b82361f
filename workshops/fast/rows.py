"""Divide the rows of a batch among threads.

A recurrent step of a small model is a product of a few microseconds: threads that share it wait for each other at every
step, and longer if another program uses one of the cores. The rows of a batch are independent in a recurrence, so each
thread computes all steps of its rows alone, forward and backward; the gradients of the weights are added up.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

LEAST_ROWS = 4
"""Minimum number of rows per thread: smaller parts do not make training faster."""


def everywhere(
    work: Callable[..., Any], given: Sequence[tuple[Any, ...]], begin: Callable[[], object] | None = None
) -> list[Any]:
    """Run all functions at the same time, each in its own thread. Raises the first error.

    ``begin`` is called once in every thread before its first function.
    """
    if len(given) == 1 and begin is None:
        return [work(*given[0])]
    pool = _pool(len(given), os.getpid(), begin)
    return [one.result() for one in [pool.submit(work, *arguments) for arguments in given]]


@functools.cache
def _pool(threads: int, process: int, begin: Callable[[], object] | None) -> ThreadPoolExecutor:
    """One pool per process, because a forked process does not have the threads of its parent."""
    pool = ThreadPoolExecutor(threads, "dlbox-rows", initializer=begin)
    together = threading.Barrier(threads)
    for one in [pool.submit(together.wait) for _ in range(threads)]:
        one.result()  # Now every thread has started and called ``begin``.
    return pool


def cores() -> int:
    """Number of cores that this process may use."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    here = len(os.sched_getaffinity(0))
    return min(int(threads), here) if threads.isdigit() and int(threads) else here
