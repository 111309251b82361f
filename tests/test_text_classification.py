from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from workshops.data import sentiment_grammar as grammar
from workshops.lessons import catalog
from workshops.player.outcome import LessonError, LessonOptions
from workshops.player.page import LessonPage

keras = pytest.importorskip("keras")
lesson = pytest.importorskip("workshops.lessons.text_classification.page")
run = pytest.importorskip("workshops.lessons.text_classification.run")


def test_every_model_of_the_catalogue_builds() -> None:
    assert tuple(lesson.MODELS) == catalog.find("text-classification").models
    for name in lesson.MODELS:
        model = lesson.build(name)
        assert model.output_shape == (None, 1)
        assert model.count_params() < 25_000


def test_ceilings_of_one_set_are_near_the_average() -> None:
    for family, best in lesson.ceilings(grammar.make(20_000, length=34)).items():
        assert best == pytest.approx(grammar.Mixture().ceilings()[family], abs=0.01)


def test_bag_of_words_is_one_weight_a_word(tmp_path: Path) -> None:
    """Dense(1, sigmoid) over a 1 for each word that occurs, however often; padding counts for nothing."""
    rows = grammar.make(50, length=34).tokens
    model = lesson.build("bag-of-words")
    weights, bias = model.get_layer("positive").get_weights()
    assert weights.shape == (lesson.VOCABULARY, 1)
    ones = np.zeros((50, lesson.VOCABULARY))
    for row, tokens in zip(ones, rows, strict=True):
        row[sorted(set(tokens.tolist()) - {grammar.PAD})] = 1
    said = model.predict(rows, verbose=0)
    assert np.allclose(said, 1 / (1 + np.exp(-(ones @ weights + bias))), atol=1e-6)
    assert np.allclose(said, model.predict(rows[:, ::-1], verbose=0), atol=1e-6)
    model.save(tmp_path / "bag.keras")
    loaded = keras.saving.load_model(tmp_path / "bag.keras")
    assert np.allclose(said, loaded.predict(rows, verbose=0), atol=1e-6)


def test_the_ranges_of_the_models_are_narrow() -> None:
    """A guess on the reviews out of reach is a coin: 0.01 must be three and a half of its standard deviations."""
    found = catalog.find("text-classification")
    for quick, width in ((True, 0.02), (False, 0.01)):
        held = {e.name: e for e in found.expected_values(quick=quick)}
        page = LessonPage(found, LessonOptions(quick=quick), out=io.StringIO())
        judged = len(lesson.reviews(page)[1].labels)
        for name, out_of_reach in (("bag-of-words", 0.6), ("average", 0.6), ("cnn", 0.3)):
            expected = held[f"{name}: accuracy - ceiling"]
            assert (expected.low, expected.high) == (-width, width)
            assert width > 3.2 * np.sqrt(out_of_reach / 4 / judged)


def test_average_cannot_tell_the_order() -> None:
    model = lesson.build("average")
    row = grammar.make(1, length=34).tokens
    assert np.allclose(model.predict(row, verbose=0), model.predict(row[:, ::-1], verbose=0), atol=1e-6)


def test_the_convolution_sees_three_words() -> None:
    """Twins of an `order` review, clauses swapped, have the same 3-grams: the same score to rounding."""
    filler = "it on a rainy evening in".split()  # noqa: SIM905
    good, bad = (f"the plot was {word}".split() for word in ("superb", "dull"))
    one, other = (
        grammar.encode(" ".join([*filler, *a, *filler, "but", *filler, *b, *filler]), 34)
        for a, b in ((good, bad), (bad, good))
    )
    model = lesson.build("cnn", length=None)
    scores = model.predict(np.stack([one, other]), verbose=0)
    assert abs(scores[0] - scores[1]) < 1e-6
    scores = lesson.build("lstm", length=None).predict(np.stack([one, other]), verbose=0)
    assert abs(scores[0] - scores[1]) > 1e-6


def test_mask_makes_the_padding_invisible() -> None:
    rows = grammar.make(8, length=34).tokens[:, ::-1]
    long = np.concatenate([rows, np.zeros((8, 200), np.int32)], axis=1)
    masked = lesson.build("lstm", mask=True, length=None)
    assert np.allclose(masked.predict(rows, verbose=0), masked.predict(long, verbose=0), atol=1e-6)
    plain = lesson.build("lstm", length=None)
    assert not np.allclose(plain.predict(rows, verbose=0), plain.predict(long, verbose=0), atol=1e-4)


def test_attention_survives_saving(tmp_path: Path) -> None:
    page = LessonPage(
        catalog.find("text-classification"), LessonOptions(save=True, output=tmp_path), out=io.StringIO()
    )
    model = lesson.build("attention")
    page.save_model(model, "attention")
    loaded = keras.saving.load_model(tmp_path / "text-classification" / "attention.keras")
    row = grammar.make(3, length=34).tokens
    assert np.allclose(model.predict(row, verbose=0), loaded.predict(row, verbose=0), atol=1e-6)


def test_predict_returns_a_class_and_a_probability() -> None:
    model = lesson.build("lstm")
    assert run.predict(model, "The plot was superb").split()[0] in ("positive", "negative")
    assert "unknown words: magnificent" in run.predict(model, "the plot was magnificent")
    for text in ("", "   ", "magnificent"):
        with pytest.raises(LessonError, match="knows no word"):
            run.predict(model, text)
