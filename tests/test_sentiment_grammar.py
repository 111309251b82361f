from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workshops.data import sentiment_grammar as grammar


@given(seed=st.integers(0, 2**31), count=st.integers(0, 60), length=st.integers(33, 120))
@settings(max_examples=40, deadline=None)
def test_reviews_are_padded_before_the_text_and_made_of_known_words(
    seed: int, count: int, length: int
) -> None:
    reviews = grammar.make(count, length=length, seed=seed)
    assert reviews.tokens.shape == (count, length)
    assert set(np.unique(reviews.labels)) <= {0, 1}
    for row in reviews.tokens:
        text = np.flatnonzero(row)
        assert text[-1] == length - 1
        assert np.array_equal(text, np.arange(text[0], length)), "padding stands only before the text"
        assert row.max() < len(grammar.WORDS)
        assert grammar.UNKNOWN not in row


def test_the_same_seed_gives_the_same_reviews_and_another_one_others() -> None:
    one, same, other = (grammar.make(200, seed=s) for s in (3, 3, 4))
    assert np.array_equal(one.tokens, same.tokens)
    assert np.array_equal(one.labels, same.labels)
    assert not np.array_equal(one.tokens, other.tokens)


def test_the_shares_labels_and_noise_are_those_asked_for() -> None:
    reviews = grammar.make(40_000, length=40, seed=0)
    shares = [np.mean(reviews.kinds == kind) for kind in range(3)]
    assert shares == pytest.approx([0.4, 0.3, 0.3], abs=0.01)
    assert reviews.labels.mean() == pytest.approx(0.5, abs=0.01)
    assert reviews.realised_ceiling() == pytest.approx(0.95, abs=0.005)


def test_the_ceilings_follow_from_the_shares() -> None:
    assert grammar.Mixture().ceilings() == pytest.approx(
        {"bag-of-words": 0.680, "n-gram": 0.815, "sequence": 0.950}
    )


def test_no_length_gives_the_label_away() -> None:
    reviews = grammar.make(20_000, length=40, seed=1)
    lengths = (reviews.tokens != grammar.PAD).sum(axis=1)
    assert sorted(set(lengths)) == [2 * 6 + 4, 2 * 6 + 7, 4 * 6 + 9]
    for length in set(lengths):
        assert reviews.clean_labels[lengths == length].mean() == pytest.approx(0.5, abs=0.02)


def bag(words: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def test_swapping_the_clauses_of_an_order_review_leaves_every_short_n_gram_bag_as_it_was() -> None:
    mixture = grammar.Mixture()
    reviews = grammar.make(400, length=40, seed=2)
    m = mixture.filler_words
    looked_at = 0
    for row in np.flatnonzero(reviews.kinds == grammar.KINDS.index("order")):
        words = reviews.text(row).split()
        first, but, second = slice(m, m + 4), 2 * m + 4, slice(3 * m + 5, 3 * m + 9)
        assert words[but] == "but"
        twin = list(words)
        twin[first], twin[second] = words[second], words[first]
        for n in range(1, m + 2):
            assert bag(words, n) == bag(twin, n)
        assert bag(words, m + 2) != bag(twin, m + 2) or words == twin
        looked_at += 1
    assert looked_at > 50


def test_the_clause_after_but_decides() -> None:
    reviews = grammar.make(300, length=40, seed=5)
    for row in np.flatnonzero(reviews.kinds == grammar.KINDS.index("order")):
        decisive = reviews.text(row).split("but")[1].split()
        positive = any(word in grammar.POSITIVE for word in decisive)
        assert positive == bool(reviews.clean_labels[row])


@given(st.text(max_size=200), st.integers(1, 50))
def test_any_text_can_be_encoded(text: str, length: int) -> None:
    tokens = grammar.encode(text, length)
    assert tokens.shape == (length,)
    assert ((tokens >= 0) & (tokens < len(grammar.WORDS))).all()


def test_encoding_keeps_the_last_words_and_decoding_gives_them_back() -> None:
    assert grammar.decode(grammar.encode("The plot was superb", 3)) == "plot was superb"
    assert grammar.decode(grammar.encode("zebra plot", 6)) == "[UNK] plot"


@pytest.mark.parametrize(
    "wrong",
    [
        {"word": 0.5},
        {"label_noise": 0.5},
        {"filler_words": 0},
        {"word": -0.1, "phrase": 0.8},
        {"filler_words": 19},
    ],
)
def test_a_mixture_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        grammar.Mixture(**wrong)  # type: ignore[arg-type]


def test_a_length_that_cannot_hold_a_review_is_refused() -> None:
    with pytest.raises(ValueError, match="33"):
        grammar.make(1, length=32)
