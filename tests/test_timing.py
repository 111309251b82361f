"""Times of single steps: as the host saw them end, and none where it saw nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.worker.timing import single_steps

lasts = st.floats(1e-4, 10.0)


@given(st.lists(st.tuples(lasts, st.integers(1, 32)), min_size=1, max_size=40), st.floats(0, 1e6))
def test_they_are_what_lies_between_the_ends(calls: list[tuple[float, int]], began: float) -> None:
    ends, now = [], began
    for seconds, steps in calls:
        now += seconds
        ends.append((now, steps))
    told = single_steps(began, ends, now - began)
    if told:
        assert len(told) == sum(steps for _, steps in calls)
        assert sum(told) == pytest.approx(now - began, abs=1e-5 * len(told) + 1e-6)


def test_a_call_of_several_steps_tells_their_mean() -> None:
    assert single_steps(10.0, [(10.8, 8), (11.2, 4)], 1.2) == pytest.approx((0.1,) * 12)


def test_one_slow_step_is_seen_that_a_mean_would_hide() -> None:
    ends = [(0.1 * step if step < 10 else 0.1 * step + 0.5, 1) for step in range(1, 21)]
    told = single_steps(0.0, ends, 2.5)
    assert sorted(told)[-2:] == pytest.approx([0.1, 0.6])


def test_a_host_that_ran_ahead_of_the_device_has_seen_no_step() -> None:
    """Ten calls are handed over in a tenth of a second; then the block is waited for."""
    assert single_steps(0.0, [(0.01 * step, 1) for step in range(1, 11)], 2.0) == ()
    assert single_steps(0.0, [], 2.0) == ()
