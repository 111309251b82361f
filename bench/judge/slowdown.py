"""Whether training kept its speed: the last blocks of each process against its first ones. Pure.

A machine that gets warm falls steadily within a process, and the scatter of its blocks hides it: a fall of 15% is a
MAD of 4%.
"""

from __future__ import annotations

import statistics

from bench.finding import TRAINING, Finding, Status
from bench.results.record.document import Result
from bench.results.stats import intervals, steadiness

FALL = {"gpu": 0.05, "cpu": 0.08}
"""Share of the first quarter's speed that the last one may be below it, the median over the processes. Card: a sound
RTX 2080 Ti lost 2.6 to 4.7% from cold to warm (published). Processor: above what its blocks' scatter makes by chance
(proposal; tests/test_sustained.py holds how often noise alone is called a fall)."""

LEAST_BLOCKS = 12
"""Of a process, so that a quarter is three blocks or more."""


def falls(result: Result) -> list[float]:
    """Of each process with blocks enough: the share that its last quarter is slower than its first, by their medians;
    below 0 where it is faster."""
    found = []
    for repeat in result.repeats:
        rates = [block.samples_per_second for block in repeat.blocks]
        if len(rates) >= LEAST_BLOCKS:
            quarter = len(rates) // 4
            found.append(1 - statistics.median(rates[-quarter:]) / statistics.median(rates[:quarter]))
    return found


def judge(result: Result) -> list[Finding]:
    """One finding where speed fell in every process, and by more than chance explains; else nothing.

    The noise of two cores comes and goes: it may slow one process down towards its end, but hardly each of them. Of
    a run beside other programs it is said elsewhere that they took its speed.
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
            title=f"{result.label} keeps its speed",
            message=f"it became slower while it trained: the last quarter of a process by {fall:.1%} against its "
            f"first (median of {each}), more than the {most:.0%} that a sound "
            f"{'card' if result.on_gpu else 'processor'} loses; longer training will be slower than this figure",
            measured=round(fall, 4),
            expected=most,
            remedy="clean fans and filters and give the case air; `dlbox check --stress 5` shows what the card does "
            "when it is warm"
            if result.on_gpu
            else "clean fans and filters, give the case air, plug a laptop in, then run it again",
        )
    ]
