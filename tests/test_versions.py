"""Our small version arithmetic against the packaging library, which is not among dlbox's own needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from provision.resolve.versions import allows, clauses, conflicts, in_python_range, release, split_constraint

RELEASES = st.lists(st.integers(0, 30), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
CLAUSES = st.tuples(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), RELEASES).map("".join)


@given(RELEASES, RELEASES)
def test_orders_as_packaging_does(first: str, second: str) -> None:
    assert (release(first) < release(second)) == (Version(first) < Version(second))
    assert (release(first) == release(second)) == (Version(first) == Version(second))


@given(st.lists(CLAUSES, max_size=3).map(",".join), RELEASES)
def test_ranges_hold_as_packaging_says(specifier: str, version: str) -> None:
    assert allows(specifier, version) == SpecifierSet(specifier).contains(version)


@pytest.mark.parametrize("text", ["2.22.0rc0", "", "1.x", "v1", "2.13.0+cpu", "1..2"])
def test_only_final_releases_are_versions(text: str) -> None:
    with pytest.raises(ValueError, match="expected a release version"):
        release(text)


@pytest.mark.parametrize("text", ["9.10", "~=9.10", ">=", "==1.*"])
def test_only_plain_ranges_are_ranges(text: str) -> None:
    with pytest.raises(ValueError, match="expected a range"):
        clauses(text)


def test_a_constraint_is_a_name_and_a_range() -> None:
    assert split_constraint("nvidia-cudnn-cu12<9.11") == ("nvidia-cudnn-cu12", "<9.11")
    assert split_constraint("tensorflow[and-cuda]==2.21.0") == ("tensorflow", "==2.21.0")
    with pytest.raises(ValueError, match="expected a constraint"):
        split_constraint("tensorflow")


def test_pins_that_break_a_constraint_are_named() -> None:
    pins = {"nvidia-cudnn-cu12": "9.28.0.42", "keras": "3.15.1"}
    assert conflicts(pins, ["nvidia-cudnn-cu12<9.11", "keras>=3.15", "torch==2.7.1"]) == [
        "nvidia-cudnn-cu12 9.28.0.42 breaks nvidia-cudnn-cu12<9.11"
    ]


def test_python_ranges_include_both_ends() -> None:
    assert [in_python_range(v, ("3.11", "3.13")) for v in ("3.10", "3.11", "3.13", "3.14")] == [
        False,
        True,
        True,
        False,
    ]
