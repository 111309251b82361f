"""The interval of a median that tests/benchmarks/overhead_within.py states."""

from __future__ import annotations

import pytest

from tests.benchmarks.overhead_within import least_rank


@pytest.mark.parametrize(("count", "place"), [(6, 1), (9, 2), (12, 3), (20, 6), (25, 8)])
def test_the_places_are_those_of_the_sign_test(count: int, place: int) -> None:
    """As any table of the sign test at 5% has them, counted from 1."""
    assert least_rank(count) + 1 == place
