"""The provisioning pages: every feature has a cell for dlbox, and every named test exists."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "guides" / "provisioning.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "docs" / "evidence" / "provisioning.md").read_text(encoding="utf-8")
TABLES = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line[:2] == "| "
]
FEATURES = [row for row in TABLES if len(row) == 14 and row[0] != "Feature"]
FAULTS = [row for row in TABLES if len(row) == 3 and row[0] != "Fault"]


def test_all_features_of_the_comparison_are_there() -> None:
    assert len(FEATURES) == 15
    assert len(FAULTS) >= 10


@pytest.mark.parametrize("row", FEATURES, ids=lambda row: row[0])
def test_a_yes_has_its_proof(row: list[str]) -> None:
    assert re.match(r"(Y|p|N)\b", row[12]), row[12]
    assert row[12].startswith("N") or "::" in row[13]


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`([\w/]+\.py::\w+)`", PAGE))))
def test_what_is_named_exists(named: str) -> None:
    file, _, test = named.partition("::")
    assert f"\ndef {test}(" in (ROOT / "tests" / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(e2e/\w+\.py)`", RESULTS))))
def test_a_file_with_results_exists(named: str) -> None:
    assert (ROOT / "tests" / named).exists()


@pytest.mark.parametrize("row", FAULTS, ids=lambda row: row[0])
def test_a_fault_names_its_proof(row: list[str]) -> None:
    assert "::" in row[2]


def test_every_role_is_explained() -> None:
    roles = {path.name for path in (ROOT / "provision" / "roles").iterdir() if (path / "tasks").is_dir()}
    explained = {row[0].strip("`") for row in TABLES if len(row) == 4}
    assert roles == explained - {"Role"}
