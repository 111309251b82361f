"""A finding carries theme, check and subject; its id follows from them, and old documents with an id alone decode."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.finding import TRAINING, Finding, FindingName, Status
from bench.results.record.document import json_schema

WORD = st.from_regex("[a-z][a-z0-9]{0,8}", fullmatch=True)
LABEL = st.from_regex("[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,5}){0,4}", fullmatch=True)
DASHED = st.from_regex("[a-z]{1,6}(-[a-z]{1,6}){0,2}", fullmatch=True)


def finding(**fields: Any) -> Finding:
    return Finding(**{"status": Status.PASS, "title": "t", "message": "m", **fields})


@pytest.mark.parametrize(
    ("id_", "theme", "check", "subject"),
    [
        ("pcie.link-width", "pcie", "link-width", None),
        ("pcie.link-width:1", "pcie", "link-width", 1),
        ("thermal.temperature:0", "thermal", "temperature", 0),
        ("frameworks.tensorflow", "frameworks", "tensorflow", None),
        ("results.history", "results", "history", None),
        ("training.devices", "training", "devices", None),
        ("training.lstm-learns", "training", "learns", "lstm"),
        ("training.lstm-text-gen-learns", "training", "learns", "lstm-text-gen"),
        ("training.lstm-batch-256-steady", "training", "steady", "lstm-batch-256"),
        ("training.lstm-2-devices-scaling", "training", "scaling", "lstm-2-devices"),
        ("training.gru-fused-pays", "training", "fused-pays", "gru"),
        ("tuned.lstm-text-gen", "tuned", "lstm-text-gen", None),
    ],
)
def test_id_and_parts_follow_from_each_other(
    id_: str, theme: str, check: str, subject: int | str | None
) -> None:
    by_parts = finding(theme=theme, check=check, subject=subject)
    assert by_parts.id == id_
    assert finding(id=id_) == by_parts


@given(st.text(alphabet="abz.-:0129", max_size=20).filter(bool))
def test_any_id_splits_into_parts_that_give_it_again(id_: str) -> None:
    assert str(FindingName.of(id_)) == id_


@given(theme=WORD, check=DASHED, gpu=st.none() | st.integers(0, 9999))
def test_ids_of_checks_split_into_what_they_were_made_of(theme: str, check: str, gpu: int | None) -> None:
    name = FindingName(theme if theme != TRAINING else "x", check, gpu)
    assert FindingName.of(str(name)) == name


@given(label=LABEL, check=WORD | st.just("fused-pays"))
def test_ids_of_training_results_split_into_label_and_check(label: str, check: str) -> None:
    if label.endswith("fused") and check == "pays":
        return
    name = FindingName(TRAINING, check, label)
    assert FindingName.of(str(name)) == name


@given(label=LABEL, check=WORD)
def test_json_of_a_finding_decodes_to_the_same_with_and_without_the_parts(label: str, check: str) -> None:
    one = finding(theme=TRAINING, check=check, subject=label)
    document = msgspec.to_builtins(one)
    assert msgspec.convert(document, Finding) == one
    old = {name: document[name] for name in ("id", "status", "title", "message")}
    assert msgspec.convert(old, Finding).id == one.id


def test_an_id_that_contradicts_its_parts_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="does not match its theme"):
        msgspec.convert(
            {"id": "pcie.link-width", "theme": "thermal", "check": "x", "status": "pass", "title": "t", "message": "m"},
            Finding,
        )  # fmt: skip
    with pytest.raises(ValueError, match="does not match"):
        finding()


def test_the_schema_requires_an_id_and_no_parts() -> None:
    required = json_schema()["$defs"]["Finding"]["required"]
    assert "id" in required
    assert not {"theme", "check", "subject"} & set(required)


def test_no_module_but_finding_takes_an_id_apart() -> None:
    """``finding.id.partition(...)`` and the like: parts are fields."""
    found = []
    for path in sorted(Path(__file__).parents[1].glob("bench/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute)):
                continue
            splits = ("partition", "rpartition", "split", "rsplit", "startswith", "endswith", "removeprefix")
            if node.attr in splits and node.value.attr == "id":
                found.append(f"{path.name}:{node.lineno}")
    assert found == []
