"""Speed that falls within each process: found where it falls, and noise alone is hardly ever called a fall."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.finding import Status
from bench.judge import slowdown
from bench.results.record.document import Repeat
from bench.results.stats import intervals
from tests.samples import blocks, result
from tests.test_compare import run_of

KINDS = {"gpu": {"on_gpu": True, "device": "cuda:0"}, "cpu": {}}
NOISE = {"gpu": 0.02, "cpu": 0.10}
"""Scatter of single blocks: 4 to 11% on two cores of a shared host, well under 1% on a card
(docs/decisions/0061-unsteady-blocks.md)."""


def processes(fall: float, scatter: float, seed: int, number: int = 3, count: int = 16) -> list[list[float]]:
    """Blocks that fall by ``fall`` from the first to the last; a third of their scatter stays for some blocks."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        level, drift, rates = 400 * rng.lognormal(0, 0.05), 0.0, []
        for at in range(count):
            drift = 0.7 * drift + rng.normal(0, scatter / 3)
            rates.append(
                level * (1 - fall * at / (count - 1)) * math.exp(drift + rng.normal(0, scatter * 0.9))
            )
        found.append(rates)
    return found


def share_called(kind: str, fall: float, scatter: float, number: int) -> float:
    runs = [run_of(*processes(fall, scatter, seed, number), **KINDS[kind]) for seed in range(400)]
    return sum(bool(slowdown.judge(one)) for one in runs) / len(runs)


@pytest.mark.parametrize("number", [3, 5])
@pytest.mark.parametrize("kind", ["gpu", "cpu"])
def test_noise_alone_is_hardly_ever_called_a_fall(kind: str, number: int) -> None:
    """Twelve models and their fastest batches are judged in a run: at most one in fifty of them by chance."""
    assert share_called(kind, 0.0, NOISE[kind], number) <= 0.02


@pytest.mark.parametrize("number", [3, 5])
@pytest.mark.parametrize(("kind", "fall", "scatter"), [("gpu", 0.10, 0.01), ("cpu", 0.15, 0.03)])
def test_a_machine_that_gets_warm_is_found(kind: str, fall: float, scatter: float, number: int) -> None:
    assert share_called(kind, fall, scatter, number) >= 0.9


def test_a_fall_is_told_with_its_numbers() -> None:
    rates = [[400.0 * (1 - 0.01 * at) for at in range(16)] for _ in range(3)]
    (found,) = slowdown.judge(run_of(*rates))
    assert (found.id, found.status) == ("training.lstm-sustained", Status.WARN)
    assert (
        "the last quarter of a process was 12.2% slower than its first (median of 12.2%, 12.2%, 12.2%)"
        in found.message
    )
    assert (found.measured, found.expected) == (pytest.approx(0.1218, abs=1e-4), slowdown.FALL["cpu"])


def test_what_other_programs_took_is_not_blamed_on_heat() -> None:
    rates = [400.0 * (1 - 0.01 * at) for at in range(16)]
    repeats = tuple(Repeat(seed=seed, blocks=blocks(*rates, other=1.0)) for seed in range(3))
    assert slowdown.judge(result(repeats=repeats)) == []


def test_what_a_sound_card_loses_as_it_gets_warm_is_no_fall() -> None:
    """Published: 2.6 to 4.7%, RTX 2080 Ti."""
    rates = [[400.0] * 8 + [400.0 * (1 - 0.047)] * 8 for _ in range(3)]
    assert slowdown.judge(run_of(*rates, **KINDS["gpu"])) == []


RATES = st.lists(st.floats(1.0, 1e6), min_size=1, max_size=40)


@given(st.lists(RATES, min_size=1, max_size=6), st.sampled_from(["gpu", "cpu"]))
def test_it_is_told_only_of_blocks_enough_and_never_of_what_got_faster(
    rates: list[list[float]], kind: str
) -> None:
    found = slowdown.judge(run_of(*rates, **KINDS[kind]))
    long = [one for one in rates if len(one) >= slowdown.LEAST_BLOCKS]
    if found:
        assert len(long) >= intervals.LEAST_PROCESSES
        assert float(found[0].measured or 0) > slowdown.FALL[kind]
    rising = [sorted(one) for one in rates]
    assert slowdown.judge(run_of(*rising, **KINDS[kind])) == []


@given(st.floats(0.01, 1000.0))
def test_how_fast_a_model_is_does_not_matter(times: float) -> None:
    rates = processes(0.2, 0.02, seed=1)
    faster = [[times * rate for rate in one] for one in rates]
    assert slowdown.falls(run_of(*faster)) == pytest.approx(slowdown.falls(run_of(*rates)))
