from __future__ import annotations

import io
import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workshops.data import text


def slow_witten_bell(train: list[int], held_out: list[int], symbols: int, longest: int) -> list[float]:
    """The formula as it is written, one character at a time."""
    tables: list[dict[tuple[int, ...], Counter[int]]] = []
    for k in range(longest + 1):
        table: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for i in range(k, len(train)):
            table[tuple(train[i - k : i])][train[i]] += 1
        tables.append(table)
    sums = [0.0] * (longest + 1)
    for i, c in enumerate(held_out):
        p = 1 / symbols
        for k in range(longest + 1):
            if i >= k:
                followers = tables[k].get(tuple(held_out[i - k : i]))
                if followers:
                    p = (followers[c] + len(followers) * p) / (followers.total() + len(followers))
            sums[k] -= math.log(p)
    return [s / len(held_out) for s in sums]


@settings(deadline=None, max_examples=40)
@given(
    train=st.lists(st.integers(0, 3), min_size=12, max_size=80),
    held_out=st.lists(st.integers(0, 4), min_size=5, max_size=40),
    longest=st.integers(0, 4),
)
def test_tables_equal_the_formula(train: list[int], held_out: list[int], longest: int) -> None:
    fast = text.count_tables(np.array(train), np.array(held_out), 5, longest)
    assert fast == pytest.approx(slow_witten_bell(train, held_out, 5, longest))


def test_documentation_floors() -> None:
    """Values for Python 3.11; other versions have other texts, so only the shape is tested there."""
    try:
        docs = text.documentation()
    except text.TextError as error:
        pytest.skip(str(error))
    known, new = docs.split()
    floors = text.count_tables(known, new, len(docs.symbols))
    assert floors[0] > floors[1] > floors[2] > floors[3] > 1
    if len(docs.ids) == 465_126:
        assert floors == pytest.approx([3.236, 2.318, 1.711, 1.403, 1.319, 1.338, 1.385], abs=0.001)


def test_source_is_the_same_each_time_and_has_no_tests() -> None:
    a, b = text.source(50_000), text.source(50_000)
    assert np.array_equal(a.ids, b.ids)
    assert len(a.ids) == 50_000


def test_own_file(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_bytes("Größe\t€\r\n".encode() * 4000 + b"\xff\xfe")
    mine = text.from_file(path)
    assert mine.name == "book.txt"
    assert set(mine.symbols) == set("Größe\t€\n") | {text.UNKNOWN}
    assert mine.decode(mine.encode("Ge")) == "Ge"
    with pytest.raises(text.TextError, match=r"Cannot read .*: No such file"):
        text.from_file(tmp_path / "none.txt")
    (tmp_path / "short.txt").write_text("short", encoding="utf-8")
    with pytest.raises(text.TextError, match="5 characters: at least 20,000"):
        text.from_file(tmp_path / "short.txt")


def test_split() -> None:
    some = text.from_string("x", "ab" * 20_000)
    known, new = some.split()
    assert (len(known), len(new)) == (36_000, 4_000)


KANA = "".join(map(chr, range(0x3042, 0x3094)))


def test_the_alphabet_is_the_text_s_own(tmp_path: Path) -> None:
    """82 kana, and 3,000 rarer signs that share one symbol."""
    rare = "".join(map(chr, range(0x4E00, 0x4E00 + 3000)))
    written = KANA * 300 + rare
    (tmp_path / "own.txt").write_text(written, encoding="utf-8")
    own = text.from_file(tmp_path / "own.txt")
    assert len(own.symbols) == text.MOST
    assert set(KANA) < set(own.symbols)
    assert own.decode(own.ids[: len(KANA)]) == KANA
    assert np.mean(own.ids == own.symbols.index(text.UNKNOWN)) == pytest.approx((3000 - 417) / len(written))
    floors = text.count_tables(*own.split(), len(own.symbols))
    assert np.all(np.isfinite(floors))
    assert text.MOST**7 < 2**63


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_defines_the_encoding(tmp_path: Path, encoding: str) -> None:
    written = (KANA + "\n") * 300
    (tmp_path / "own.txt").write_bytes(written.replace("\n", "\r\n").encode(encoding))
    own = text.from_file(tmp_path / "own.txt")
    assert own.decode(own.ids) == written


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a" * 30_000, "repeats one character, 'a'"),
        (b"\n" * 30_000, "repeats one character"),
        (("ab\u00e9" * 10_000).encode("latin-1"), "is not UTF-8 text"),
        (("ab c" * 10_000).encode("utf-16-le"), "is not UTF-8 text"),
        (b"\0" * 30_000, "is not UTF-8 text"),
        (np.random.default_rng(0).bytes(50_000), "is not UTF-8 text"),
        (b"\xff\xfe" + np.random.default_rng(1).bytes(80_001), "is not UTF-8 text"),
        (b"", "0 characters"),
    ],
)
def test_a_file_that_is_not_text_is_reported_with_one_sentence(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / "own.txt").write_bytes(content)
    with pytest.raises(text.TextError, match=sentence) as error:
        text.from_file(tmp_path / "own.txt")
    assert "\n" not in str(error.value)


def test_a_japanese_text_can_be_learned(tmp_path: Path) -> None:
    """82 kana in a fixed order, so each determines the next: after 4 epochs the loss is far below that of guessing,
    ln 82."""
    pytest.importorskip("keras")
    from workshops.lessons import catalog
    from workshops.lessons.text_generation import page as text_generation
    from workshops.player.outcome import LessonOptions
    from workshops.player.page import LessonPage

    (tmp_path / "own.txt").write_text(KANA * 600, encoding="utf-8")
    own = text_generation.load_text(LessonOptions(corpus=tmp_path / "own.txt"))
    page = LessonPage(
        catalog.find("text-generation"),
        LessonOptions(quick=True, output=tmp_path),
        out=io.StringIO(),
        progress=io.StringIO(),
    )
    text_generation.learn_characters(page, ["gru"], own)
    assert {m.name: m.value for m in page.measured}["characters: gru, nats"] < 2
