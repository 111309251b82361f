from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from workshops.data import sentiment_grammar as grammar
from workshops.lessons import catalog
from workshops.player.outcome import LessonOptions
from workshops.player.page import LessonPage

keras = pytest.importorskip("keras")
lesson = pytest.importorskip("workshops.lessons.attention.page")


def test_readers_are_of_equal_size() -> None:
    assert tuple(lesson.READERS) == catalog.find("attention").models
    sizes = {name: lesson.build(name)[0].count_params() for name in lesson.READERS}
    places = sizes.pop("no-places") + 34 * 32
    assert places == sizes["transformer"]
    assert min(sizes.values()) >= 8_600
    assert max(sizes.values()) <= 9_000


def test_attention_by_hand_equals_keras(tmp_path: Path) -> None:
    page = LessonPage(catalog.find("attention"), LessonOptions(output=tmp_path), out=io.StringIO())
    lesson.by_hand(page)
    assert len(page.measured) == 2
    assert all(m.ok for m in page.measured), page.measured


@pytest.mark.parametrize("name", ["additive", "dot-product", "transformer"])
def test_weights_over_the_words_sum_to_one(name: str) -> None:
    _, looks = lesson.build(name)
    weights = looks.predict(grammar.make(4, length=34).tokens, verbose=0)
    assert weights.shape[-1] == 34
    assert np.allclose(weights.sum(axis=-1), 1, atol=1e-5)


def test_without_places_the_order_is_invisible() -> None:
    rows = grammar.make(6, length=34).tokens
    mixed = np.random.default_rng(0).permutation(34)
    blind, _ = lesson.build("no-places")
    assert np.allclose(blind.predict(rows, verbose=0), blind.predict(rows[:, mixed], verbose=0), atol=1e-5)
    reader, _ = lesson.build("transformer")
    assert not np.allclose(
        reader.predict(rows, verbose=0), reader.predict(rows[:, mixed], verbose=0), atol=1e-5
    )


def test_places_survive_saving(tmp_path: Path) -> None:
    model, _ = lesson.build("transformer")
    model.save(tmp_path / "t.keras")
    rows = grammar.make(3, length=34).tokens
    loaded = keras.saving.load_model(tmp_path / "t.keras")
    assert np.allclose(model.predict(rows, verbose=0), loaded.predict(rows, verbose=0), atol=1e-6)
