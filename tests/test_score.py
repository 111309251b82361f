"""The score of a run, its interval, and where the machine is among the cards of the catalogue."""

from __future__ import annotations

import datetime
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judge import card_scores
from bench.judge.bands import Band
from bench.measure.workloads import SUITES, WORKLOADS
from bench.results.stats import score
from tests import pages
from tests.samples import document, result

REFERENCE = {"lstm": 418.0, "gru": 390.0, "cnn-lstm": 1203.0}


def run(factor: float = 1.0, processes: int = 1, **changes: Any) -> Any:
    made = []
    for name, rate in REFERENCE.items():
        one = result(name, *[rate * factor] * 4, **changes)
        repeats = tuple(msgspec.structs.replace(one.repeats[0], seed=seed) for seed in range(processes))
        made.append(msgspec.structs.replace(one, repeats=repeats))
    return document(results=tuple(made))


def test_every_workload_of_the_suite_has_a_reference_speed() -> None:
    """A changed workload has another fingerprint: measure its reference speed again."""
    assert {WORKLOADS[name].fingerprint for name in SUITES["workshop"]} == set(score._REFERENCE_RATES)


@given(factor=st.floats(0.01, 100.0))
def test_the_score_is_proportional_to_the_speed(factor: float) -> None:
    found = score.of(run(factor))
    assert found is not None
    assert found.value == pytest.approx(100 * factor)
    assert found.models == tuple(REFERENCE)


def test_one_process_per_model_gives_no_interval_and_three_give_the_drift_between_runs() -> None:
    single = score.of(run(1.0, 1))
    assert single is not None
    assert (single.low, single.half) == (None, None)
    found = score.of(run(1.0, 3))
    assert found is not None
    assert found.low is not None
    assert math.log(found.value / found.low) == pytest.approx(
        1.96 * 0.04, rel=0.01
    )  # equal processes, 4% drift


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 64},
        {"accuracy": 0.1},
        {"partial": True},
        {"diverged": True},
        {"devices": 2},
        {"fingerprint": "0" * 16},
    ],
)
def test_results_that_cannot_be_compared_do_not_count(changes: dict[str, Any]) -> None:
    assert score.of(run(**changes)) is None


@given(rate=st.floats(allow_nan=True, allow_infinity=True))
def test_any_number_as_a_speed_gives_a_finite_score_or_none(rate: float) -> None:
    found = score.of_rates({WORKLOADS["lstm"].fingerprint: rate})
    assert found is None or (math.isfinite(found) and found > 0)


def test_a_known_card_is_between_predicted_cards() -> None:
    found = score.standings(pages.on_card())
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)
    assert [one.name for one in found if one.kind == "this"] == ["GeForce RTX 3060 12GB"]
    assert {one.kind for one in found} == {"this", "prediction"}
    # tf32 on the RTX 2080: no such units, so min(10.07 TFLOP/s of fp32, 448 GB/s x 27.5); here min(25.5, 360 x 27.5)
    assert next(one.score for one in found if one.name == "GeForce RTX 2080") / next(
        one.score for one in found if one.kind == "this"
    ) == pytest.approx(10.07 / 9.9, rel=0.01)


def test_a_processor_is_not_compared_with_cards() -> None:
    assert score.standings(pages.twelve()) == []


def test_a_measured_band_replaces_the_prediction() -> None:
    fingerprints = {name: WORKLOADS[name].fingerprint for name in REFERENCE}
    bands = [
        Band(
            card="RTX 2080", workload=name, fingerprint=fingerprints[name], backend="jax", precision="fp32", batch=32,
            low=10 * rate, high=40 * rate, runs=3, measured_on=datetime.date(2026, 11, 1), source="a test",
        )
        for name, rate in REFERENCE.items()
    ]  # fmt: skip
    measured = card_scores.measured(bands)
    assert measured == {"GeForce RTX 2080": pytest.approx(2000.0)}
    (one,) = [s for s in score.standings(pages.on_card(), measured) if s.name == "GeForce RTX 2080"]
    assert (one.kind, one.score) == ("measured", pytest.approx(2000.0))
