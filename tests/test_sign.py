from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from tests.test_glyphs import write
from workshops.data import glyphs, sign_mnist
from workshops.lessons import catalog
from workshops.player.outcome import LessonError, LessonOptions
from workshops.player.page import LessonPage

keras = pytest.importorskip("keras")
sign = pytest.importorskip("workshops.lessons.sign.page")
run = pytest.importorskip("workshops.lessons.sign.run")
sign_networks = pytest.importorskip("workshops.lessons.sign.networks")


def page(tmp_path: Path, **choices: object) -> LessonPage:
    settings = LessonOptions(output=tmp_path, quick=True, **choices)  # type: ignore[arg-type]
    return LessonPage(catalog.find("sign"), settings, out=io.StringIO(), progress=io.StringIO())


@pytest.mark.parametrize(
    ("kind", "weights"), [("perceptron", 19_625), ("mlp", 207_385), ("dropout", 207_385), ("cnn", 110_553)]
)
def test_sizes(kind: str, weights: int) -> None:
    """The perceptron has the class's 19,625 weights; shares add up to 1."""
    model = sign.build(kind)
    assert model.count_params() == weights
    given = sign.shares(model, sign.scaled(glyphs.make(3)))
    assert given.shape == (3, 25)
    assert np.allclose(given.sum(axis=1), 1, atol=1e-5)


def test_the_numbers_of_the_worked_examples(tmp_path: Path) -> None:
    sheet = page(tmp_path)
    sign.activations(sheet)
    sign.convolution(sheet)
    assert len(sheet.measured) == 4
    assert all(m.expected and m.ok for m in sheet.measured)


def test_the_effect_of_choosing_by_chance_is_measured() -> None:
    """Coins that are right half the time: the best of 50 claims more, and others see a half."""
    coins = np.random.default_rng(1).random((50, 2400)) < 0.5
    claimed, fresh = sign_networks.best_by_chance(coins)
    assert claimed > 0.55
    assert fresh == pytest.approx(0.5, abs=0.01)
    same = np.tile(coins[0], (50, 1))
    claimed, fresh = sign_networks.best_by_chance(same)
    assert claimed == pytest.approx(fresh, abs=0.01)


def test_a_few_signs_teach_the_convolutional_network_more_than_chance(tmp_path: Path) -> None:
    sheet = page(tmp_path, epochs=2)
    parts = (glyphs.make(1200, seed=1), glyphs.make(240, seed=2), glyphs.make(480, seed=3))
    sign_networks.networks(sheet, parts, ["cnn"])
    found = {m.name: m.value for m in sheet.measured}
    assert found["cnn: test"] > 0.1
    assert {path.name for path in sheet.pictures} == {"confusion.png", "filters.png", "accuracy.png"}


def test_real_files_are_used_and_have_no_expected_values(tmp_path: Path) -> None:
    write(tmp_path / sign_mnist.TRAIN, 400, 1)
    write(tmp_path / sign_mnist.TEST, 240, 2)
    settings = LessonOptions(output=tmp_path, corpus=tmp_path, model="perceptron", epochs=1)
    sheet = page(tmp_path)
    sheet.options = settings
    outcome = run.run(sheet)
    assert outcome.settings.data == "real"
    assert [m.name for m in outcome.measured] == ["real: perceptron: test"]
    assert outcome.ok


def test_missing_files_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sheet = page(tmp_path, data="real")
    with pytest.raises(LessonError, match="put both files into that folder"):
        run.run(sheet)
    assert not sheet.out.getvalue()  # type: ignore[attr-defined]
