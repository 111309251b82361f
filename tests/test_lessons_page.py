"""docs/evidence/lessons.md is generated from lessons.json; its figures lie in the expected ranges of the lessons."""

from __future__ import annotations

import ast
import json
import re

import pytest

from tests.benchmarks import lessons as script
from workshops.lessons import catalog

KEPT = script.load()
BY_HAND = len(catalog.find("by-hand").expected)


def made_up(value: float) -> dict[str, object]:
    """A record with one quick and one full run of ``by-hand``."""
    measured = {e.name: value for e in catalog.find("by-hand").expected}
    run = {"wall": 12.6, "seconds": 9.0, "other_load": 0.1, "ok": True, "measured": measured}
    return {"machine": "a box", "runs": {"by-hand/quick/torch": run, "by-hand/full/tensorflow": run}}


def row(page: str, start: str) -> str:
    return next(line for line in page.splitlines() if line.startswith(start))


@pytest.mark.parametrize(("value", "right"), [(1e-7, BY_HAND), (0.5, 0)])
def test_the_page_counts_the_values_in_their_range(value: float, right: int) -> None:
    page = script.render(made_up(value))
    assert row(page, "| by-hand |") == f"| by-hand | not run | 13 (0.1) | not run | {right} of {BY_HAND} |"
    assert row(page, "| sign |") == "| sign | not run | not run | not run | 0 of 0 |"
    assert row(page, "| LSTM, largest difference |").endswith("| at most 1e-06 |")


def test_a_missing_value_does_not_count_as_in_range() -> None:
    kept = made_up(1e-7)
    del kept["runs"]["by-hand/quick/torch"]["measured"]["LSTM, largest difference"]  # type: ignore[index]
    assert row(script.render(kept), "| by-hand |").endswith(f"| {BY_HAND - 1} of {BY_HAND} |")


@pytest.mark.skipif(not script.KEPT.exists(), reason="nothing measured yet")
def test_the_page_agrees_with_its_figures() -> None:
    assert script.PAGE.read_text(encoding="utf-8") == script.render(KEPT)


@pytest.mark.parametrize("key", sorted(KEPT["runs"]))
def test_the_stored_figures_are_in_their_ranges(key: str) -> None:
    name, mode, _ = key.split("/")
    run = KEPT["runs"][key]
    promised = catalog.find(name).expected_values(quick=mode == "quick")
    off = {e.name: run["measured"].get(e.name) for e in promised}
    assert not [n for n, v in off.items() if v is None], "promised, and not measured"
    assert not [(e.name, off[e.name]) for e in promised if not e.contains(off[e.name])]
    assert json.dumps(run), "plain JSON"


def test_each_yes_of_the_feature_table_names_a_test_that_exists() -> None:
    text = (script.ROOT / "docs" / "guides" / "workshop.md").read_text(encoding="utf-8")
    claimed = re.findall(r"\[(\d)\]", row(text, "| dlbox |"))
    proofs = dict(re.findall(r"^(\d)\. (.+)$", text, re.MULTILINE))
    assert claimed == sorted(proofs) == ["1", "2", "3", "4", "5"]
    for named in proofs.values():
        for path, test in re.findall(r"`([\w/.]+)::(\w+)`", named):
            tree = ast.parse((script.ROOT / path).read_text(encoding="utf-8"))
            assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test


def test_no_value_is_expected_of_models_that_a_run_does_not_train() -> None:
    lesson = catalog.find("text-classification")
    quick = {e.name for e in lesson.expected_values(quick=True)}
    assert "lstm: accuracy - ceiling" in quick
    assert not [n for n in quick if n.startswith("gru")]
    assert "gru: accuracy - ceiling" in {e.name for e in lesson.expected_values(quick=False)}
    assert "gru: accuracy - ceiling" in {e.name for e in lesson.expected_values(quick=True, model="gru")}
    alone = catalog.find("text-generation").expected_values(quick=False, model="gru")
    assert not [e for e in alone if e.name.startswith(("lstm", "simple-rnn"))]
