from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshops.data import human_numbers


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1, "one"),
        (10, "ten"),
        (19, "nineteen"),
        (20, "twenty"),
        (21, "twenty one"),
        (100, "one hundred"),
        (110, "one hundred ten"),
        (999, "nine hundred ninety nine"),
        (1000, "one thousand"),
        (1001, "one thousand one"),
        (9999, "nine thousand nine hundred ninety nine"),
    ],
)
def test_spelling(number: int, words: str) -> None:
    assert " ".join(human_numbers.spell(number)) == words


@given(st.integers(1, 9998))
def test_no_two_numbers_are_spelled_alike_and_each_reads_back(number: int) -> None:
    total = part = 0
    value = {w: i + 1 for i, w in enumerate(human_numbers.ONES)}
    value |= {w: i + 10 for i, w in enumerate(human_numbers.TEENS)}
    value |= {w: 10 * i + 20 for i, w in enumerate(human_numbers.TENS)}
    for word in human_numbers.spell(number):
        if word in ("hundred", "thousand"):
            total, part = total + part * {"hundred": 100, "thousand": 1000}[word], 0
        else:
            part += value[word]
    assert total + part == number


@pytest.mark.parametrize("number", [0, -1, 10_000])
def test_outside_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=r"not in 1\.\.9999"):
        human_numbers.spell(number)


def test_stream_is_the_known_one() -> None:
    stream = human_numbers.stream()
    assert len(stream) == 63_098
    assert len(set(stream.tolist())) == len(human_numbers.WORDS) == 30
    assert human_numbers.decode(stream[:6]) == "one . two . three ."
    assert human_numbers.decode(stream[-1:]) == "nine"


def test_ceilings_are_the_known_ones() -> None:
    rows = human_numbers.ceilings(human_numbers.stream())
    known = [0.159, 0.217, 0.473, 0.474, 0.486, 0.541, 0.641, 1.0]
    entropy = [2.749, 1.857, 1.458, 1.450, 1.408, 1.245, 0.885, 0]
    table = [0.1517, 0.089, 0.306, 0.162]
    assert [row.accuracy for row in rows] == pytest.approx(known, abs=0.001)
    assert [row.entropy for row in rows] == pytest.approx(entropy, abs=0.001)
    assert [row.table_accuracy for row in rows[:4]] == pytest.approx(table, abs=0.001)
    assert rows[6].table_accuracy == rows[7].table_accuracy == 0
