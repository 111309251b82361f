"""The output of child processes arrives in whole lines, and no wait is longer than its time limit."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from hypothesis import given
from hypothesis import strategies as st

from common.processes.pipe_reader import PipeReader

NO_WAIT_S = 0
LONG_S = 60


@contextmanager
def pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The end to read from and the end to write to, both without a buffer."""
    ends = os.pipe()
    with os.fdopen(ends[0], "rb", buffering=0) as reading, os.fdopen(ends[1], "wb", buffering=0) as writing:
        yield reading, writing


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_lines_do_not_depend_on_how_the_output_is_cut_into_pieces(text: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(edges) if a < b]
    received, lines = b"", []
    with pipe() as (file, writing), PipeReader(file) as reader:
        for piece in pieces:
            writing.write(piece)
            (output,) = reader.read(LONG_S)
            assert not output.closed
            received += output.data
            lines += output.lines
        writing.close()
        (end,) = reader.read(LONG_S)
    assert end.closed
    assert end.lines == ()
    assert received == text
    assert lines == text.split(b"\n")[:-1], "an unfinished last line is not a line"


def test_without_output_the_reader_returns_nothing_after_the_time_limit() -> None:
    with pipe() as (file, _), PipeReader(file) as reader:
        assert reader.read(NO_WAIT_S) == []
        assert reader.read(-1) == []
        assert reader.read(0.01) == []


def test_output_that_is_there_is_read_after_the_time_limit_too() -> None:
    with pipe() as (file, writing), PipeReader(file) as reader:
        writing.write(b"a\nb")
        (output,) = reader.read(-1)
        assert (output.data, output.lines) == (b"a\nb", (b"a",))


def test_two_pipes_keep_their_lines_apart_and_one_outlives_the_other() -> None:
    with pipe() as (first, to_first), pipe() as (second, to_second), PipeReader(first, second) as reader:
        to_first.write(b"on")
        to_second.write(b"tw")
        assert {output.pipe: output.lines for output in reader.read(LONG_S)} == {first: (), second: ()}
        to_second.write(b"o\n")
        to_first.close()
        outputs = {output.pipe: output for output in reader.read(LONG_S)}
        assert outputs[first].closed
        assert outputs[second].lines == (b"two",)
        assert reader.read(NO_WAIT_S) == [], "a closed pipe is returned once"
        to_second.write(b"three\n")
        assert [output.lines for output in reader.read(LONG_S)] == [(b"three",)]
