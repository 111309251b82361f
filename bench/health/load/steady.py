"""Theme "load": measured rates of the card, compared with its nominal figures.

Thresholds are fractions of the card's nominal figures (inventory/cards/catalogue). They are based on about 20 published
runs of one framework and still need calibration on more cards. Laptop cards never fail because of low speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from bench.health.check import CheckOutcome, Subject, check, failed, passed, skipped, unknown, warned
from bench.health.checks import pcie
from bench.health.load.record import LoadRun

PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
_COVERAGE = 0.75
_IMPOSSIBLE = 1.5
"""A rate above this multiple of the nominal figure is impossible. Published runs of overclocked cards reach 1.13."""
_AGAIN = "measure again with another framework: dlbox check --stress 2 --backend torch"
_SOURCE = "published runs of single cards, matrix products up to 10240 x 10240"


def judge_rate(
    subject: Subject, measured: float, expected: float, unit: str, *, warn: float, fail: float
) -> CheckOutcome:
    """Compare a rate with the card's nominal rate, both in ``unit``. ``warn`` and ``fail`` are shares of it.

    A laptop never gets a failure."""
    share = measured / expected
    if share > _IMPOSSIBLE:
        return unknown(
            f"{measured:.3g} {unit} is physically impossible: {share:.1f} times the card's nominal {expected:.4g}",
            _AGAIN,
        )
    message = f"{measured:.3g} {unit}, {share:.0%} of the card's nominal {expected:.4g}"
    rounded = float(f"{measured:.4g}"), float(f"{expected:.4g}")
    if share < fail and not subject.is_laptop:
        return failed(f"{message}; at least {fail:.0%} is expected", *rounded, unit)
    if share < warn:
        return warned(f"{message}; {warn:.0%} is usual", *rounded, unit)
    return passed(message, *rounded, unit)


def _rate(run: LoadRun, name: str) -> tuple[float | None, CheckOutcome | None]:
    """The measured rate, or an outcome that says why the rate was not measured."""
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
    title="Load ran to completion",
    scope="load",
    needs_gpu=False,
    looks_at="the process that produces the load",
    limits="the process exits by itself without an error",
    source="measured with dlbox",
    fix="read the kernel log: sudo dmesg | tail -30; update the driver, or try another backend with --backend",
)
def runs(subject: Subject | None, run: LoadRun) -> CheckOutcome:
    """A program that computes for minutes must not crash. If it does, the cause may be the memory, the power
    supply or the driver as well as the framework."""
    if run.interrupted:
        return skipped(f"interrupted after {run.seconds:.0f} s")
    if run.problem:
        return failed(f"the load {run.problem}")
    if subject is not None and not run.on_gpu:
        return failed(
            f"{run.backend} ran on the CPU, not on the card",
            run.device or "cpu",
            "gpu",
            remedy="find out why it does not find the card: dlbox check --frameworks",
        )
    return passed(f"{run.seconds:.0f} s with {run.backend} on {run.device}", round(run.seconds), None, "s")


def _matmul(precision: str) -> Callable[..., CheckOutcome]:
    def judge(subject: Subject | None, run: LoadRun) -> CheckOutcome:
        """The rate of large matrix products, which take most of the time of training. FP32 on cards from Ampere
        on reaches two thirds of the figure in the data sheet, because half of the units share a data path."""
        rate, no_rate = _rate(run, f"matmul-{precision}")
        if no_rate is not None or rate is None:
            return no_rate or skipped("not measured")
        if subject is None:
            return passed(
                f"{rate:.3g} TFLOPS on the CPU; nominal figures exist for cards only",
                float(f"{rate:.3g}"),
                None,
                "TFLOPS",
            )
        peak = subject.card.peak_tflops(precision) if subject.card else None  # type: ignore[arg-type]
        if peak is None:
            return skipped(
                f"{rate:.3g} TFLOPS; not judged: the card is not in the catalogue, or it has no hardware for this "
                "precision"
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
        looks_at="products of large matrices for two seconds; the median of blocks",
        limits="FP32: the check warns below 58 % of the nominal figure (78 % before Ampere) "
        "and fails below 40 %; other precisions: 80 % and 50 %",
        applies_to="cards in the catalogue: TF32 and BF16 from Ampere on, FP16 from RTX 20 on",
        source=_SOURCE,
        fix="stop other programs, check heat and power limit: dlbox check; restore the card's default clocks",
    )(_matmul(_precision))


@check(
    "load.memory-bandwidth",
    title="Memory bandwidth",
    scope="load",
    needs_gpu=False,
    looks_at="reading and writing buffers far larger than the card's cache",
    limits="the check warns below 80 % of the nominal figure and fails below 60 %",
    source="published: RTX 4090 91 %, RTX 3090 91 %, other tools 80 to 86 %",
    fix="stop other programs, undo memory overclocking: GDDR7 that repeats transfers is slow",
)
def memory_bandwidth(subject: Subject | None, run: LoadRun) -> CheckOutcome:
    """How fast the card reads and writes its own memory. It limits recurrent networks with small batches."""
    rate, no_rate = _rate(run, "memory-bandwidth")
    if no_rate is not None or rate is None:
        return no_rate or skipped("not measured")
    if subject is None:
        return passed(
            f"{rate:.3g} GB/s of main memory; nominal figures exist for cards only",
            round(rate, 1),
            None,
            "GB/s",
        )
    nominal = subject.card.memory_bandwidth_gb_s if subject.card else None
    expected = nominal or _derived_bandwidth(subject)
    if expected is None:
        return skipped(f"{rate:.0f} GB/s; card not in the catalogue, and its bus width cannot be read")
    return judge_rate(subject, rate, expected, "GB/s", warn=0.80, fail=0.60)


def _derived_bandwidth(subject: Subject) -> float | None:
    """GB/s for cards without figures in the catalogue: 2 transfers per cycle x highest memory clock x bus width."""
    clock, bits = subject.gpu.clocks.memory_max_mhz.value, subject.gpu.memory_bus_bits.value
    return 2 * clock * bits / 8 / 1000 if clock and bits else None


def _copy(name: str) -> Callable[..., CheckOutcome]:
    def judge(subject: Subject | None, run: LoadRun) -> CheckOutcome:
        """Copies between computer and card. Only copies of page-locked memory can be compared with the link's
        rate. Copies of pageable memory are slower for other reasons; their rate is shown only."""
        rate, no_rate = _rate(run, name)
        if no_rate is not None or rate is None:
            return no_rate or skipped("not measured")
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
            return skipped(f"{rate:.1f} GB/s; the link's state could not be read")
        return judge_rate(subject, rate, pcie.gigabytes(generation, lanes), "GB/s", warn=0.70, fail=0.40)

    return judge


for _name, _title in (("to-device", "Copying to the card"), ("from-device", "Copying from the card")):
    check(
        f"load.{_name}",
        title=_title,
        scope="load",
        needs_gpu=False,
        looks_at="copies of 256 MiB, and the rate of the link under load",
        limits="page-locked memory: the check warns below 70 % of the link's rate and fails below 40 %",
        source="published: PCIe 4 x16 76 to 86 %, PCIe 5 x16 90 %, PCIe 3 x16 79 %",
        fix="check the slot and riser cable: dlbox check --only pcie; set the slot's speed to Auto in the firmware",
    )(_copy(_name))


@check(
    "load.memory-pattern",
    title="Memory test",
    scope="load",
    needs_gpu=False,
    looks_at="patterns (00, FF, AA, 55, address, random) written to nearly all free memory, then read back",
    limits="the check fails on any wrong cell; if less than 75 % of the free memory was tested, the result is unknown",
    source="NVIDIA DCGM's rule for its memory test",
    fix="undo overclocking, cool the card, test again; if cells are wrong again, the card is defective",
)
def memory_pattern(subject: Subject | None, run: LoadRun) -> CheckOutcome:
    """Defective memory cells change numbers without an error. Each pattern is written to all of the memory
    before it is read, which detects cells that lose their content and cells that share an address."""
    if "memory-pattern" in run.troubles:
        return unknown(f"could not be tested: {run.troubles['memory-pattern']}", _AGAIN)
    if run.pattern is None:
        return skipped(run.skipped.get("memory-pattern", "not tested"))
    tested, wrong = run.pattern.tested_bytes, run.pattern.wrong_cells
    message = f"{tested / 2**30:.2f} GiB, {run.pattern.patterns} patterns"
    if wrong:
        return failed(f"{wrong} wrong cells in {message}", wrong, 0, "cells")
    if tested <= 0 or run.pattern.patterns <= 0 or (subject is not None and run.pattern.free_bytes <= 0):
        return unknown("no memory was tested", _AGAIN)
    if subject is not None and tested < _COVERAGE * run.pattern.free_bytes:
        share = tested / max(1, run.pattern.free_bytes)
        return unknown(
            f"only {share:.0%} of the free memory could be tested",
            "stop other programs on the card, then: dlbox check --stress 2",
        )
    return passed(f"{message}, no wrong cell", 0, 0, "cells")


@check(
    "load.repeatable",
    title="Repeatable results",
    scope="load",
    needs_gpu=False,
    looks_at="one matrix product is repeated, and each result is compared with the first",
    limits="the check fails on any difference",
    source="cuBLAS documentation: bitwise equal results on the same card in one stream",
    fix="undo overclocking, cool the card, test again; if results differ again, the card or power supply is defective",
)
def repeatable(subject: Subject | None, run: LoadRun) -> CheckOutcome:
    """If a card computes the same product twice and gets different results, it corrupts training without an
    error message."""
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
    return passed(f"{run.repeats.times} products, all results equal", 0, 0)
