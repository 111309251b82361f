"""How reliable a result is: load of other programs, variation within processes and between them. Pure functions.

The verdict on a run, the choice of a baseline and `compare` use the same limits.
"""

from __future__ import annotations

import math
import statistics

from bench.results.record.document import Result, TimedBlock
from bench.results.stats import intervals

BUSY_CORES, BUSY_SHARE = 0.25, 0.05
"""A result is marked if other programs used more cores than the first and took more than the second, a share, of the
processor time that the worker needed: torch's LSTM lost nine tenths of its speed beside one busy process on two cores,
so even a small share matters."""

DISTURBED_CORES, DISTURBED_SHARE = 0.4, 0.2
"""Share above which a result is unusable: one busy process takes half or more of the speed of training on two cores,
and 0.4 of two cores are 20%. Results that do not say how many cores there were are judged by the number of cores."""

CARD_BUSY_PERCENT, CARD_DISTURBED_PERCENT = 5.0, 20.0
"""The same two limits for a card, in percent of the time in which kernels of other compute programs ran. A card runs
its programs in turns, so they take about this share of its time; a program that only occupies memory takes none. The
second limit corresponds to 0.4 of two cores (proposed value: not measured on a card)."""

UNSTEADY = {"gpu": 0.05, "cpu": 0.12}
"""MAD of the block rates divided by their median, above which a result is unsteady. A GPU without other load gives well
under 1%; two idle cores of a shared host gave 4 to 11% in blocks of half a second, and a busy machine more
(docs/decisions/0061-unsteady-blocks.md)."""

PROCESS_NOISE = {"gpu": 0.034, "cpu": 0.052}
"""Relative standard deviation between processes of one workload on an idle machine. Processor: the noisier of the two
machines of docs/evidence/overhead.md, pooled over the twelve series of its table (0.029 on the other one). Card: the
worst workload of published repeats (Tacotron2 on 16 single H100 instances); this project has measured none on cards.
"""


def governors(result: Result) -> list[str]:
    """The processor's frequency governors in order of time. Equal ones in a row appear only once."""
    found: list[str] = []
    for block in result.blocks:
        if block.governor is not None and block.governor != (found[-1] if found else None):
            found.append(block.governor)
    return found


def kind(result: Result) -> str:
    """ "gpu" or "cpu", the key of the tables in this module."""
    return "gpu" if result.on_gpu else "cpu"


def others(result: Result) -> float:
    """Number of cores that other programs used: the median over the timed blocks, or 0 without blocks."""
    loads = [block.other_cpu_cores for block in result.blocks]
    return statistics.median_high(loads) if loads else 0.0


def taken(result: Result) -> float | None:
    """Share of the processor time that the worker needed and other programs took, 0 to 1: the median over the timed
    blocks. None if the result does not record the number of cores.

    The time that the worker's threads waited for a core is an upper limit of what others took, and so is the others'
    share of all cores: threads of one program wait for each other too. On a machine with free cores threads do not
    wait, whatever other programs use.
    """
    shares = [_taken(block) for block in result.blocks]
    known = [share for share in shares if share is not None]
    return statistics.median_high(known) if known and len(known) == len(shares) else None


def _taken(block: TimedBlock) -> float | None:
    if not block.usable_cores:
        return None
    share = min(1.0, block.other_cpu_cores / block.usable_cores)
    if block.waiting_share is not None:
        return min(share, block.waiting_share)
    if block.own_cpu_cores is None:
        return share
    free = max(0.0, block.usable_cores - block.other_cpu_cores - block.own_cpu_cores)
    return max(0.0, block.other_cpu_cores - free) / block.usable_cores


def is_busy(result: Result) -> bool:
    """Whether other programs slowed the result down a little or more."""
    share = taken(result)
    return others(result) > BUSY_CORES and (share is None or share > BUSY_SHARE)


def others_on_card(result: Result) -> float:
    """Percent of the time in which the card ran kernels of other compute programs (without programs that also render
    graphics); 0 where the driver gives no value."""
    summary = result.telemetry.summary if result.telemetry else None
    shares = (summary.other_programs_percent if summary else None) or {}
    return sum(shares.get(name, 0.0) for name in (summary.other_programs if summary else None) or ())


def disturbed(result: Result) -> bool:
    """Whether other programs took so much of the processor that the result is unusable."""
    share = taken(result)
    if share is None:
        return others(result) > DISTURBED_CORES
    return others(result) > BUSY_CORES and share > DISTURBED_SHARE


def medians(result: Result) -> list[float]:
    """Median samples/s of each process with a timed block."""
    return [
        statistics.median(block.samples_per_second for block in repeat.blocks)
        for repeat in result.repeats
        if repeat.blocks
    ]


def scatter(result: Result) -> float | None:
    """Standard deviation of the logarithms of the process medians; None with too few processes."""
    found = medians(result)
    if len(found) < intervals.LEAST_PROCESSES:
        return None
    return statistics.stdev(math.log(rate) for rate in found)


def most_scatter(result: Result) -> float:
    """The value that ``scatter`` exceeds by chance in one of a hundred runs, if processes vary by ``PROCESS_NOISE``.

    The variance of n processes has a chi-squared distribution with n - 1 degrees of freedom, computed here with Wilson
    and Hilferty's approximation (Proc. Natl. Acad. Sci. 17, 1931); its error is at most 0.3% from three processes on.
    """
    freedom = max(1, len(medians(result)) - 1)
    part, z = 2 / (9 * freedom), statistics.NormalDist().inv_cdf(intervals.CONFIDENCE)
    return PROCESS_NOISE[kind(result)] * math.sqrt((1 - part + z * math.sqrt(part)) ** 3)


def unlike(result: Result) -> str | None:
    """One clause with the numbers if the processes differ by more than chance explains, else None."""
    found, most = scatter(result), most_scatter(result)
    if found is None or found <= most:
        return None
    each = medians(result)
    rates = ", ".join(f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}" for rate in each)
    return (
        f"its processes gave {rates} samples/s, a standard deviation of {found:.1%}; {len(each)} processes on "
        f"an idle {'card' if result.on_gpu else 'processor'} stay below {most:.1%}"
    )
