"""Damage of the history that opening it does not detect: intact runs stay readable, and new runs are stored."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.finding import Status
from bench.results.store import access
from bench.results.store.history import CorruptHistoryError, History, HistoryError, default_path
from bench.run.recorder import RunRecorder
from common.terminal.progress import quiet
from tests.conftest import Command
from tests.samples import document, result

RUNS = 8
PAGE = 4096


@pytest.fixture
def path(own_data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a history of runs that take twelve pages each; temporary folders are replaced too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    history = History(default_path())
    for _ in range(RUNS):
        made = document(results=tuple(result(name) for name in ("lstm", "gru", "cnn-lstm")) * 10)
        history.save(history.begin(made), made, "complete")
    history.close()
    assert default_path().stat().st_size > RUNS * 10 * PAGE
    return default_path()


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def break_chains(path: Path) -> None:
    """The first four bytes of a page of text say which page goes on with it. A table's page begins with its kind, and
    opening looks at these."""
    data = path.read_bytes()
    pages = [page for page in range(20, 40) if data[page * PAGE] == 0]
    assert len(pages) > 10
    for page in pages:
        overwrite(path, page * PAGE, b"\xff" * 8)


def test_a_history_damaged_in_the_middle_is_renamed_and_the_run_is_stored(path: Path) -> None:
    break_chains(path)
    damaged = path.read_bytes()
    history = History(path)
    with pytest.raises(CorruptHistoryError, match="damaged"):
        history.runs()
    history.close()
    keeper = RunRecorder(quiet())
    keeper.start(document())
    keeper.finish(document())
    assert (keeper.folder, keeper.document.run_id) == (path.parent, 1)
    (finding,) = [f for f in keeper.document.findings if f.id == "results.history"]
    (aside,) = path.parent.glob("history.sqlite.damaged-*")
    assert finding.status is Status.WARN
    assert f"it was renamed to {aside}, and a new history was created" in finding.message
    assert "history import" in (finding.remedy or "")
    assert aside.read_bytes() == damaged
    keeper.close()
    assert [run.state for run in History(path).runs()] == ["complete"]


def test_reading_commands_report_the_damage_and_change_nothing(
    dlbox: Command, path: Path, tmp_path: Path
) -> None:
    break_chains(path)
    damaged = path.read_bytes()
    calls = (
        ["history"],
        ["report"],
        ["compare", "previous", "last"],
        ["history", "export", str(tmp_path / "x")],
    )
    for arguments in calls:
        done = dlbox(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
        assert f"the history {path} is damaged" in done.stderr
        assert "restore a backup, or move it away" in done.stderr
    assert path.read_bytes() == damaged


@settings(max_examples=60, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=64).map(lambda some: some * 5))
def test_a_run_is_stored_wherever_the_history_is_damaged(path: Path, where: float, data: bytes) -> None:
    """In its place, in a new history beside the damaged one, or where neither can be in the stand-in."""
    whole = path.read_bytes()
    try:
        overwrite(path, int(where * len(whole)), data)
        history, problems = access.open_history()
        known = len(history.runs())
        assert known == (0 if problems else RUNS)
        number = history.begin(document())
        history.save(number, document(), "complete")
        assert len(history.runs()) == known + 1
        found = history.run(number)
        assert found is not None
        assert found.document == document(run_id=number)
        history.close()
    finally:
        for made in (*path.parent.iterdir(), access._private_folder()[0] / "history.sqlite"):
            made.unlink(missing_ok=True)
        path.write_bytes(whole)


def test_invalid_text_makes_one_run_unreadable(dlbox: Command, path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute(
            "UPDATE runs SET document = CAST(X'7BFF7D' AS TEXT), command = CAST(X'FF61' AS TEXT) WHERE id = 3"
        )
        db.execute(
            "UPDATE runs SET document = replace(document, 'Example', CAST(X'C328' AS TEXT)) WHERE id = 5"
        )
    db.close()
    history, problems = access.open_history()
    assert problems == []
    assert [run.id for run in history.runs() if run.document is None] == [3, 5]
    history.close()
    listed = dlbox("history")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.count("cannot be read") == 2
    assert dlbox("report", "1", "--markdown").returncode == 0
    for arguments in (["report", "3"], ["compare", "3", "1"]):
        done = dlbox(*arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "run 3 cannot be read, because a newer dlbox wrote it or it is damaged" in done.stderr


def test_a_killed_run_loses_only_the_damaged_block(path: Path) -> None:
    from tests.samples import blocks

    history = History(path)
    begun = document(results=(result("gru", 100.0, partial=True),), partial=True)
    number = history.begin(begun)
    for block in blocks(100.0, 200.0, 300.0):
        history.add_block(number, "gru", "tensorflow", 0, block)
    history.close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE blocks SET block = CAST(X'7BFF' AS TEXT) WHERE rowid = 2")
        db.execute("UPDATE runs SET pid = 999999999 WHERE id = ?", (number,))
    db.close()
    history, problems = access.open_history()
    assert problems == []
    found = history.run(number)
    assert found is not None
    assert found.document is not None
    assert found.document.results[0].samples_per_second.values == pytest.approx((100.0, 300.0))


def test_a_history_with_other_tables_is_renamed(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("DROP TABLE runs")
    db.close()
    history, (problem,) = access.open_history()
    assert "was damaged: it was renamed to" in problem.message
    assert history.runs() == []


def test_a_temporary_folder_replaces_a_damaged_history_that_cannot_be_renamed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refused)
    break_chains(path)
    history, (problem,) = access.open_history()
    assert history.path.parent.parent == tmp_path
    assert "is damaged, and a new one cannot be created (Permission denied)" in problem.message


def no_temporary_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a full disk with /tmp, /var/tmp and the current folder on it."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", list)


def test_a_full_disk_without_temporary_folder_is_reported_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(blocked))
    no_temporary_directory(monkeypatch)
    with pytest.raises(HistoryError, match="no temporary directory is writable") as caught:
        access.open_history()
    assert str(blocked) in str(caught.value)
    assert "\n" not in str(caught.value)
    keeper = RunRecorder(quiet())
    keeper.start(document())
    keeper.finish(document())
    (finding,) = [f for f in keeper.document.findings if f.id == "results.history"]
    assert finding.status is Status.FAIL
    assert "free disk space" in (finding.remedy or "")
    assert keeper.document.run_id is None


def test_a_full_disk_is_reported_and_not_called_damage(own_data_folder: Path) -> None:
    history = History(default_path())
    number = history.begin(document())
    history._db.execute("PRAGMA max_page_count = 20")
    large = document(results=tuple(result("lstm") for _ in range(60)))
    with pytest.raises(HistoryError, match="database or disk is full") as caught:
        history.save(number, large, "complete")
    assert not isinstance(caught.value, CorruptHistoryError)
    found = history.run(number)
    assert found is not None
    assert found.document == document(run_id=number)
