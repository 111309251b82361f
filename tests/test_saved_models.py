"""`dlbox workshop predict`: the saved models of each lesson predict; other files are refused with one sentence."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workshops.commands import predict
from workshops.data import addition
from workshops.data.text import UNKNOWN
from workshops.lessons import catalog
from workshops.player import saved_models
from workshops.player.outcome import LessonError, LessonOptions
from workshops.player.page import LessonPage

keras = pytest.importorskip("keras")


@functools.cache
def built() -> dict[str, list[Any]]:
    """Lesson -> untrained models like those that it saves."""
    from workshops.lessons.attention import page as attention
    from workshops.lessons.seq2seq import page as seq2seq
    from workshops.lessons.text_classification import imdb
    from workshops.lessons.text_classification import page as text_classification
    from workshops.lessons.text_generation import characters
    from workshops.lessons.text_generation import page as text_generation

    numbers, letters = text_generation.build("gru", 30), text_generation.build("lstm", 5)
    return {
        "seq2seq": [
            seq2seq.build_repeat(8),
            seq2seq.build_repeat(8, reverse=False),
            seq2seq.build_attention(8)[0],
        ],
        "text-classification": [
            text_classification.build("cnn"),
            imdb.build_real("average", ("", "[UNK]", "good")),
        ],
        "attention": [attention.build("transformer")[0], attention.build("additive")[0]],
        "text-generation": [numbers, characters.with_symbols(letters, "ab c" + UNKNOWN)],
    }


TEXTS = {
    "seq2seq": "12+345",
    "text-classification": "the plot was superb good",
    "attention": "the plot was superb",
    "text-generation": "one b",
}


def ask(name: str, folder: Path, text: str, model: str | None = None) -> tuple[int, list[str]]:
    """Exit code and error messages."""
    said: list[str] = []
    code = predict.predict(name, text, folder, model=model, backend=None, complain=said.append)
    return code, said


def test_a_lesson_accepts_only_its_own_saved_models() -> None:
    models = built()
    assert set(models) == {e.name for e in catalog.lessons() if e.predicts}
    same = {"attention", "text-classification"}  # they read the same reviews
    for name, own in models.items():
        for other, theirs in models.items():
            for model in theirs:
                if {name, other} != same:
                    assert saved_models.fits(model, catalog.find(name)) is (name == other), (
                        name,
                        other,
                        model.name,
                    )
        assert all(saved_models.fits(model, catalog.find(name)) for model in own)


@pytest.mark.parametrize("name", list(TEXTS))
def test_saved_models_predict_and_those_of_other_lessons_are_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for i, model in enumerate(built()[name]):
        model.save(folder / f"own{i}.keras")
        text = {"one b": "one hundred" if i == 0 else "a b?"}.get(TEXTS[name], TEXTS[name])
        code, said = ask(name, tmp_path, text, f"own{i}")
        assert (code, said) == (0, [])
        assert capsys.readouterr().out
    for other, theirs in built().items():
        if other == name or {name, other} == {"attention", "text-classification"}:
            continue
        for model in theirs:
            model.save(folder / "foreign.keras")
            code, said = ask(name, tmp_path, TEXTS[name], "foreign")
            assert code in (1, 2)
            assert len(said) == 1
            assert "\n" not in said[0]
            assert f"dlbox workshop run {name} --save" in said[0]


@pytest.mark.parametrize(
    "model", ["lstm", "/etc/passwd", "[", "*", "..", "a/b", "cnn/..", "", "**", "x" * 5000]
)
def test_an_unknown_model_name_lists_the_saved_models(tmp_path: Path, model: str) -> None:
    folder = tmp_path / "text-classification"
    folder.mkdir()
    built()["text-classification"][0].save(folder / "cnn.keras")
    code, said = ask("text-classification", tmp_path, "the plot was superb", model)
    assert code == 2
    assert said == [f"There is no saved model {model!r} in {folder}; the saved models: cnn"]
    for name in (None, "cnn", "cnn.keras"):
        assert ask("text-classification", tmp_path, "the plot was superb", name) == (0, [])


FULL_WIDTH, ARABIC = "\uff11\uff12+\uff13", "\u0661+\u0661"


@pytest.mark.parametrize("text", [FULL_WIDTH, ARABIC, "\u00b2+1", "1+\u09e7", "12+345\n"])
def test_digits_of_other_scripts_are_refused(text: str) -> None:
    from workshops.lessons.seq2seq import page as seq2seq
    from workshops.lessons.seq2seq import run

    with pytest.raises(LessonError, match="is not a sum of two numbers"):
        run.predict(seq2seq.build_repeat(8), text)


def test_the_model_of_unreversed_questions_is_saved_and_reads_them_unreversed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workshops.lessons.seq2seq import page as seq2seq
    from workshops.lessons.seq2seq import run

    settings = LessonOptions(save=True, output=tmp_path, epochs=1, quick=True)
    page = LessonPage(catalog.find("seq2seq"), settings, out=io.StringIO(), progress=io.StringIO())
    few = addition.make(40).split()
    monkeypatch.setattr(seq2seq, "questions", lambda page, reverse: few)
    seq2seq.repeat(page, reverse=False)
    assert [path.name for path in page.saved] == ["not-reversed.keras"]
    model = saved_models.load(page.saved[0], catalog.find("seq2seq"))
    read: list[Any] = []
    monkeypatch.setattr(
        addition, "one_hot", lambda ids: read.append(ids) or np.eye(12, dtype=np.float32)[ids]
    )
    run.predict(model, "12+345")
    run.predict(seq2seq.build_repeat(8), "12+345")
    assert [addition.text(ids[0]) for ids in read] == ["12+345 ", " 543+21"]


def test_a_character_model_continues_the_text(tmp_path: Path) -> None:
    """A model trained on "abc" repeated continues the pattern; it skips characters that it does not know."""
    from workshops.data.text import from_string
    from workshops.lessons.text_generation import characters, run
    from workshops.lessons.text_generation import page as text_generation

    settings = LessonOptions(save=True, output=tmp_path, quick=True, epochs=6)
    page = LessonPage(catalog.find("text-generation"), settings, out=io.StringIO(), progress=io.StringIO())
    text_generation.learn_characters(page, ["gru"], from_string("abc", "abc" * 6_700))
    assert [path.name for path in page.saved] == ["characters-gru.keras"]
    model = saved_models.load(page.saved[0], catalog.find("text-generation"))
    assert characters.unwrap(model)[1] == "abc"
    assert run.predict(model, "ab?cab").startswith("cabcabcab")
    with pytest.raises(LessonError, match="knows no character of 'xyz'"):
        run.predict(model, "xyz")
    with pytest.raises(LessonError, match="knows no character of ''"):
        run.predict(model, "")
