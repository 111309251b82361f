"""The history: storage of runs, killed runs, several processes, damaged files."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import msgspec
import pytest

from bench.results.record.document import Repeat
from bench.results.store import access
from bench.results.store.history import CorruptHistoryError, History, HistoryError, default_path
from tests.conftest import ROOT
from tests.samples import blocks, document, result


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "history.sqlite"


def test_a_stored_run_is_read_back_unchanged(path: Path) -> None:
    history = History(path)
    number = history.begin(document(partial=True))
    whole = document(run_id=number)
    history.save(number, whole, "complete")
    history.close()
    again = History(path)
    run = again.run(number)
    assert run is not None
    assert (run.document, run.state, run.command) == (whole, "complete", "ready")
    assert again.run(99) is None
    assert [r.id for r in again.runs()] == [number]
    assert again.last() == run


def killed_while_training(path: Path) -> None:
    """Another process begins a run, times three blocks of its second model, and is killed with no warning."""
    code = f"""
    import os, signal, sys
    sys.path.insert(0, {str(ROOT)!r})
    from pathlib import Path
    from bench.results.store.history import History
    from tests.samples import blocks, document, result
    import msgspec
    history = History(Path({str(path)!r}))
    number = history.begin(document(results=(), partial=True))
    whole, begun = result("lstm"), result("gru", 100.0, partial=True, accuracy=None)
    history.save(number, document(results=(whole, begun), partial=True))
    for block in blocks(100.0, 200.0, 300.0):
        history.add_block(number, "gru", "tensorflow", 0, block)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=False, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_killed_run_is_partial_and_has_all_finished_blocks(path: Path) -> None:
    killed_while_training(path)
    history = History(path)
    (run,) = history.runs()
    assert run.state == "partial"
    assert run.document is not None
    assert run.document.partial
    assert run.document.verdict == "not-ready"
    lstm, gru = run.document.results
    assert not lstm.partial
    assert gru.partial
    assert gru.samples_per_second.values == pytest.approx((100.0, 200.0, 300.0))
    assert gru.samples_per_second.median == pytest.approx(200.0)


@pytest.mark.parametrize("rates", [(100.0, 200.0, 300.0), ()])
def test_a_run_killed_in_a_later_process_has_its_results_and_the_last_blocks(
    path: Path, rates: tuple[float, ...]
) -> None:
    """``rates``: of the rows of that process; it was killed before the first was written where there is none."""
    history = History(path)
    number = history.begin(document(results=(), partial=True))
    lstm = result("lstm", 400.0, 402.0)
    for block in lstm.blocks:
        history.add_block(number, "lstm", "tensorflow", 0, block)
    begun = msgspec.structs.replace(lstm, cut_short=Repeat(seed=1, blocks=blocks(100.0)))
    history.save(number, document(results=(begun, result("gru")), partial=True))
    for block in blocks(*rates):
        history.add_block(number, "lstm", "tensorflow", 1, block)
    history.close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE runs SET pid_started = 0")  # of a process that is gone
    run = History(path).run(number)
    assert run is not None
    assert run.document is not None
    assert (run.state, run.document.partial) == ("partial", True)
    assert run.document.results[0] == msgspec.structs.replace(
        lstm, cut_short=Repeat(seed=1, blocks=blocks(*(rates or (100.0,))))
    )


def test_a_run_in_progress_is_not_marked_partial(path: Path) -> None:
    mine = History(path)
    number = mine.begin(document(results=(), partial=True))
    beside = History(path)
    found = beside.run(number)
    assert found is not None
    assert found.state == "running"
    other = beside.begin(document(results=(), partial=True))
    mine.add_block(number, "lstm", "tensorflow", 0, blocks(1.0)[0])
    beside.add_block(other, "lstm", "tensorflow", 0, blocks(2.0)[0])
    mine.save(number, document(), "complete")
    beside.save(other, document(), "complete")
    assert [r.state for r in mine.runs()] == ["complete", "complete"]


def test_opening_a_new_file_waits_for_the_lock_of_another_process(path: Path) -> None:
    path.parent.mkdir(parents=True)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    opened, errors = threading.Event(), []

    def open_history() -> None:
        try:
            History(path).close()
        except HistoryError as error:
            errors.append(error)
        opened.set()

    opener = threading.Thread(target=open_history)
    opener.start()
    assert not opened.wait(0.5), "it must neither open nor fail while the file is locked"
    other.execute("COMMIT")
    other.close()
    opener.join(timeout=60)
    assert opened.is_set()
    assert errors == []


def test_two_processes_can_write_at_once(path: Path) -> None:
    code = f"""
    import sys
    sys.path.insert(0, {str(ROOT)!r})
    from pathlib import Path
    from bench.results.store.history import History
    from tests.samples import blocks, document
    for _ in range(5):
        history = History(Path({str(path)!r}))
        number = history.begin(document(results=()))
        for block in blocks(*[float(i) for i in range(1, 20)]):
            history.add_block(number, "lstm", "tensorflow", 0, block)
        history.save(number, document(), "complete")
        history.close()
    """
    writers = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors
    assert [r.state for r in History(path).runs()] == ["complete"] * 10


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_damaged_file_is_reported_and_not_changed(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CorruptHistoryError, match="damaged") as caught:
        History(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_a_truncated_file_is_not_changed(path: Path) -> None:
    history = History(path)
    for _ in range(30):
        history.save(history.begin(document()), document(), "complete")
    history.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptHistoryError):
        History(path).runs()
    assert path.read_bytes() == whole[: len(whole) // 2]


def test_a_history_of_a_newer_dlbox_is_refused(path: Path) -> None:
    History(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(HistoryError, match="newer dlbox"):
        History(path)


def test_a_run_of_another_layout_does_not_hide_the_others(path: Path) -> None:
    history = History(path)
    good, strange = history.begin(document()), history.begin(document())
    with sqlite3.connect(path) as database:
        database.execute("UPDATE runs SET document = '{\"schema_version\": 9}' WHERE id = ?", (strange,))
    database.close()
    assert [r.document is None for r in history.runs()] == [False, True]
    assert good < strange


def test_a_damaged_history_is_renamed(own_data_folder: Path) -> None:
    path = default_path()
    path.parent.mkdir(parents=True)
    path.write_bytes(b"garbage" * 1000)
    history, problems = access.open_history()
    assert history.path == path
    assert len(problems) == 1
    (aside,) = path.parent.glob("history.sqlite.damaged-*")
    assert aside.read_bytes() == b"garbage" * 1000
    assert str(aside) in problems[0].message


def test_a_temporary_folder_replaces_an_unwritable_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_DATA_HOME", str(blocked))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    history, problems = access.open_history()
    assert history.path == tmp_path / f"dlbox-{os.getuid()}" / "history.sqlite"
    assert "XDG_DATA_HOME" in problems[0].message
    assert history.path.parent.stat().st_mode & 0o077 == 0


def test_reading_without_a_history_creates_nothing(own_data_folder: Path) -> None:
    assert access.open_history_to_read() is None
    assert not own_data_folder.exists(), "looking creates nothing"


def test_a_result_is_equal_after_encoding_and_decoding() -> None:
    made = result("gru", 1.0, 2.0)
    assert msgspec.json.decode(msgspec.json.encode(made), type=type(made)) == made


def test_tokens_are_recomputed_when_lost_blocks_are_added(path: Path) -> None:
    """A killed run's document knows the first block only; the later ones were twice as fast."""
    history = History(path)
    known = result("lstm", 400.0, partial=True, tokens_per_sample=300, tokens_per_second=120_000.0)
    made = document(results=(known,), partial=True)
    number = history.begin(made)
    history.save(number, made)
    for block in blocks(400.0, 800.0, 800.0, 800.0):
        history.add_block(number, "lstm", "tensorflow", 0, block)
    history.close()
    db = sqlite3.connect(path)
    db.execute("UPDATE runs SET pid = 999999999")
    db.commit()
    db.close()
    run = History(path).run(number)
    assert run is not None
    assert run.document is not None
    (found,) = run.document.results
    assert found.samples_per_second.median == pytest.approx(800.0)
    assert found.tokens_per_second == pytest.approx(240_000.0)
    assert found.tokens is not None
    assert found.tokens.median == found.tokens_per_second
