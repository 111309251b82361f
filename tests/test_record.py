"""The result document: its summaries, its schema and its JSON."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import jsonschema
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.results.record import document as record
from tests.samples import document

RATES = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=40)


@given(RATES)
def test_spread_is_the_median_and_the_median_absolute_deviation(values: list[float]) -> None:
    spread = record.Spread.of(values)
    assert spread.median == pytest.approx(np.median(values))
    assert spread.mad == pytest.approx(np.median(np.abs(np.array(values) - np.median(values))), abs=1e-9)
    assert list(spread.values) == values
    assert spread.median == statistics.median(values)


@given(RATES)
def test_percentiles_equal_those_of_numpy(values: list[float]) -> None:
    found = record.Percentiles.of(values)
    assert (found.p5, found.p50, found.p95) == pytest.approx(tuple(np.percentile(values, [5, 50, 95])))


def test_a_summary_of_no_values_raises_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        record.Spread.of([])
    with pytest.raises(ValueError, match="no values"):
        record.Percentiles.of([])


def test_the_packaged_schema_equals_the_generated_one() -> None:
    """To regenerate: python -m bench.results.record.document > bench/results/record/schema.json"""
    shipped = Path(record.__file__).with_name("schema.json").read_text()
    assert json.loads(shipped) == json.loads(json.dumps(record.json_schema()))


def test_a_document_fits_the_schema_and_is_decoded_unchanged() -> None:
    made = document(run_id=3, report="/tmp/x.html")
    text = record.to_json(made)
    jsonschema.validate(json.loads(text), record.json_schema())
    assert record.from_json(text) == made


def test_the_documented_fields_exist() -> None:
    told = json.loads(record.to_json(document()))
    assert {"schema_version", "command", "verdict", "machine", "findings", "results", "report"} <= set(told)
    assert set(told["findings"][0]) == {
        "id", "theme", "check", "subject", "status", "title", "message", "measured", "expected", "unit", "remedy",
    }  # fmt: skip
    result = told["results"][0]
    assert {
        "workload", "backend", "precision", "batch_size", "samples_per_second", "step_seconds", "compile_seconds",
        "accuracy", "fingerprint", "versions",
    } <= set(result)  # fmt: skip
    assert set(result["samples_per_second"]) == {"median", "mad", "values"}


def test_an_invalid_document_is_refused_with_the_field() -> None:
    told = json.loads(record.to_json(document()))
    told["results"][0]["batch_size"] = "many"
    with pytest.raises(msgspec.ValidationError, match=r"results\[0\]\.batch_size|results\[...\]\.batch_size"):
        record.from_json(json.dumps(told))
