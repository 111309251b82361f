"""How far a result can be believed: other programs beside it, scatter inside of processes and between them. Pure.

The verdict on a run, the mark as a baseline and `compare` go by these same limits.
"""

from __future__ import annotations

import math
import statistics

from bench.results.record.document import Result
from bench.results.stats import intervals

BUSY_CORES = 0.25
"""Median of other processes' load above which a figure is marked: torch's LSTM was seen to lose nine tenths
of its speed beside one busy process, so even a little is worth saying."""

DISTURBED_CORES = 0.4
"""Above this the figure is no measurement: one busy process on two cores that training wants takes a half or more."""

CARD_BUSY_PERCENT, CARD_DISTURBED_PERCENT = 5.0, 20.0
"""The same two limits for a card: percent of the time in which kernels of other computing programs ran on it. A card
serves its programs in turns, so they take about that share of it; a program that only holds memory takes none. The
second is the processor's 0.4 of two cores (proposal: measured on no card yet)."""

UNSTEADY = {"gpu": 0.05, "cpu": 0.12}
"""MAD over median of the block rates above which a figure is called unsteady. A GPU alone gives well under 1%; two
idle cores of a shared host gave 4 to 11% in blocks of half a second, and a busy machine more
(docs/decisions/0061-unsteady-blocks.md)."""

PROCESS_NOISE = {"gpu": 0.034, "cpu": 0.052}
"""Standard deviation, as a share, of whole processes of one workload on an idle machine. Processor: the noisier of the
two machines of docs/evidence/overhead.md, pooled over the twelve series of its table (0.029 on the other one). Card:
the worst workload of published repeats (Tacotron2 on 16 single H100 instances), until repeats on cards are measured
here.
"""


def governors(result: Result) -> list[str]:
    """The processor's frequency governors in the order in which they were seen, each change once."""
    found: list[str] = []
    for block in result.blocks:
        if block.governor is not None and block.governor != (found[-1] if found else None):
            found.append(block.governor)
    return found


def kind(result: Result) -> str:
    """ "gpu" or "cpu", as the tables here are keyed."""
    return "gpu" if result.on_gpu else "cpu"


def others(result: Result) -> float:
    """Cores that other programs kept busy, the median over the timed blocks; 0 without any."""
    loads = sorted(block.other_cpu_cores for block in result.blocks)
    return loads[len(loads) // 2] if loads else 0.0


def others_on_card(result: Result) -> float:
    """Percent of the time in which the card ran kernels of other programs that compute and draw nothing; 0 where the
    driver does not tell."""
    summary = result.telemetry.summary if result.telemetry else None
    shares = (summary.other_programs_percent if summary else None) or {}
    return sum(shares.get(name, 0.0) for name in (summary.other_programs if summary else None) or ())


def disturbed(result: Result) -> bool:
    """Whether other programs took so much of the processor that the figure is no measurement."""
    return others(result) > DISTURBED_CORES


def medians(result: Result) -> list[float]:
    """Samples/s of each process that timed a block."""
    return [
        statistics.median(block.samples_per_second for block in repeat.blocks)
        for repeat in result.repeats
        if repeat.blocks
    ]


def scatter(result: Result) -> float | None:
    """Standard deviation of the logarithms of the process medians; None with too few processes to tell."""
    found = medians(result)
    if len(found) < intervals.LEAST_PROCESSES:
        return None
    return statistics.stdev(math.log(rate) for rate in found)


def most_scatter(result: Result) -> float:
    """What ``scatter`` exceeds in one run of a hundred by chance where processes scatter by ``PROCESS_NOISE``.

    Variances of n processes are spread as chi-squared with n - 1 degrees of freedom, here by Wilson and Hilferty's
    approximation (Proc. Natl. Acad. Sci. 17, 1931), which is within 0.3% for three processes and more.
    """
    freedom = max(1, len(medians(result)) - 1)
    part, z = 2 / (9 * freedom), statistics.NormalDist().inv_cdf(intervals.CONFIDENCE)
    return PROCESS_NOISE[kind(result)] * math.sqrt((1 - part + z * math.sqrt(part)) ** 3)


def unlike(result: Result) -> str | None:
    """Where the processes differ more than chance lets them: one clause with the numbers, else None."""
    found, most = scatter(result), most_scatter(result)
    if found is None or found <= most:
        return None
    each = medians(result)
    told = ", ".join(f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}" for rate in each)
    return (
        f"its processes gave {told} samples/s, a scatter of {found:.1%} where {len(each)} processes on "
        f"an idle {'card' if result.on_gpu else 'processor'} stay below {most:.1%}"
    )
