"""`dlbox history export`, `import` and `prune`: no run is lost, duplicated or overwritten, with several writers too."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.results.record.document import Document, to_json
from bench.results.store import archive
from bench.results.store.history import History, default_path
from bench.results.store.lookup import SourceError
from bench.results.store.rows import Run
from tests.conftest import ROOT, Command
from tests.samples import document, machine, mark_baseline, result


def at(day: int, **changes: object) -> Document:
    return document(started_at=f"2026-11-{day:02}T12:00:00+00:00", **changes)


def test_prune_keeps_and_lists_runs_with_an_unreadable_start_time(
    dlbox: Command, history: History, own_data_folder: Path
) -> None:
    db = sqlite3.connect(default_path())
    db.execute("UPDATE runs SET started_at = 'the day before' WHERE id = 1")
    db.execute("UPDATE runs SET started_at = X'FF00' WHERE id = 3")
    db.commit()
    db.close()
    done = dlbox("history", "prune", "--older-than", "0", "--yes")
    assert (done.returncode, done.stdout) == (0, "0 runs removed, 4 left\n")
    assert done.stderr == "dlbox: not removed, because their start times cannot be read: runs 1, 3\n"
    for arguments in (["history"], ["history", "--json"], ["report", "1", "--markdown"]):
        done = dlbox(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
    assert dlbox("history", "prune", "--keep", "0", "--yes").returncode == 0
    assert [run.id for run in history.runs()] == [2, 4]


@pytest.fixture
def history(own_data_folder: Path) -> History:
    """Four runs: complete, complete and baseline, partial, and one that is under way (in this process)."""
    store = History(default_path())
    for day, state in ((1, "complete"), (2, "complete"), (3, "partial")):
        made = at(day, partial=state == "partial", report="/somewhere/page.html")
        store.save(store.begin(made), made, "complete" if state == "complete" else "partial")
    mark_baseline(store, 2)
    store.begin(at(4, partial=True, results=()))
    return store


def elsewhere(tmp_path: Path) -> dict[str, str]:
    return {"XDG_DATA_HOME": str(tmp_path / "another-box")}


def content(run: Run) -> Document:
    assert run.document is not None
    return msgspec.structs.replace(run.document, run_id=None, report=None)


def test_exported_runs_are_imported_unchanged_and_once(
    dlbox: Command, history: History, tmp_path: Path
) -> None:
    file = tmp_path / "runs.jsonl"
    done = dlbox("history", "export", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"3 runs written to {file}; 1 skipped, because unfinished or unreadable\n"
    first = dlbox("history", "import", str(file), **elsewhere(tmp_path))
    assert (first.returncode, first.stdout) == (0, "3 runs imported\n")
    again = dlbox("history", "import", str(file), "--json", **elsewhere(tmp_path))
    told = json.loads(again.stdout)
    assert (told["schema_version"], told["imported"], told["already_there"]) == (1, [], 3)
    there = History(tmp_path / "another-box" / "dlbox" / "history.sqlite").runs()
    here = [run for run in history.runs() if run.state != "running"]
    assert [content(run) for run in there] == [content(run) for run in here]
    assert [(run.state, run.baseline) for run in there] == [
        ("complete", False), ("complete", False), ("partial", False),
    ]  # fmt: skip
    back = dlbox("history", "import", str(file))
    assert back.stdout == "0 runs imported, 3 already in the history\n"
    assert len(history.runs()) == 4


def test_the_output_of_json_can_be_imported(dlbox: Command, history: History, tmp_path: Path) -> None:
    """Of another box, on several lines, through a pipe."""
    host = msgspec.structs.replace(machine().host, hostname="box-2")
    printed = to_json(at(1, machine=machine(host=host)))
    assert printed.count("\n") > 10
    done = subprocess.run(
        [sys.executable, "-P", str(ROOT / "dlbox.py"), "history", "import", "-"],
        input=printed, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "1 run imported\n")
    assert history.last() is not None
    assert [r.id for r in history.runs()] == [1, 5, 2, 3, 4], "in the order in which they were measured"


def test_one_run_can_be_exported_and_compared(dlbox: Command, history: History, tmp_path: Path) -> None:
    file = tmp_path / "one.json"
    assert dlbox("history", "export", str(file), "--run", "2").returncode == 0
    assert dlbox("compare", str(file), "1").returncode == 0
    piped = dlbox("history", "export", "-", "--run", "2")
    assert piped.stdout == file.read_text()
    assert json.loads(piped.stdout)["run_id"] == 2


@pytest.mark.parametrize("number", ["99", "4"])
def test_a_missing_or_unfinished_run_is_not_exported(
    dlbox: Command, history: History, tmp_path: Path, number: str
) -> None:
    done = dlbox("history", "export", str(tmp_path / "x"), "--run", number)
    assert done.returncode == 2
    assert f"no finished run {number}" in done.stderr
    assert not (tmp_path / "x").exists()


def test_an_export_that_cannot_be_written_is_explained(
    dlbox: Command, history: History, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = dlbox("history", "export", str(tmp_path / "file" / "x.jsonl"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


GOOD = msgspec.json.encode(at(9)).decode()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "contains no run"),
        ("\n \n", "contains no run"),
        ("not json", "is not JSON"),
        (GOOD + "\n{}\n", "line 2 is not a result"),
        (GOOD + "\n" + GOOD[:-20] + "\n", "line 2 is not JSON"),
        (GOOD.replace('"schema_version":1', '"schema_version":7'), "newer dlbox (schema version 7)"),
        (GOOD.replace("2026-11-09T12:00:00+00:00", "yesterday"), "`started_at` is not a time"),
        (GOOD.replace("T12:00:00+00:00", "T12:00:00"), "`started_at` is not in UTC"),
        (GOOD.replace("testbox", "\\u001b[31mbox"), "control characters"),
        (GOOD.replace('"steps":10', '"steps":0'), "impossible time"),
        (GOOD.replace('"command":"ready"', '"command":"check"'), "without training results"),
        (GOOD.replace('"batch_size":32', '"batch_size":"many"'), "batch_size"),
    ],
)
def test_an_invalid_file_is_refused_with_one_sentence_and_changes_nothing(
    dlbox: Command, history: History, tmp_path: Path, text: str, words: str
) -> None:
    assert text.startswith(("{", "not")) or not text.strip()
    before = history.runs()
    file = tmp_path / "x.jsonl"
    file.write_text(text)
    done = dlbox("history", "import", str(file))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr
    assert "nothing was imported" in done.stderr
    assert history.runs() == before


def test_a_missing_file_is_reported(dlbox: Command, tmp_path: Path) -> None:
    done = dlbox("history", "import", str(tmp_path / "none"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "No such file" in done.stderr


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_raise_source_error(data: bytes) -> None:
    with pytest.raises(SourceError):
        archive.documents(data, "x")


def run_on(day: int, *, baseline: bool = False, running: bool = False) -> Run:
    state = "running" if running else "complete"
    started = f"2026-11-{day:02}T12:00:00+00:00"
    return Run(id=day, started_at=started, command="bench", state=state, document=None, baseline=baseline)


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), max_size=20),
    st.none() | st.integers(0, 25),
    st.none() | st.floats(0, 30),
)
def test_only_old_runs_are_pruned_and_never_a_baseline(
    kinds: list[tuple[bool, bool]], keep: int | None, days: float | None
) -> None:
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    runs = [run_on(day, baseline=b, running=r) for day, (b, r) in enumerate(kinds, 1)]
    going = archive.expendable(runs, now, keep=keep, older_than_days=days)
    assert not any(run.baseline or run.state == "running" for run in going)
    if keep is not None and keep:
        assert not set(going) & set(runs[-keep:])
    if days is not None:
        assert all(now - datetime.fromisoformat(run.started_at) > timedelta(days=days) for run in going)
    stays = [run for run in runs if run not in going]
    for run in stays:
        young = days is not None and now - datetime.fromisoformat(run.started_at) <= timedelta(days=days)
        assert run.baseline or run.state == "running" or young or (keep and run in runs[-keep:])


def test_prune_removes_the_runs_and_shrinks_the_file(dlbox: Command, own_data_folder: Path) -> None:
    store = History(default_path())
    for day in range(1, 21):
        made = at(day, results=tuple(result(name) for name in ("lstm", "gru", "cnn-lstm")) * 10)
        store.save(store.begin(made), made, "complete")
    mark_baseline(store, 3)
    store.close()
    done = dlbox("history", "prune", "--keep", "2", "--yes")
    assert (done.returncode, done.stdout) == (0, "17 runs removed, 3 left\n")
    store = History(default_path())
    assert [r.id for r in store.runs()] == [3, 19, 20]
    assert default_path().stat().st_size < 250_000
    assert store.begin(at(21)) == 21, "a number is never given twice"
    store.close()
    assert dlbox("history", "prune", "--older-than", "1e4", "--yes").stdout == "0 runs removed, 4 left\n"
    told = json.loads(dlbox("history", "prune", "--keep", "0", "--older-than", "0", "--yes", "--json").stdout)
    assert (told["removed"], told["left"]) == ([19, 20], 2), "run 21 is under way"


@pytest.mark.parametrize(("answer", "left"), [("n\n", 4), ("\n", 4), ("y\n", 2)])
def test_prune_asks_first(history: History, answer: str, left: int) -> None:
    mine, its = pty.openpty()
    os.write(mine, answer.encode())
    done = subprocess.run(
        [sys.executable, "-P", str(ROOT / "dlbox.py"), "history", "prune", "--keep", "0"],
        stdin=its, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    os.close(its)
    os.close(mine)
    assert "Remove 2 runs of 4 (runs 1 to 3) permanently? [y/N]" in done.stderr
    assert done.returncode == (0 if left == 2 else 1)
    assert len(history.runs()) == left


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--keep", "3"], "pass --yes"),
        (["--yes"], "--keep N, --older-than DAYS, or both"),
        (["--keep", "-1", "--yes"], "--keep"),
        (["--older-than", "nan", "--yes"], "--older-than"),
    ],
)
def test_a_prune_with_wrong_options_removes_nothing(
    dlbox: Command, history: History, arguments: list[str], words: str
) -> None:
    done = dlbox("history", "prune", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert len(history.runs()) == 4


def test_an_empty_history_can_be_pruned(dlbox: Command) -> None:
    assert dlbox("history", "prune", "--keep", "1", "--yes").stdout == "0 runs removed, 0 left\n"


def test_processes_import_prune_and_measure_at_once(own_data_folder: Path, tmp_path: Path) -> None:
    """Two bring in the same runs, one prunes, one measures: each import once, nothing broken, nothing lost."""
    file = tmp_path / "runs.jsonl"
    file.write_text("".join(msgspec.json.encode(at(day)).decode() + "\n" for day in range(1, 16)))
    code = f"""
    import sys
    sys.path.insert(0, {str(ROOT)!r})
    from pathlib import Path
    from bench.results.store import archive
    from bench.results.store.history import History
    from tests.samples import blocks, document
    history = History(Path({str(default_path())!r}))
    act = sys.argv[1]
    for number in range(4):
        if act == "import":
            history.add_missing(archive.documents(Path({str(file)!r}).read_bytes(), "x"))
        elif act == "prune":
            history.remove([run.id for run in history.runs() if run.command == "check"])
        else:
            run = history.begin(document(command="bench"))
            for block in blocks(1.0, 2.0, 3.0):
                history.add_block(run, "lstm", "tensorflow", 0, block)
            history.save(run, document(command="bench"), "complete")
    """
    acts = ["import", "import", "prune", "measure"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), act], stderr=subprocess.PIPE, text=True
        )
        for act in acts
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    runs = History(default_path()).runs()
    assert sorted(r.started_at for r in runs if r.command == "ready") == [
        at(d).started_at for d in range(1, 16)
    ]
    assert [r.state for r in runs if r.command == "bench"] == ["complete"] * 4


def test_a_name_that_dlbox_does_not_write_is_refused(
    dlbox: Command, own_data_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "x.json"
    dressed_up = at(1, results=(result("lstm", workload="[/bold]lstm"),))
    file.write_text(to_json(dressed_up))
    done = dlbox("history", "import", str(file))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "`results.workload` is not a name that dlbox writes" in done.stderr
    store = History(default_path())
    store.save(store.begin(dressed_up), dressed_up, "complete")  # as an earlier dlbox took it in
    store.save(store.begin(at(2)), at(2), "complete")
    store.close()
    done = dlbox("history")
    assert (done.returncode, done.stderr) == (0, "")
    assert "cannot be read" in done.stdout
    assert "bold" not in done.stdout
    assert "lstm" in done.stdout, "the other run is listed"
    done = dlbox("report", "1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_history_without_a_subcommand_lists_the_runs(dlbox: Command, history: History) -> None:
    assert len(json.loads(dlbox("history", "--json").stdout)["runs"]) == 4
    assert len(json.loads(dlbox("history", "--json", "--limit", "1").stdout)["runs"]) == 1
    assert dlbox("history", "exprot").returncode == 2
