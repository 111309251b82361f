"""Whether the speed fell during training: the last blocks of each process compared with its first. Pure functions.

A machine that gets warm slows down steadily within a process. The spread of the blocks hides that: a fall of 15% has a
median absolute deviation of only 4%.
"""

from __future__ import annotations

import statistics

from bench.finding import TRAINING, Finding, Status
from bench.results.record.document import Result
from bench.results.stats import intervals, steadiness

FALL = {"gpu": 0.05, "cpu": 0.08}
"""Largest acceptable fall from the first quarter to the last, as a share of the first; median over the processes.
Card: an RTX 2080 Ti without a fault lost 2.6 to 4.7% from cold to warm (published). Processor: more than the spread
of its blocks causes by chance (a proposed value; tests/test_sustained.py tests how often noise alone is reported)."""

LEAST_BLOCKS = 12
"""Minimum number of blocks of a process, so that a quarter of them is three or more."""


def falls(result: Result) -> list[float]:
    """The fall in speed of each process with enough blocks: 1 - (median speed of its last quarter) / (that of its
    first).
    Negative if the process became faster."""
    found = []
    for repeat in result.repeats:
        rates = [block.samples_per_second for block in repeat.blocks]
        if len(rates) >= LEAST_BLOCKS:
            quarter = len(rates) // 4
            found.append(1 - statistics.median(rates[-quarter:]) / statistics.median(rates[:quarter]))
    return found


def judge(result: Result) -> list[Finding]:
    """One finding if the speed fell in every process, and by more than chance explains; else none.

    Noise from other programs may slow down one process towards its end, but hardly all of them. Runs that other
    programs disturbed get a finding elsewhere.
    """
    found, most = falls(result), FALL[steadiness.kind(result)]
    if len(found) < intervals.LEAST_PROCESSES or steadiness.disturbed(result) or min(found) <= most / 2:
        return []
    fall = statistics.median(found)
    if fall <= most:
        return []
    each = ", ".join(f"{one:.1%}" for one in found)
    return [
        Finding(
            theme=TRAINING,
            check="sustained",
            subject=result.label,
            status=Status.WARN,
            title=f"the speed of {result.label} does not fall during training",
            message=f"it became slower during training: the last quarter of a process was {fall:.1%} slower than its "
            f"first (median of {each}), more than the {most:.0%} that a sound "
            f"{'card' if result.on_gpu else 'processor'} loses; longer training will be slower than this speed",
            measured=round(fall, 4),
            expected=most,
            remedy="clean fans and filters and improve the airflow; `dlbox check --stress 5` "
            "shows how the card behaves "
            "when it is warm"
            if result.on_gpu
            else "clean fans and filters, improve the airflow, connect a laptop to mains power, then run it again",
        )
    ]
