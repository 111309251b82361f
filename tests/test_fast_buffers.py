"""The buffers that the compiled recurrences reuse: no array is used twice at once, and their total size is
limited."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workshops.fast.recurrence import _Buffers

SHAPES = st.sampled_from([(3, 2), (5, 2), (7, 1, 2), (1,)])
TAKEN = st.tuples(st.just("take"), SHAPES)
GIVEN = st.tuples(st.just("give"), st.integers(0, 50))


@given(st.lists(st.one_of(TAKEN, GIVEN), max_size=200))
def test_a_buffer_has_the_shape_asked_for_and_one_user(told: list[tuple[str, object]]) -> None:
    buffers, out = _Buffers(), []
    for what, told_with in told:
        if what == "take":
            array = buffers.take(*told_with)  # type: ignore[misc]
            assert array.shape == told_with
            assert all(array is not other for other in out)
            out.append(array)
        elif out:
            buffers.give(out.pop(told_with % len(out)))  # type: ignore[operator]


def test_the_buffers_stay_below_their_limit_and_unused_shapes_go_first() -> None:
    buffers = _Buffers()
    often = buffers.take(2, 2)
    buffers.give(*(buffers.take(1, n) for n in range(1, buffers.MAX_STORED + 1)))
    buffers.give(often)
    assert sum(map(len, buffers._free.values())) == buffers.MAX_STORED
    assert buffers.take(2, 2) is often


def test_a_shape_without_free_buffers_is_removed() -> None:
    """Training at one batch, then guessing at another: the list of the first was empty, and was popped from."""
    buffers = _Buffers()
    buffers.give(buffers.take(9, 9))
    buffers.take(9, 9)
    buffers.give(*(buffers.take(1, n) for n in range(1, buffers.MAX_STORED + 2)))
    assert sum(map(len, buffers._free.values())) == buffers.MAX_STORED
