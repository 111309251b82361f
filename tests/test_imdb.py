"""`--data real` of the text classification lesson: the archive, the words, the lesson on a small copy of it."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.frameworks import Framework
from tests.test_download import Server
from workshops.data import imdb
from workshops.data.fetch import download
from workshops.lessons import catalog
from workshops.player.outcome import LessonError, LessonOptions
from workshops.player.page import LessonPage

ROOT = Path(__file__).parent.parent
GOOD, BAD = "A fine film.<br /><br />It's superb, the cast is fine!", "A dull film; I didn't like it."


def files(each: int = 40) -> dict[str, str]:
    """Names and texts as in the published archive, its unlabelled reviews and word lists included."""
    made = {"aclImdb/README": "about", "aclImdb/train/unsup/0_0.txt": "zzz", "aclImdb/imdb.vocab": "the"}
    for part in ("train", "test"):
        for i in range(each):
            made[f"aclImdb/{part}/pos/{i}_9.txt"] = f"{GOOD} number{i}"
            made[f"aclImdb/{part}/neg/{i}_2.txt"] = f"{BAD} number{i}"
    return made


def packed(texts: dict[str, str], *more: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as rolled:
        for info in more:
            rolled.addfile(info, io.BytesIO(b"x" * info.size))
        for name, text in texts.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            rolled.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def unpacked(folder: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def read(place: Path | None, out: io.StringIO | None = None, **changes: object) -> imdb.Reviews:
    how = {"vocabulary": 50, "length": 12, "most": None, "seed": 0} | changes
    return imdb.load(place, progress=out or io.StringIO(), **how)  # type: ignore[arg-type]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """The archive in a separate cache folder, where the lesson looks for it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Server() as running:
        running.content = packed(files())
        digest = hashlib.sha256(running.content).hexdigest()
        here = download.RemoteFile("aclImdb_v1.tar.gz", running.url, digest, len(running.content))
        monkeypatch.setattr(imdb, "ACL_IMDB", here)
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_the_archive_is_downloaded_once_and_read_without_extraction(server: Server, tmp_path: Path) -> None:
    out = io.StringIO()
    found = read(None, out)
    assert "downloading aclImdb_v1.tar.gz" in out.getvalue()
    assert len(found.train.labels) == len(found.test.labels) == 80
    assert found.train.labels.sum() == found.test.labels.sum() == 40
    assert "zzz" not in found.words, "the reviews without a label are no third class"
    row = found.train.tokens[np.flatnonzero(found.train.labels == 1)[0]]
    text = " ".join(found.words[t] for t in row if t)
    assert text.startswith("a fine film it's superb the cast is fine"), text
    assert row[0] == imdb.PAD != row[-1], "padded before the text"
    read(None)
    assert len(server.asked) == 1
    left = {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert left == {"aclImdb_v1.tar.gz", ".aclImdb_v1.tar.gz.lock"}, "nothing is unpacked"


def test_a_damaged_file_in_the_cache_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    read(None)
    path = tmp_path / "cache" / "dlbox" / "data" / "aclImdb_v1.tar.gz"
    path.write_bytes(path.read_bytes()[:-20] + b"x" * 20)
    out = io.StringIO()
    assert len(read(None, out).train.labels) == 80
    assert "is damaged: downloading it again" in out.getvalue()
    assert len(server.asked) == 2


def test_a_broken_connection_is_resumed(server: Server) -> None:
    server.breaks = [1000]
    assert len(read(None).train.labels) == 80
    assert server.asked == ["", "bytes=1000-"]


def test_without_a_network_the_error_is_one_sentence_with_the_next_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("keras")
    from workshops.lessons.text_classification.imdb import real_reviews

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    monkeypatch.setattr(imdb, "ACL_IMDB", download.RemoteFile("a.tar.gz", "http://127.0.0.1:1/a", "0" * 64))
    page = LessonPage(catalog.find("text-classification"), LessonOptions(data="real"), out=io.StringIO())
    with pytest.raises(LessonError, match="Without a network, put the file into") as error:
        real_reviews(page)
    assert "\n" not in str(error.value)


def link(kind: bytes, name: str = "aclImdb/train/pos/1.txt") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (link(tarfile.SYMTYPE), "link or device"),
        (link(tarfile.LNKTYPE), "link or device"),
        (link(tarfile.REGTYPE, "../train/pos/1.txt"), "points outside"),
        (link(tarfile.REGTYPE, "/train/pos/1.txt"), "points outside"),
    ],
)
def test_an_unsafe_archive_is_refused(tmp_path: Path, more: tarfile.TarInfo, words: str) -> None:
    (tmp_path / "a.tar.gz").write_bytes(packed(files(), more))
    with pytest.raises(imdb.ReviewsError, match=words):
        read(tmp_path / "a.tar.gz")


@pytest.mark.parametrize("damage", ["cut", "text", "nothing", "no-neg", "latin-1"])
def test_a_file_that_is_not_the_reviews_is_one_sentence(tmp_path: Path, damage: str) -> None:
    whole = packed(files())
    some = {name: text for name, text in files().items() if "/test/neg/" not in name}
    latin = packed({}) if damage != "latin-1" else b""
    if damage == "latin-1":
        place = unpacked(tmp_path / "latin", files(1))
        (place / "aclImdb/train/pos/0_9.txt").write_bytes("caf\xe9".encode("latin-1"))
    else:
        place = tmp_path / "a.tar.gz"
        content = {
            "cut": whole[: len(whole) // 2],
            "text": b"hello",
            "nothing": latin,
            "no-neg": packed(some),
        }
        place.write_bytes(content[damage])
    with pytest.raises(imdb.ReviewsError) as error:
        read(place)
    assert "\n" not in str(error.value)
    assert str(place) in str(error.value)


@pytest.mark.parametrize("empty", ["train", "test", "train and test"])
@pytest.mark.parametrize("text", ["", " \n", "<br />", "..."])
def test_reviews_without_a_word_are_one_sentence(tmp_path: Path, empty: str, text: str) -> None:
    texts = {name: text if name.split("/")[1] in empty else said for name, said in files().items()}
    with pytest.raises(imdb.ReviewsError, match=r"contains no word in (train|test)/: its reviews are empty"):
        read(unpacked(tmp_path, texts))


def test_a_few_empty_reviews_are_accepted(tmp_path: Path) -> None:
    whole = read(unpacked(tmp_path / "whole", files()))
    found = read(unpacked(tmp_path / "some", {**files(), "aclImdb/train/pos/99_9.txt": ""}))
    assert len(found.train.labels) == len(whole.train.labels) + 1
    assert found.words == whole.words
    assert 0 < found.mean_words < whole.mean_words


def test_a_folder_reads_like_its_archive(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(packed(files(5)))
    one, other = read(tmp_path / "a.tar.gz"), read(unpacked(tmp_path / "folder", files(5)))
    assert one.words == other.words
    assert sorted(map(tuple, one.train.tokens)) == sorted(map(tuple, other.train.tokens))
    few = read(tmp_path / "a.tar.gz", most=4)
    assert len(few.train.labels) == len(few.test.labels) == 4


@hypothesis_settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_becomes_words(text: str) -> None:
    words = imdb.words_of(text)
    assert all(word and " " not in word for word in words)
    assert imdb.words_of(" ".join(words)) == words


def test_the_lesson_with_own_reviews_and_its_saved_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frameworks: Callable[[str], Framework]
) -> None:
    unpacked(tmp_path / "mine", files())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def dlbox(*words: str) -> subprocess.CompletedProcess[str]:
        return frameworks("tensorflow").dlbox(tmp_path, "workshop", *words)

    done = dlbox("run", "text-classification", "--corpus", "mine", "--model", "average", "--epochs", "40",
                 "--save", "--quick", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    document = json.loads(done.stdout)
    assert {m["name"]: m["value"] for m in document["measured"]} == {"real: average: accuracy": 1.0}
    assert "words a review on average" in done.stderr
    for text, verdict in ((GOOD, "positive"), (BAD, "negative")):
        answer = dlbox("predict", "text-classification", "--text", text)
        assert answer.stdout.startswith(verdict), answer.stderr
    refused = dlbox("predict", "text-classification", "--text", "xyzzy")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "knows no word" in refused.stderr


def test_every_reader_builds_in_the_class_s_sizes() -> None:
    pytest.importorskip("keras")
    from workshops.lessons.text_classification.imdb import LAST, WORDS, build_real

    lesson = catalog.find("text-classification")
    for name in lesson.models:
        model = build_real(name)
        assert (model.input_shape, model.output_shape) == ((None, LAST), (None, 1))
        assert model.count_params() > (WORDS if name == "bag-of-words" else 50 * WORDS)
    promised = {e.name for e in lesson.expected_values(quick=False, data="real")}
    assert promised == {f"real: {name}: accuracy" for name in lesson.models}
    assert not {e.name for e in lesson.expected_values(quick=False)} & promised


def test_a_damaged_saved_model_is_reported_with_one_sentence(
    tmp_path: Path, frameworks: Callable[[str], Framework]
) -> None:
    folder = tmp_path / "dlbox-results/workshop/text-classification"
    folder.mkdir(parents=True)
    (folder / "lstm.keras").write_bytes(b"PK broken")
    words = ("workshop", "predict", "text-classification", "--text", "x")
    done = frameworks("tensorflow").dlbox(tmp_path, *words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "the file is damaged or from another lesson; remove it" in done.stderr
