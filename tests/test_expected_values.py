"""The values that a run announces are those that it measures, for each data set, model and cell."""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import test_glyphs, test_imdb
from workshops.commands.start import start
from workshops.data import sign_mnist
from workshops.lessons import catalog
from workshops.player.live import LessonTimes
from workshops.player.outcome import LessonOptions, LessonResult
from workshops.player.page import LessonPage

pytest.importorskip("keras")


def run(name: str, folder: Path, **choices: Any) -> tuple[LessonResult, str]:
    """A quick run of one epoch (or as ``choices`` says), and its text."""
    out = io.StringIO()
    settings = LessonOptions(output=folder / "out", quick=True, **{"epochs": 1, **choices})
    outcome = start(name, settings, out=out, progress=io.StringIO())
    return outcome, out.getvalue()


def announced(text: str) -> set[str]:
    """Names in the tables headed by "Expected values"."""
    names = set()
    for after in text.split("Expected values")[1:]:
        table = after.partition("expected\n")[2].split("\n")
        rows = itertools.takewhile(lambda line: line.startswith("  "), table)
        names |= {re.split("  +", line.strip())[0] for line in rows}
    return names


def judged(outcome: LessonResult) -> set[str]:
    return {m.name for m in outcome.measured if m.expected}


def corpus(name: str, folder: Path) -> Path:
    """A data set of the learner for lesson ``name``."""
    if name == "sign":
        test_glyphs.write(folder / sign_mnist.TRAIN, 400, 1)
        test_glyphs.write(folder / sign_mnist.TEST, 240, 2)
        return folder
    if name == "text-classification":
        test_imdb.unpacked(folder / "mine", test_imdb.files())
        return folder / "mine"
    (folder / "mine.txt").write_text("It is what it is, and that is that. " * 560, encoding="utf-8")
    return folder / "mine.txt"


@pytest.mark.parametrize(
    ("name", "choices", "count", "data"),
    [
        ("by-hand", {"cell": "gru"}, None, "the numbers of the class's slides"),
        ("by-hand", {"cell": "lstm"}, None, "the numbers of the class's slides"),
        ("by-hand", {}, len(catalog.find("by-hand").expected), "the numbers of the class's slides"),
        ("time-series", {"data": "sine", "model": "perceptron"}, 1, "Data: a generated sine"),
        ("time-series", {"data": "noise", "cell": "lstm"}, 2, "Data: a generated series"),
        ("time-series", {"data": "airline", "model": "gru"}, 10, "Data: real airline passengers"),
        ("time-series", {"data": "airline", "model": "lstm"}, 11, "Data: real airline passengers"),
        ("sign", {"model": "perceptron"}, 2, "Data: generated pictures of hand signs"),
        ("sign", {"corpus": True, "model": "cnn"}, 0, "Data: your files"),
        ("text-classification", {"model": "cnn"}, 1, "Data: film reviews generated"),
        ("text-classification", {"corpus": True, "model": "average"}, 0, "Data: your reviews"),
        (
            "text-generation",
            {"corpus": True, "cell": "simple-rnn"},
            4,
            "Data: your text, character by character",
        ),
        ("seq2seq", {"model": "not-reversed"}, 1, "Data: generated sums"),
    ],
)
def test_the_announced_values_are_the_measured_ones(
    name: str, choices: dict[str, Any], count: int | None, data: str, tmp_path: Path
) -> None:
    if "corpus" in choices:
        choices = {**choices, "corpus": corpus(name, tmp_path)}
    outcome, text = run(name, tmp_path, **choices)
    assert announced(text) == judged(outcome)
    assert data in text
    if count is not None:
        assert len(judged(outcome)) == count
    if "corpus" in choices and name != "text-generation":
        assert "No score is expected: the best possible score" in " ".join(text.split())


@pytest.mark.parametrize("quick", [True, False])
def test_own_reviews_are_not_compared_with_published_scores(quick: bool) -> None:
    """The user's reviews are not the published ones, even if the measured value has the same name."""
    page = LessonPage(
        catalog.find("text-classification"),
        LessonOptions(quick=quick, corpus=Path("mine")),
        out=io.StringIO(),
    )
    page.measure("real: lstm: accuracy", 0.99)
    assert page.measured[0].expected is None
    real = LessonPage(
        catalog.find("text-classification"), LessonOptions(quick=quick, data="real"), out=io.StringIO()
    )
    assert len(real.expected) == (0 if quick else len(real.lesson.models))


def test_a_quick_run_on_real_reviews_has_no_expected_score(tmp_path: Path) -> None:
    out = io.StringIO()
    settings = LessonOptions(quick=True, data="real", output=tmp_path)
    LessonPage(catalog.find("text-classification"), settings, out=out).announce()
    said = " ".join(out.getvalue().split())
    assert "Data: 50,000 real film reviews" in said
    assert "No score is expected for a quick run" in said
    assert "Expected values" not in said


def test_the_range_of_a_character_model_comes_from_the_tables_of_its_text(tmp_path: Path) -> None:
    """First the tables are counted and printed, then the expected range of the network, then the network is
    trained."""
    outcome, text = run("text-generation", tmp_path, corpus=corpus("x", tmp_path), cell="lstm")
    expected = {m.name: m.expected for m in outcome.measured}["characters: lstm, nats"]
    assert expected
    assert expected.high == outcome.value("characters: best table, nats")
    before, _, after = " ".join(text.split()).partition("characters: lstm, nats at most")
    assert "table, nats/character" in before
    assert "tokens" not in before
    assert "Writing" in after


def test_the_duration_shown_is_that_of_the_same_options(tmp_path: Path) -> None:
    outcome, text = run("time-series", tmp_path, data="sine", model="perceptron")
    assert "Time: unknown for these options" in text
    assert "last run" not in text
    _, text = run("time-series", tmp_path, data="sine", model="perceptron", seed=3)
    assert "the last run on this machine took" in text
    for other in ({"data": "noise"}, {"cell": "lstm", "model": None}, {"epochs": 2}, {"quick": False}):
        settings = LessonOptions(
            **{"quick": True, "epochs": 1, "data": "sine", "model": "perceptron", **other}
        )  # type: ignore[arg-type]
        assert settings.key("time-series", outcome.backend) not in LessonTimes.load()
    assert "Time: about 10 s on two CPU cores" in run("by-hand", tmp_path, epochs=None)[1]


def test_each_corpus_has_its_own_stored_duration(tmp_path: Path) -> None:
    one, other = (LessonOptions(corpus=tmp_path / name).key("text-generation", "jax") for name in ("a", "b"))
    assert len({one, other, LessonOptions().key("text-generation", "jax")}) == 3


def test_the_loss_counts_only_the_second_half_of_a_section() -> None:
    """A model that predicts everything except the first half of a section has a loss of 0, as tables also use the
    text before."""
    text_generation = pytest.importorskip("workshops.lessons.text_generation.page")

    class Late:
        def predict(self, x: Any, **options: Any) -> Any:
            said = np.full((*x.shape, 5), 0.2)
            said[:, x.shape[1] // 2 :] = np.eye(5)[y[:, x.shape[1] // 2 :]]
            return said

    x, y = np.zeros((3, 8), np.int32), np.arange(24).reshape(3, 8) % 5
    assert text_generation.warm_loss(Late(), x, y) == pytest.approx(0)
