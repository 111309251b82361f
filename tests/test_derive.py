"""Computed figures: achieved FLOP/s, shares of peaks, price, and the interval expected of another run."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judge.result import ResultJudge
from bench.results.record.document import Repeat, Result, Spread
from bench.results.record.figures import Probes, Work
from bench.results.stats.derived import CONFIDENCE, DRIFT, interval, with_figures
from tests.samples import blocks, machine, result

WORK = Work(flop_per_sample=108e6, bytes_per_sample=0.366e6, recurrent_steps=300)
PROBES = Probes(backend="tensorflow", device="cpu", on_gpu=False, matmul_tflops={"fp32": 0.2})


def of_processes(*rates: float) -> Result:
    repeats = tuple(Repeat(seed=n, blocks=blocks(rate, rate)) for n, rate in enumerate(rates))
    values = [b.samples_per_second for r in repeats for b in r.blocks]
    return result(repeats=repeats, samples_per_second=Spread.of(values))


def test_achieved_flops_and_their_share_of_the_peaks() -> None:
    made = with_figures(result("lstm", 400.0, work=WORK), probes=PROBES, card_tflops=10.0)
    assert made.achieved_tflops == pytest.approx(400 * 108e6 / 1e12)
    assert made.share_of_measured_peak == pytest.approx(400 * 108e6 / 0.2e12)
    assert made.share_of_card_peak == pytest.approx(400 * 108e6 / 10e12)


def test_a_peak_of_another_device_or_precision_is_not_used() -> None:
    assert with_figures(result(work=WORK, on_gpu=True), probes=PROBES).share_of_measured_peak is None
    assert with_figures(result(work=WORK, precision="tf32"), probes=PROBES).share_of_measured_peak is None
    assert with_figures(result(work=WORK)).share_of_measured_peak is None
    assert with_figures(result(), probes=PROBES).achieved_tflops is None


def test_samples_per_dollar_have_the_build_and_the_date() -> None:
    price = with_figures(result("lstm", 500.0), bill=("under-1000", 1000.0, "2026-02-02")).price
    assert price is not None
    assert (price.build, price.priced_on, price.samples_per_second_per_usd) == (
        "under-1000",
        "2026-02-02",
        0.5,
    )
    assert with_figures(result()).price is None


def test_fewer_than_three_processes_have_no_interval() -> None:
    told = interval(of_processes(400.0, 410.0))
    assert (told.low, told.high, told.processes) == (None, None, 2)
    assert told.confidence == CONFIDENCE


def test_the_interval_of_equal_processes_includes_the_drift_between_runs() -> None:
    told = interval(of_processes(400.0, 400.0, 400.0, 400.0, 400.0))
    assert told.low is not None
    assert told.high is not None
    assert told.high / 400 == pytest.approx(400 / told.low)
    assert told.high > 400 * (1 + 2 * DRIFT["cpu"])
    assert "assumed for a processor" in told.drift_from


def test_a_shared_processor_has_a_wider_interval() -> None:
    made = of_processes(400, 401, 399, 400, 400)
    own, shared = interval(made), interval(made, shared=True)
    assert own.low is not None
    assert shared.low is not None
    assert shared.low < own.low
    assert (shared.drift, "virtual machine" in shared.drift_from) == (DRIFT["shared"], True)
    card = msgspec.structs.replace(made, on_gpu=True)
    assert interval(card, shared=True).drift == DRIFT["gpu"], "a card in a virtual machine is its own"
    assert "4 earlier runs" in interval(made, [400.0, 400.5, 399.8, 400.2], shared=True).drift_from


@pytest.mark.parametrize(
    ("environment", "source"),
    [("virtual-machine", "virtual machine"), ("container", "virtual machine"), ("bare-metal", "assumed for a proc")],
)  # fmt: skip
def test_a_virtual_machine_is_treated_as_a_shared_processor(environment: Any, source: str) -> None:
    here = machine()
    here = msgspec.structs.replace(here, host=msgspec.structs.replace(here.host, environment=environment))
    judged, _ = ResultJudge(machine=here).judge(of_processes(400, 401, 399))
    assert judged.interval is not None
    assert source in judged.interval.drift_from


def test_the_drift_of_earlier_runs_replaces_the_default() -> None:
    steady = interval(of_processes(400, 401, 399, 400, 400), [400.0, 400.5, 399.8, 400.2])
    assert "4 earlier runs" in steady.drift_from
    assert steady.drift < 0.001
    wild = interval(of_processes(400, 401, 399, 400, 400), [300.0, 400.0, 500.0, 350.0])
    assert wild.high is not None
    assert steady.high is not None
    assert wild.high > steady.high
    assert "assumed" in interval(of_processes(400, 401, 399), [400.0]).drift_from


@given(st.lists(st.floats(10, 1e5), min_size=3, max_size=9), st.floats(1.01, 50))
def test_an_interval_contains_its_median_and_scales_with_the_speed(rates: list[float], factor: float) -> None:
    one = interval(of_processes(*rates))
    other = interval(of_processes(*(rate * factor for rate in rates)))
    median = of_processes(*rates).samples_per_second.median
    assert one.low is not None
    assert one.high is not None
    assert other.high is not None
    assert one.low < median < one.high
    assert other.high == pytest.approx(one.high * factor, rel=1e-6)


def test_the_spread_of_tokens_is_that_of_samples() -> None:
    made = with_figures(
        msgspec.structs.replace(of_processes(400.0, 410.0, 405.0, 395.0), tokens_per_sample=300)
    )
    rates, expected, tokens = made.samples_per_second, made.interval, made.tokens
    assert tokens is not None
    assert expected is not None
    assert expected.low is not None
    assert expected.high is not None
    assert (tokens.median, tokens.mad) == (rates.median * 300, rates.mad * 300)
    assert (tokens.low, tokens.high) == (expected.low * 300, expected.high * 300)
    one = with_figures(msgspec.structs.replace(of_processes(400.0), tokens_per_sample=300)).tokens
    assert one is not None
    assert (one.low, one.high) == (None, None), "one process says nothing of how another will be"
    assert with_figures(of_processes(400.0)).tokens is None, "a picture has no tokens"


def test_all_other_fields_stay_unchanged() -> None:
    before = result(work=WORK)
    after = with_figures(before, probes=PROBES)
    assert (
        msgspec.structs.replace(after, interval=None, achieved_tflops=None, share_of_measured_peak=None)
        == before
    )
