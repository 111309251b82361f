from __future__ import annotations

import gzip
import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshops.data import analogies, glove
from workshops.data.fetch import download, glove_sets
from workshops.lessons import catalog
from workshops.player.outcome import LessonError, LessonOptions
from workshops.player.page import LessonPage


def test_words_and_attributes_agree() -> None:
    by_name = dict(zip(analogies.WORDS, analogies.attributes().tolist(), strict=True))
    assert len(by_name) == 40
    assert by_name["king"] == [1, 0, 0]
    assert by_name["queens"] == [1, 1, 1]
    assert by_name["men"] == [0, 0, 1]
    assert by_name["niece"] == [9, 1, 0]


def test_questions_flip_one_attribute_of_both() -> None:
    told = analogies.attributes()
    asked = analogies.questions()
    assert len(asked) == len(set(asked)) == 720
    for a, a2, b, b2 in asked:
        assert told[a][0] == told[a2][0] != told[b][0] == told[b2][0]
        assert np.array_equal(told[a2] - told[a], told[b2] - told[b])
        assert np.abs(told[a2] - told[a]).sum() == 1


@given(st.integers(0, 10**6), st.integers(0, 2**32 - 1))
def test_counts_add_up(pairs: int, seed: int) -> None:
    corpus = analogies.make(pairs, seed=seed)
    assert corpus.counts.shape == (40, 124)
    assert corpus.pairs == pairs
    assert corpus.counts.min() >= 0


@pytest.mark.parametrize(
    ("pairs", "low", "high"), [(5_000, 0.15, 0.35), (20_000, 0.75, 0.9), (200_000, 0.93, 1)]
)
def test_more_counts_more_analogies(pairs: int, low: float, high: float) -> None:
    """Means over five seeds as in the published design: 0.25, 0.83 and 0.964."""
    vectors = [analogies.ppmi_svd(analogies.make(pairs, seed=seed).counts) for seed in range(5)]
    assert low <= np.mean([analogies.score(v) for v in vectors]) <= high
    if pairs == 200_000:
        assert np.mean([analogies.baseline(v) for v in vectors]) == pytest.approx(0.5, abs=0.01)


def test_perfect_vectors_answer_everything() -> None:
    family, gender, number = analogies.attributes().T
    vectors = np.concatenate([np.eye(10)[family], np.eye(2)[gender], np.eye(2)[number]], axis=1)
    assert analogies.score(vectors) == 1


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_file_with_odd_words(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", "king 1 0 0\n. . . 0 1 0\nwörter 0 0 1\n")
    assert [word for word, _ in glove.stream(path)] == ["king", ". . .", "wörter"]
    packed = tmp_path / "v.txt.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert [word for word, _ in glove.stream(packed)] == ["king", ". . .", "wörter"]


def test_the_first_line_of_word2vec_is_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", "2 3\nking 1 0 0\nman 0 1 0\n")
    assert set(glove.pick(path, ("king", "man"))) == {"king", "man"}


def test_nearest_reads_the_file_once_and_excludes_words(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", "a 1 0\nb 10 1\nc 0 1\nd -1 0\n")
    targets = [np.array(v, np.float32) for v in ([1, 0], [0, 3])]
    seen: list[int] = []
    right, up = glove.nearest(path, targets, [("a",), ()], count=2, watch=seen.append)
    assert [word for word, _ in right] == ["b", "c"]
    assert right[0][1] == pytest.approx(10 / np.sqrt(101), abs=1e-6)
    assert up[0] == ("c", pytest.approx(1))


def test_smallest_file_of_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "glove.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("sub/v.3d.txt", "king 1 0 0\n\x85 0 1 0\n")
        packed.writestr("sub/v.2d.txt", "king 1 0\n\x85 0 1\n")
        packed.writestr("readme", "")
    assert glove.label(path) == "v.2d.txt"
    assert glove.label(tmp_path / "other.txt") == "other.txt"
    assert [(word, v.tolist()) for word, v in glove.stream(path)] == [("king", [1, 0]), ("\x85", [0, 1])]
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("readme", "")
    with pytest.raises(glove.GloveError, match="contains no"):
        list(glove.stream(path))


words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=8)


@given(
    st.dictionaries(
        st.lists(words, min_size=1, max_size=3).map(" ".join),
        st.lists(st.floats(-10, 10, width=32), min_size=4, max_size=4),
        min_size=1,
    )
)
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, vectors: dict) -> None:
    lines = [f"{word} {' '.join(map(str, v))}\n" for word, v in vectors.items()]
    if " " in next(iter(vectors)):
        lines.insert(0, "the 0 0 0 0\n")
    path = write(tmp_path_factory.mktemp("v") / "v.txt", "".join(lines))
    read = {word: v.tolist() for word, v in glove.stream(path) if word in vectors}
    assert read == vectors


def test_a_large_file_needs_little_memory(tmp_path: Path) -> None:
    """8 MB of vectors are searched in a fifth of that, at most."""
    path, line = tmp_path / "v.txt", " " + " ".join(["0.12345"] * 50) + "\n"
    with path.open("w", encoding="utf-8") as file:
        for i in range(20_000):
            file.write(f"w{i}{line}")
    tracemalloc.start()
    found = glove.pick(path, ("w19999",))
    glove.nearest(path, [found["w19999"]], [("w19999",)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 8_000_000
    assert peak < 1_500_000


def test_published_sets_are_those_of_the_catalogue() -> None:
    choices = catalog.find("word-vectors").data_choices
    assert choices == ("embedded", "real", *glove_sets.PUBLISHED)
    for name, remote in glove_sets.PUBLISHED.items():
        assert remote.url.startswith("https://nlp.stanford.edu/data/")
        assert remote.url.endswith(f"/{name}.zip")
        assert len(bytes.fromhex(remote.sha256)) == 32


def test_every_set_on_stanford_s_page_is_known() -> None:
    """The nine archives of the page of July 2025; each is fetched and checked, or told where it is."""
    assert sorted([*glove_sets.PUBLISHED, *glove_sets.UNCHECKED]) == [
        "glove.2024.dolma.300d",
        *(f"glove.2024.wikigiga.{dimensions}d" for dimensions in (100, 200, 300, 50)),
        "glove.42B.300d",
        "glove.6B",
        "glove.840B.300d",
        "glove.twitter.27B",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("king 1 0 0\nman 1 x 0\n", "line 2: a value of the vector is not a number"),
        ("king 1 0 0\nman 1\n", "line 2: expected a word and 3 numbers"),
        ("king\n", "line 1: expected a word"),
        ("king 1 0 0\nman 1 nan 0\n", "line 2: a value of the vector is infinite"),
        ("king 1 0 0\nman 1 1e999 0\n", "line 2: a value of the vector is infinite"),
        ("king 1 0 0\n" + "x" * 300_000, "line 2: too long"),
        ("king 1 0 0\n", "has no vector for man, woman"),
        ("", "has no vector for king, man, woman"),
    ],
)
def test_broken_files_are_reported_with_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(glove.GloveError, match=sentence):
        glove.pick(write(tmp_path / "v.txt", text), ("king", "man", "woman"))


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "v.zip").write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(glove.GloveError, match="decompress a compressed file first"):
        list(glove.stream(tmp_path / "v.zip"))
    (tmp_path / "v.gz").write_bytes(b"no gzip")
    with pytest.raises(glove.GloveError, match="Cannot read"):
        list(glove.stream(tmp_path / "v.gz"))
    with pytest.raises(glove.GloveError, match="No such file"):
        list(glove.stream(tmp_path / "none"))


# -- the lesson ----------------------------------------------------------------------------------------


def open_page(tmp_path: Path, settings: LessonOptions) -> LessonPage:
    return LessonPage(catalog.find("word-vectors"), settings, out=io.StringIO(), progress=io.StringIO())


def test_without_a_network_there_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("keras")
    from workshops.lessons.word_vectors import page as word_vectors

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    nowhere = download.RemoteFile("glove.6B.zip", "http://127.0.0.1:1/glove.6B.zip", "0" * 64)
    monkeypatch.setitem(glove_sets.PUBLISHED, "glove.6B", nowhere)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    settings = LessonOptions(data="real")
    with pytest.raises(LessonError, match=r"Cannot download glove\.6B\.zip from 127\.0\.0\.1") as error:
        word_vectors.vectors_file(open_page(tmp_path, settings), settings)
    assert "\n" not in str(error.value)


def test_the_questions_are_answered_with_a_file_of_the_learner(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    from workshops.lessons.word_vectors import page as word_vectors

    family, gender, number = analogies.attributes().T
    vectors = np.concatenate([np.eye(10)[family], np.eye(2)[gender], np.eye(2)[number]], axis=1)
    lines = [
        f"{word} {' '.join(map(str, v))}\n" for word, v in zip(analogies.WORDS, 7 * vectors, strict=True)
    ]
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as packed:
        packed.writestr("mine.txt", "".join(lines))
    settings = LessonOptions(corpus=tmp_path / "mine.zip", output=tmp_path)
    page = open_page(tmp_path, settings)
    path = word_vectors.vectors_file(page, settings)
    assert path is not None
    word_vectors.published(page, path)
    assert "man : woman = king : queen 1.0000" in page.out.getvalue()  # type: ignore[attr-defined]
    values = {m.name: m.value for m in page.measured}
    assert values["mine.txt: the 720 questions, right"] == 1
    assert (tmp_path / "word-vectors" / "published.png").stat().st_size > 10_000
    write(tmp_path / "bad.txt", "king 1 0\nman 0\n")
    with pytest.raises(LessonError, match="line 2: expected a word and 2 numbers"):
        word_vectors.published(page, tmp_path / "bad.txt")


def test_predictions_are_the_logarithm_of_a_count() -> None:
    """w . c + b_w + b_c, by hand and by the model."""
    pytest.importorskip("keras")
    from workshops.lessons.word_vectors import page as word_vectors

    model = word_vectors.build()
    assert model.count_params() == (40 + 124) * (word_vectors.DIMENSIONS + 1)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    by_name = {layer.name: layer.get_weights()[0] for layer in model.layers if layer.weights}
    words, contexts = np.array([3, 39], np.int32), np.array([123, 0], np.int32)
    said = np.asarray(model.predict_on_batch([words, contexts]))[:, 0]
    (bias_w,) = (w[words, 0] for w in by_name.values() if w.shape == (40, 1))
    (bias_c,) = (w[contexts, 0] for w in by_name.values() if w.shape == (124, 1))
    by_hand = (by_name["words"][words] * by_name["contexts"][contexts]).sum(1) + bias_w + bias_c
    assert np.allclose(said, by_hand, atol=1e-5)
