from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from workshops.data import addition
from workshops.lessons import catalog
from workshops.player.outcome import LessonError, LessonOptions
from workshops.player.page import LessonPage

keras = pytest.importorskip("keras")
seq2seq = pytest.importorskip("workshops.lessons.seq2seq.page")
run = pytest.importorskip("workshops.lessons.seq2seq.run")


def test_sizes() -> None:
    """The repeat model has the published 205,324 weights."""
    assert seq2seq.build_repeat().count_params() == 205_324
    model, scores = seq2seq.build_attention()
    assert model.output_shape == (None, 4, 12)
    assert scores.output_shape == (None, 4, 7)


def test_the_decoder_does_not_read_the_symbol_that_it_predicts() -> None:
    answers = addition.make(50).answers
    late = seq2seq.one_late(answers).argmax(-1)
    assert np.all(late[:, 0] == seq2seq.START)
    assert np.array_equal(late[:, 1:], answers[:, :-1])


def test_changing_a_later_symbol_changes_no_earlier_guess() -> None:
    model, _ = seq2seq.build_attention()
    sums = addition.make(20)
    other = sums.answers.copy()
    other[:, 2] = 5
    guesses = [
        model.predict([addition.one_hot(sums.questions), seq2seq.one_late(a)], verbose=0)
        for a in (sums.answers, other)
    ]
    assert np.allclose(guesses[0][:, :3], guesses[1][:, :3], atol=1e-6)


@pytest.mark.parametrize("text", ["12", "1+2+3", "1234+5", "a+b", "", "-1+2", "1.5+2"])
def test_predict_refuses_what_is_not_a_sum(text: str) -> None:
    with pytest.raises(LessonError, match="is not a sum"):
        run.predict(seq2seq.build_repeat(), text)


def test_saved_model_answers_after_loading(tmp_path: Path) -> None:
    page = LessonPage(catalog.find("seq2seq"), LessonOptions(save=True, output=tmp_path), out=io.StringIO())
    model, _ = seq2seq.build_attention()
    page.save_model(model, "attention")
    loaded = keras.saving.load_model(tmp_path / "seq2seq" / "attention.keras")
    assert run.predict(loaded, "12 + 345") == run.predict(model, "12+345")
