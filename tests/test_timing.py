"""Times of single steps as seen by the host, or none if the device runs asynchronously."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.worker.timing import single_steps, waiting_share

lasts = st.floats(1e-4, 10.0)


@given(st.lists(st.tuples(lasts, st.integers(1, 32)), min_size=1, max_size=40), st.floats(0, 1e6))
def test_step_times_are_the_differences_of_the_ends(calls: list[tuple[float, int]], began: float) -> None:
    ends, now = [], began
    for seconds, steps in calls:
        now += seconds
        ends.append((now, steps))
    told = single_steps(began, ends, now - began)
    if told:
        assert len(told) == sum(steps for _, steps in calls)
        assert sum(told) == pytest.approx(now - began, abs=1e-5 * len(told) + 1e-6)


def test_a_call_of_several_steps_gives_their_mean() -> None:
    assert single_steps(10.0, [(10.8, 8), (11.2, 4)], 1.2) == pytest.approx((0.1,) * 12)


def test_one_slow_step_is_visible() -> None:
    ends = [(0.1 * step if step < 10 else 0.1 * step + 0.5, 1) for step in range(1, 21)]
    told = single_steps(0.0, ends, 2.5)
    assert sorted(told)[-2:] == pytest.approx([0.1, 0.6])


def test_an_asynchronous_device_gives_no_step_times() -> None:
    """Ten calls return within 0.1 s; then the host waits for the block."""
    assert single_steps(0.0, [(0.01 * step, 1) for step in range(1, 11)], 2.0) == ()
    assert single_steps(0.0, [], 2.0) == ()


TIMES = st.dictionaries(
    st.sampled_from("abc"), st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), max_size=3
)


@given(TIMES, TIMES)
def test_the_share_of_waiting_is_a_share(
    before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]
) -> None:
    share = waiting_share(before, after)
    assert share is None or 0 <= share <= 1


def test_threads_that_wait_as_long_as_they_run_waited_half_of_the_time() -> None:
    before = {"1": (1_000, 500), "2": (0, 0), "ended": (7, 9_000)}
    after = {"1": (3_000, 1_500), "2": (1_000, 1_000), "new": (0, 1_000)}
    assert waiting_share(before, after) == 0.5
    assert waiting_share(after, after) is None
