"""Theme "load": what was measured while the card worked, against what it should give.

Thresholds are fractions of the card's own figures (inventory/cards/cards.yml). They rest on some 20 published runs
of one framework, and are to be calibrated on more cards. Laptop cards never fail for speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from bench.health.check import Outcome, Subject, check, failed, passed, skipped, unknown, warned
from bench.health.checks import pcie
from bench.health.load.record import LoadRun

PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
_COVERAGE = 0.75
_IMPOSSIBLE = 1.5
"""Times a card's own figure: published runs reach 1.13 (tests of matrix units on overclocked cards)."""
_AGAIN = "measure again with another framework: dlbox check --stress 2 --backend torch"
_SOURCE = "published runs of single cards, matrix products up to 10240 x 10240"


def judge_rate(
    subject: Subject, measured: float, expected: float, unit: str, *, warn: float, fail: float
) -> Outcome:
    """A rate against the card's own, never a fail on a laptop."""
    share = measured / expected
    if share > _IMPOSSIBLE:
        return unknown(
            f"{measured:.3g} {unit} is {share:.1f} times what the card can reach at all ({expected:.4g})",
            _AGAIN,
        )
    words = f"{measured:.3g} {unit}, {share:.0%} of the card's {expected:.4g}"
    rounded = float(f"{measured:.4g}"), float(f"{expected:.4g}")
    if share < fail and not subject.is_laptop:
        return failed(f"{words}; at least {fail:.0%} is due", *rounded, unit)
    if share < warn:
        return warned(f"{words}; {warn:.0%} is usual", *rounded, unit)
    return passed(words, *rounded, unit)


def _rate(run: LoadRun, name: str) -> tuple[float | None, Outcome | None]:
    """The measured rate, or the outcome that says why there is none."""
    if name in run.troubles:
        return None, unknown(f"could not be measured: {run.troubles[name]}", _AGAIN)
    rate = run.rates.get(name)
    if rate is None:
        return None, skipped(run.skipped.get(name, "not measured"))
    if not math.isfinite(rate) or rate <= 0:
        return None, unknown(f"the measured rate is impossible ({rate:.3g})", _AGAIN)
    return rate, None


@check(
    "load.runs",
    title="Load ran to its end",
    scope="load",
    needs_gpu=False,
    looks_at="the process that makes the load",
    limits="ends by itself",
    source="own measurement",
    fix="read why: sudo dmesg | tail -30; update the driver, or try another backend with --backend",
)
def runs(subject: Subject | None, run: LoadRun) -> Outcome:
    """A program that computes for minutes must not crash. When it does, memory, power or driver are to blame
    as often as the framework."""
    if run.interrupted:
        return skipped(f"interrupted after {run.seconds:.0f} s")
    if run.problem:
        return failed(f"the load {run.problem}")
    if subject is not None and not run.on_gpu:
        return failed(
            f"{run.backend} ran on the processor, not on the card",
            run.device or "cpu",
            "gpu",
            remedy="find out why it does not see the card: dlbox check --frameworks",
        )
    return passed(f"{run.seconds:.0f} s with {run.backend} on {run.device}", round(run.seconds), None, "s")


def _matmul(precision: str) -> Callable[..., Outcome]:
    def judge(subject: Subject | None, run: LoadRun) -> Outcome:
        """The rate of large matrix products, where nearly all time of training goes. FP32 on cards from Ampere
        on reaches two thirds of the figure in the data sheet, because half of its units share a path."""
        rate, none = _rate(run, f"matmul-{precision}")
        if none is not None or rate is None:
            return none or skipped("not measured")
        if subject is None:
            return passed(
                f"{rate:.3g} TFLOPS on the processor; nothing to compare with",
                float(f"{rate:.3g}"),
                None,
                "TFLOPS",
            )
        peak = subject.card.peak_tflops(precision) if subject.card else None  # type: ignore[arg-type]
        if peak is None:
            return skipped(
                f"{rate:.3g} TFLOPS; card not in the catalogue, or without units for this precision"
            )
        warn, fail = (0.80, 0.50) if precision != "fp32" else (_fp32_usual(subject), 0.40)
        return judge_rate(subject, rate, peak, "TFLOPS", warn=warn, fail=fail)

    return judge


def _fp32_usual(subject: Subject) -> float:
    capability = subject.card.compute_capability if subject.card else "8.0"
    return 0.58 if float(capability) >= 8.0 else 0.78


for _precision in PRECISIONS:
    check(
        f"load.matmul-{_precision}",
        title=f"Matrix product, {_precision.upper()}",
        scope="load",
        needs_gpu=False,
        looks_at="products of large matrices for two seconds, median of blocks",
        limits="FP32: below 58 % of the card's figure warns (78 % before Ampere), below 40 % fails; other precisions "
        "80 % and 50 %",
        applies_to="cards in the catalogue with units for it: TF32 and BF16 from Ampere on, FP16 from RTX 20 on",
        source=_SOURCE,
        fix="end other programs, check heat and power limit: dlbox check; take the card's clock settings back",
    )(_matmul(_precision))


@check(
    "load.memory-bandwidth",
    title="Memory bandwidth",
    scope="load",
    needs_gpu=False,
    looks_at="reading and writing buffers far larger than the card's cache",
    limits="below 80 % of the card's figure warns, below 60 % fails",
    source="published: RTX 4090 91 %, RTX 3090 91 %, other tools 80 to 86 %",
    fix="end other programs, take memory overclocking back; GDDR7 that repeats transfers shows here",
)
def memory_bandwidth(subject: Subject | None, run: LoadRun) -> Outcome:
    """How fast the card reads and writes its own memory. Recurrent networks of small batches live on it."""
    rate, none = _rate(run, "memory-bandwidth")
    if none is not None or rate is None:
        return none or skipped("not measured")
    if subject is None:
        return passed(
            f"{rate:.3g} GB/s of main memory; nothing to compare with", round(rate, 1), None, "GB/s"
        )
    expected = subject.card.memory_bandwidth_gb_s if subject.card else _derived_bandwidth(subject)
    if expected is None:
        return skipped(f"{rate:.0f} GB/s; card not in the catalogue, and its bus width is not readable")
    return judge_rate(subject, rate, expected, "GB/s", warn=0.80, fail=0.60)


def _derived_bandwidth(subject: Subject) -> float | None:
    """2 transfers a cycle x highest memory clock x bus width: GB/s of 10^9 bytes, for cards without an entry."""
    clock, bits = subject.gpu.clocks.memory_max_mhz.value, subject.gpu.memory_bus_bits.value
    return 2 * clock * bits / 8 / 1000 if clock and bits else None


def _copy(name: str) -> Callable[..., Outcome]:
    def judge(subject: Subject | None, run: LoadRun) -> Outcome:
        """Copies between computer and card. Only page-locked memory can be held against the link; pageable
        copies are slower for reasons of their own and are shown without judgement."""
        rate, none = _rate(run, name)
        if none is not None or rate is None:
            return none or skipped("not measured")
        if subject is None:
            return skipped("no card to copy to")
        if not run.pinned:
            return passed(
                f"{rate:.3g} GB/s from pageable memory; not comparable with the link",
                round(rate, 1),
                None,
                "GB/s",
            )
        generation, lanes = run.best_link()
        if generation is None or lanes is None:
            return skipped(f"{rate:.1f} GB/s; the link's state was not readable")
        return judge_rate(subject, rate, pcie.gigabytes(generation, lanes), "GB/s", warn=0.70, fail=0.40)

    return judge


for _name, _title in (("to-device", "Copying to the card"), ("from-device", "Copying from the card")):
    check(
        f"load.{_name}",
        title=_title,
        scope="load",
        needs_gpu=False,
        looks_at="copies of 256 MiB, against the link as negotiated under load",
        limits="page-locked: below 70 % of the link warns, below 40 % fails",
        source="published: PCIe 4 x16 76 to 86 %, PCIe 5 x16 90 %, PCIe 3 x16 79 %",
        fix="check the slot and riser cable: dlbox check --only pcie; set the slot's speed to Auto in the firmware",
    )(_copy(_name))


@check(
    "load.memory-pattern",
    title="Memory test",
    scope="load",
    needs_gpu=False,
    looks_at="patterns (00, FF, AA, 55, address, random) written to nearly all free memory, then read back",
    limits="any wrong cell fails; less than 75 % of the free memory tested is no result",
    source="NVIDIA DCGM's rule for its memory test",
    fix="take overclocking back, cool the card, test again; wrong cells again mean a defective card",
)
def memory_pattern(subject: Subject | None, run: LoadRun) -> Outcome:
    """Bad memory cells change numbers silently. All patterns are written before any is read, so that cells
    that lose their content and cells that share an address both show."""
    if "memory-pattern" in run.troubles:
        return unknown(f"could not be tested: {run.troubles['memory-pattern']}", _AGAIN)
    if run.pattern is None:
        return skipped(run.skipped.get("memory-pattern", "not tested"))
    tested, wrong = run.pattern.tested_bytes, run.pattern.wrong_cells
    words = f"{tested / 2**30:.2f} GiB, {run.pattern.patterns} patterns"
    if wrong:
        return failed(f"{wrong} wrong cells in {words}", wrong, 0, "cells")
    if tested <= 0 or run.pattern.patterns <= 0 or (subject is not None and run.pattern.free_bytes <= 0):
        return unknown("no memory was tested", _AGAIN)
    if subject is not None and tested < _COVERAGE * run.pattern.free_bytes:
        share = tested / max(1, run.pattern.free_bytes)
        return unknown(
            f"only {share:.0%} of the free memory could be tested",
            "end other programs on the card, then: dlbox check --stress 2",
        )
    return passed(f"{words}, no wrong cell", 0, 0, "cells")


@check(
    "load.repeatable",
    title="Same product, same bits",
    scope="load",
    needs_gpu=False,
    looks_at="one product repeated, each result compared with the first",
    limits="any difference fails",
    source="cuBLAS documents equal bits on the same card in one stream",
    fix="take overclocking back, cool the card, test again; differences again mean a defective card or supply",
)
def repeatable(subject: Subject | None, run: LoadRun) -> Outcome:
    """A card that computes the same product twice and gets two results corrupts training without any error
    message."""
    if "repeatable" in run.troubles:
        return unknown(f"could not be tested: {run.troubles['repeatable']}", _AGAIN)
    if run.repeats is None:
        return skipped(run.skipped.get("repeatable", "not tested"))
    if run.repeats.different:
        return failed(
            f"{run.repeats.different} of {run.repeats.times} products differ", run.repeats.different, 0
        )
    if run.repeats.times < 2:
        return unknown("fewer than two products were compared", _AGAIN)
    return passed(f"{run.repeats.times} products, all the same", 0, 0)
