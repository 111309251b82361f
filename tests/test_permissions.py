"""Permissions of written files: those that the user names follow the umask; those that dlbox names are readable by
this user only."""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.results.export import tensorboard
from bench.results.store import access
from bench.results.store.history import History, default_path
from common.file_access import files
from tests.conftest import Command
from tests.samples import blocks, document, result, telemetry
from workshops.speed import settings

MASKS = (0o077, 0o027, 0o022, 0o002)


@pytest.fixture(params=MASKS, ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_files_that_the_user_names_follow_the_umask(
    dlbox: Command, own_data_folder: Path, tmp_path: Path, umask: int
) -> None:
    history = History(default_path())
    made = document(results=(result("lstm", telemetry=telemetry()),))
    history.save(history.begin(made), made, "complete")
    history.close()
    asked = tmp_path / "asked"
    wanted = [
        asked / name for name in ("a.csv", "a.mllog", "a.json", "b.json", "runs.jsonl", "a.xml", "a.prom")
    ]
    csv, mllog, pyperf, benchmark, runs, junit, prometheus = map(str, wanted)
    for arguments in (
        ("report", "1", "--csv", csv, "--mllog", mllog, "--pyperf", pyperf, "--pytest-benchmark-json", benchmark),
        ("report", "1", "--output", str(asked), ),
        ("report", "1", "--tensorboard", str(asked / "tb")),
        ("history", "export", runs),
        ("check", "--only", "host", "--junit", junit, "--prometheus", prometheus),
    ):  # fmt: skip
        done = dlbox(*arguments)
        assert done.stderr == "" or "tensorboard --logdir" in done.stderr, arguments
    below = [path for path in asked.rglob("*") if path.is_file()]
    assert {*wanted, asked / "dlbox-ready-run1.html"} < set(below)
    assert any("tfevents" in path.name for path in below)
    assert {mode(path) for path in below} == {0o666 & ~umask}
    assert {mode(path) for path in (asked, asked / "tb", asked / "tb" / "run1")} == {0o777 & ~umask}


def test_files_that_dlbox_names_are_readable_by_this_user_only(
    dlbox: Command, own_data_folder: Path, tmp_path: Path, umask: int
) -> None:
    history = History(default_path())
    history.save(history.begin(document()), document(), "complete")
    assert dlbox("report").returncode == 0
    entry = settings.TunedEntry(
        setting=settings.Setting(backend="jax"), fingerprint="x", device="cpu", versions={}, at="",
        samples_per_second=1.0, default_samples_per_second=1.0,
    )  # fmt: skip
    settings.store("lstm", entry)
    folder = default_path().parent
    below = {path.name: mode(path) for path in folder.rglob("*") if path.is_file()}
    assert {"history.sqlite", "history.sqlite-wal", "history.sqlite-shm", "tuned.json"} < set(below)
    assert any(name.endswith(".html") for name in below)
    assert set(below.values()) == {0o600}
    assert (mode(folder), mode(folder / "reports")) == (0o700, 0o700)


def test_the_history_of_an_earlier_version_becomes_readable_by_this_user_only(own_data_folder: Path) -> None:
    path = default_path()
    path.parent.mkdir(parents=True)
    path.parent.chmod(0o755)
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA journal_mode = WAL")
    raw.close()
    path.chmod(0o644)
    history = History(path)
    history.begin(document())
    assert [mode(one) for one in (path.parent, path, path.with_name(path.name + "-wal"))] == [
        0o700,
        0o600,
        0o600,
    ]


def test_a_folder_that_the_user_chose_keeps_its_permissions(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    History(tmp_path / "history.sqlite").close()
    assert (mode(tmp_path), mode(tmp_path / "history.sqlite")) == (0o755, 0o600)


@pytest.mark.parametrize("before", [0o600, 0o640, 0o666])
def test_an_existing_file_keeps_its_permissions(tmp_path: Path, before: int, umask: int) -> None:
    for write in (
        files.write_atomically,
        lambda path, text: files.write_with(path, lambda new: new.write_text(text)),
    ):
        path = tmp_path / "x"
        path.write_text("before")
        path.chmod(before)
        write(path, "after")
        assert path.read_text() != "before"
        assert mode(path) == before


def test_a_lesson_s_files_follow_the_umask(tmp_path: Path, umask: int) -> None:
    files.write_with(tmp_path / "new" / "x.json", lambda new: new.write_text("{}"))
    assert mode(tmp_path / "new" / "x.json") == 0o666 & ~umask


def test_a_private_file_is_never_readable_by_others_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    seen: list[int] = []
    sync = os.fsync

    def looked_at(handle: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(handle).st_mode))
        sync(handle)

    monkeypatch.setattr(os, "fsync", looked_at)
    files.write_atomically(tmp_path / "a" / "b" / "x", b"secret", private=True)
    assert seen == [0o600]
    assert [mode(tmp_path / one) for one in ("a", "a/b", "a/b/x")] == [0o700, 0o700, 0o600]


def test_a_name_as_long_as_the_file_system_takes_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    files.write_atomically(path, "whole")
    assert path.read_text() == "whole"


@pytest.fixture
def no_data_folder(own_data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory, and a data folder that cannot be used because it is a file."""
    default_path().parent.parent.mkdir(parents=True, exist_ok=True)
    default_path().parent.write_text("")
    shared = tmp_path / "tmp"
    shared.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    return shared


def kept_in() -> Path:
    history, problems = access.open_history()
    (problem,) = problems
    assert str(history.path) in problem.message
    history.save(history.begin(document()), document(), "complete")
    history.close()
    return history.path


def test_the_temporary_history_folder_is_found_again(no_data_folder: Path) -> None:
    first = kept_in()
    assert first == kept_in() == no_data_folder / f"dlbox-{os.geteuid()}" / "history.sqlite"
    assert len(History(first).runs()) == 2
    assert (mode(first.parent), mode(first)) == (0o700, 0o600)


@pytest.mark.parametrize("planted", ["file", "link", "dangling", "wide", "pipe", "folder", "damaged"])
def test_a_foreign_file_with_the_name_of_the_temporary_history_folder_is_not_used(
    no_data_folder: Path, tmp_path: Path, planted: str
) -> None:
    predictable, trap = no_data_folder / f"dlbox-{os.geteuid()}", tmp_path / "trap"
    trap.mkdir(mode=0o700)
    match planted:
        case "file":
            predictable.write_text("")
        case "link":
            predictable.symlink_to(trap)
        case "dangling":
            predictable.symlink_to(tmp_path / "not-there")
        case "wide":
            predictable.mkdir()
            predictable.chmod(0o777)
        case "pipe":
            os.mkfifo(predictable)
        case "folder":
            (predictable / "history.sqlite").mkdir(mode=0o700, parents=True)
            predictable.chmod(0o700)
        case "damaged":
            predictable.mkdir(mode=0o700)
            (predictable / "history.sqlite").write_text("no database" * 1000)
    path = kept_in()
    assert path.parent != predictable
    assert path.parent.parent == no_data_folder
    assert not path.parent.is_symlink()
    assert (mode(path.parent), mode(path)) == (0o700, 0o600)
    assert list(trap.iterdir()) == []
    assert not (tmp_path / "not-there").exists()


def test_a_folder_of_another_user_is_not_used(no_data_folder: Path) -> None:
    predictable = no_data_folder / f"dlbox-{os.geteuid()}"
    predictable.mkdir(mode=0o700)
    try:
        os.chown(predictable, 12345, -1)
    except OSError:
        pytest.skip("giving a folder away needs root")
    assert kept_in().parent != predictable


def rows(path: Path) -> int:
    with sqlite3.connect(path) as raw:
        return int(raw.execute("SELECT count(*) FROM blocks").fetchone()[0])


@pytest.fixture
def dead(tmp_path: Path) -> Path:
    """A history with one run whose process is gone, with three rows of blocks, of which its document knows one."""
    path = tmp_path / "history.sqlite"
    history = History(path)
    made = document(results=(result("lstm", 100.0, partial=True),), partial=True)
    number = history.begin(made)
    for block in blocks(100.0, 200.0, 300.0):
        history.add_block(number, "lstm", "tensorflow", 0, block)
    history.close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE runs SET pid_started = 0")
    assert rows(path) == 3
    return path


def measured(path: Path) -> tuple[float, ...]:
    run = History(path).run(1)
    assert run is not None
    assert run.document is not None
    assert run.state == "partial"
    return run.document.results[0].samples_per_second.values


def test_blocks_of_a_dead_run_are_folded_into_its_document(dead: Path) -> None:
    assert measured(dead) == pytest.approx((100.0, 200.0, 300.0))
    assert rows(dead) == 0
    assert measured(dead) == pytest.approx((100.0, 200.0, 300.0))


def test_rows_that_an_earlier_dlbox_left_are_folded_too(dead: Path) -> None:
    with sqlite3.connect(dead) as raw:
        raw.execute("UPDATE runs SET state = 'partial'")
    assert measured(dead) == pytest.approx((100.0, 200.0, 300.0))
    assert rows(dead) == 0


def test_rows_of_a_run_that_cannot_be_read_wait_for_a_dlbox_that_can(dead: Path) -> None:
    with sqlite3.connect(dead) as raw:
        (text,) = raw.execute("SELECT document FROM runs").fetchone()
        raw.execute("UPDATE runs SET document = '{}'")
    History(dead).close()
    assert rows(dead) == 3
    with sqlite3.connect(dead) as raw:
        raw.execute("UPDATE runs SET document = ?", (text,))
    assert measured(dead) == pytest.approx((100.0, 200.0, 300.0))
    assert rows(dead) == 0


def test_a_dead_run_without_any_block_does_not_keep_the_history_closed(dead: Path) -> None:
    with sqlite3.connect(dead) as raw:
        raw.execute("DELETE FROM blocks")
        raw.execute("UPDATE runs SET document = json_set(document, '$.results[0].repeats', json('[]'))")
    (run,) = History(dead).runs()
    assert run.state == "partial"


def test_event_files_are_written_by_the_same_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        tensorboard.write(document(run_id=1), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
