"""Release versions and ranges of the data files: a strict grammar in front of the packaging library."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.versions import allows, in_python_range, release, version_range

PARTS = st.lists(st.integers(0, 30), min_size=1, max_size=4)


def text(parts: list[int]) -> str:
    return ".".join(map(str, parts))


@given(PARTS, PARTS)
def test_releases_are_ordered_by_their_numbers_and_trailing_zeros_do_not_count(
    first: list[int], second: list[int]
) -> None:
    length = max(len(first), len(second))
    one, two = (parts + [0] * (length - len(parts)) for parts in (first, second))
    assert (release(text(first)) < release(text(second))) is (one < two)
    assert (release(text(first)) == release(text(second))) is (one == two)


@given(PARTS, PARTS, PARTS)
def test_a_range_contains_the_versions_from_its_start_to_before_its_end(
    low: list[int], high: list[int], version: list[int]
) -> None:
    inside = release(text(low)) <= release(text(version)) < release(text(high))
    assert allows(f">={text(low)},<{text(high)}", text(version)) is inside
    assert allows(f"=={text(low)}", text(version)) is (release(text(low)) == release(text(version)))
    assert allows("", text(version))


@pytest.mark.parametrize(
    "wrong", ["2.22.0rc0", "", "1.x", "v1", "2.13.0+cpu", "1..2", " 1", "1\n", "1!2", "\u0661"]
)
def test_only_final_releases_are_versions(wrong: str) -> None:
    with pytest.raises(ValueError, match="expected a release version"):
        release(wrong)


@pytest.mark.parametrize("wrong", ["9.10", "~=9.10", ">=", "==1.*", "===1", ">=1rc1", "<1;2"])
def test_only_plain_ranges_are_ranges(wrong: str) -> None:
    with pytest.raises(ValueError, match="expected a range"):
        version_range(wrong)


def test_python_ranges_include_both_ends() -> None:
    versions = ("3.10", "3.11", "3.13", "3.14")
    assert [in_python_range(version, ("3.11", "3.13")) for version in versions] == [False, True, True, False]
