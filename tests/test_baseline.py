"""Baselines: which runs can be one, and the comparison of later runs with them."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.finding import Finding, Status
from bench.judge import baseline
from bench.measure.events import Event, TrainingJob
from bench.measure.workloads import select
from bench.results.record.document import Document
from bench.results.store.history import USER_VERSION, History, default_path
from bench.results.store.rows import Run
from bench.run import session
from common.terminal.progress import quiet
from inventory.machine.records import PciCard
from tests.conftest import ROOT, Command
from tests.samples import document, machine, mark_baseline, said
from tests.test_compare import FIVE, run_of

VERSION_1 = Path(__file__).parent / "data" / "history-version-1.sqlite"
TRAIN = session.training.train
"""Of three runs, written by the first layout's own code: complete, partial, and one whose process is gone."""


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Document]:
    """Train lstm so fast (samples/s of each process) on a made-up machine; `bench` with five processes."""

    def run(*levels: float, command: str = "bench", spread: float = 0.001, **options: Any) -> Document:
        here = options.pop("machine", machine())
        monkeypatch.setattr("inventory.gather.gather", lambda: here)
        monkeypatch.setattr("bench.health.run", lambda machine, **_: [])
        asked = iter(levels)

        def worker(job: TrainingJob, on_event: Callable[[Event], None], **_: Any) -> None:
            level = next(asked)
            for event in said(*[level * (1 + spread * i) for i in (-1, 0, 1, 0)]):
                on_event(event)

        def train(workload: Any, plan: Any, on_progress: Any, *, parent_pid: int) -> Any:
            return TRAIN(workload, plan, on_progress, run=worker, parent_pid=parent_pid)

        monkeypatch.setattr("bench.measure.training.train", train)
        options = {"repeats": len(levels), "report": False, "health_checks": False, **options}
        return session.run(
            session.RunOptions(command=command, workloads=tuple(select(("lstm",))), **options), quiet()
        )

    return run


STEADY = (400.0, 404.0, 398.0, 402.0, 396.0)


def told(document: Document, name: str) -> Finding | None:
    return next((f for f in document.findings if f.id == name), None)


def judged(document: Document) -> Finding:
    found = told(document, "training.lstm-baseline")
    assert found is not None
    return found


def test_later_runs_are_compared_with_the_baseline(box: Any) -> None:
    assert told(box(*STEADY), "training.lstm-baseline") is None, "nothing to judge against yet"
    marked = box(*STEADY, baseline=True)
    assert told(marked, "results.baseline") is not None
    assert marked.verdict == "cpu-only"
    same = box(397.0, 401.0, 403.0, 399.0, 400.0)
    assert judged(same).status is Status.PASS
    assert "compared with 400 of the baseline (run 2): ratio 1.000" in judged(same).message
    slow = box(*[level * 0.8 for level in STEADY])
    assert judged(slow).status is Status.FAIL
    assert slow.verdict == "not-ready"
    assert (judged(slow).measured, judged(slow).expected) == (
        pytest.approx(320, rel=1e-3),
        pytest.approx(400, rel=1e-3),
    )
    assert "20.0% slower, which is more than run-to-run variation explains" in judged(slow).message
    assert "\n" not in judged(slow).message
    fast = box(*[level * 1.3 for level in STEADY])
    assert judged(fast).status is Status.PASS
    assert [r.id for r in History(default_path()).baselines()] == [2]


def test_ready_and_quick_runs_are_compared_too(box: Any) -> None:
    box(*STEADY, baseline=True)
    assert judged(box(398.0, command="ready", quick=True)).status is Status.PASS
    assert judged(box(300.0, 302.0, 301.0, command="ready")).status is Status.FAIL


def test_the_noise_of_the_workload_sets_the_limit(box: Any) -> None:
    """The same 8% slower: lost in the noise of a scattering baseline, found beside a quiet one."""
    box(360.0, 388.0, 400.0, 412.0, 440.0, baseline=True)
    assert judged(box(*[level * 0.92 for level in STEADY])).status is Status.PASS
    box(*STEADY, baseline=True)
    assert judged(box(*[level * 0.92 for level in STEADY])).status is Status.FAIL


def test_another_batch_size_can_be_a_baseline_and_the_short_accuracy_run_cannot(box: Any) -> None:
    """One process shows at the workshop's size that the model learns; those at the size asked for are measured."""
    marked = box(400.0, *STEADY, repeats=5, batch=64, baseline=True)
    assert [(r.label, len(r.repeats)) for r in marked.results] == [("lstm", 1), ("lstm-batch-64", 5)]
    assert [r.id for r in History(default_path()).baselines()] == [1]
    said = told(marked, "results.baseline")
    assert said is not None
    assert said.message == "later runs of lstm-batch-64 are compared with this one"
    slow = box(300.0, *[level * 0.8 for level in STEADY], repeats=5, batch=64)
    found = told(slow, "training.lstm-batch-64-baseline")
    assert found is not None
    assert found.status is Status.FAIL
    assert told(slow, "training.lstm-baseline") is None, "nothing was measured there to judge against"
    box(*STEADY, baseline=True)
    assert [r.id for r in History(default_path()).baselines()] == [3, 1], "each for its own size"


def test_another_machine_backend_or_device_has_no_baseline_here(box: Any) -> None:
    box(*STEADY, baseline=True)
    other = machine(host=msgspec.structs.replace(machine().host, hostname="box-2"))
    card = machine(cards=(PciCard(address="0000:01:00.0", device_id=0x2503, driver="nvidia"),))
    assert told(box(*[100.0] * 5, machine=other), "training.lstm-baseline") is None
    assert told(box(*[100.0] * 5, machine=card), "training.lstm-baseline") is None


def test_another_version_of_the_workload_is_reported_and_not_compared() -> None:
    before = Run(
        id=3, started_at="", command="bench", state="complete", baseline=True,
        document=document(results=(run_of(*FIVE, fingerprint="0" * 16),)),
    )  # fmt: skip
    found = baseline.against_baseline(run_of(*FIVE), machine(), [before])
    assert found is not None
    assert (found.status, "another version" in found.message) == (Status.SKIP, True)


def test_a_new_baseline_replaces_the_old_one(box: Any) -> None:
    box(*STEADY, baseline=True)
    marked = box(*[level / 2 for level in STEADY], baseline=True)
    assert told(marked, "training.lstm-baseline") is None, "a wanted change is not held against the old"
    assert [r.id for r in History(default_path()).baselines()] == [2]
    assert judged(box(*[level / 2 for level in STEADY])).status is Status.PASS


@pytest.mark.parametrize(
    ("levels", "options", "words"),
    [
        (STEADY, {"spread": 0.3}, "unsteady"),
        ((400.0, 300.0, 500.0, 200.0, 600.0), {}, "unsteady"),
        ((401.0, 398.0, 403.0, 201.0, 205.0), {}, "gave 401, 398, 403, 201, 205 samples/s"),
    ],
)
def test_an_unsteady_run_is_never_a_baseline(
    box: Any, levels: tuple[float, ...], options: dict[str, Any], words: str
) -> None:
    refused = box(*levels, baseline=True, **options)
    found = told(refused, "results.baseline")
    assert found is not None
    assert found.status is Status.FAIL
    assert words in found.message
    assert refused.verdict == "not-ready"
    assert History(default_path()).baselines() == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"partial": True}, "lstm was interrupted"),
        ({"accuracy": 0.4}, "did not learn"),
        ({"repeats": run_of(*FIVE[:2]).repeats}, "fewer than 3 processes"),
    ],
)
def test_incomplete_results_are_not_accepted_as_baseline(change: dict[str, Any], words: str) -> None:
    made = document(run_id=1, results=(run_of(*FIVE), run_of(*FIVE, **change)))
    assert words in str(baseline.why_no_baseline([], made))
    assert baseline.why_no_baseline([], document(run_id=1, results=(run_of(*FIVE),))) is None
    halved = document(run_id=1, results=(run_of(*FIVE[:3], [200.0] * 4, [205.0] * 4),))
    assert "the speed of lstm is unsteady, its processes gave" in str(baseline.why_no_baseline([], halved))
    assert "the run has no training results" in str(
        baseline.why_no_baseline([], document(run_id=1, results=()))
    )
    assert "could not be stored" in str(baseline.why_no_baseline([], document(results=(run_of(*FIVE),))))


def test_a_baseline_is_replaced_only_if_all_its_results_are_covered() -> None:
    def run(number: int, *names: str) -> Run:
        made = document(results=tuple(run_of(*FIVE, name=name) for name in names))
        return Run(id=number, started_at="", command="bench", state="complete", document=made, baseline=True)

    new = document(results=(run_of(*FIVE, name="lstm"), run_of(*FIVE, name="gru")))
    assert baseline.superseded(new, [run(1, "lstm"), run(2, "lstm", "cnn-lstm"), run(3, "gru")]) == [1, 3]


def test_too_few_processes_are_refused_before_anything_runs(dlbox: Command, own_data_folder: Path) -> None:
    done = dlbox("bench", "--baseline", "--quick")
    assert done.returncode == 2
    assert "at least" in done.stderr or "3 processes" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not own_data_folder.exists()


def test_the_baseline_of_a_comparison_is_one_that_shares_a_result(
    dlbox: Command, own_data_folder: Path
) -> None:
    """The newest baseline is of another model, an older one is of the model and another machine's."""
    history = History(default_path())
    elsewhere = machine(host=msgspec.structs.replace(machine().host, hostname="box-2"))
    slow = run_of(*[[200.0, 201.0, 202.0]] * 5)
    made = (
        document(results=(run_of(*FIVE),)),
        document(results=(run_of(*FIVE, name="gru"),)),
        document(results=(run_of(*FIVE),), machine=elsewhere),
        document(results=(slow,)),
    )
    for day, one in enumerate(made, 1):
        dated = msgspec.structs.replace(one, started_at=f"2026-11-{day:02}T12:00:00+00:00")
        history.save(history.begin(dated), dated, "complete")
    for number in (1, 2, 3):
        mark_baseline(history, number)
    for a, b, code in (("baseline", "last", 1), ("last", "baseline", 0), ("baseline", "4", 1)):
        done = dlbox("compare", a, b, "--json")
        assert (done.returncode, done.stderr) == (code, "")
        found = json.loads(done.stdout)
        assert {found["a"]["name"], found["b"]["name"]} == {"run 1", "run 4"}
    assert "run 3, " in dlbox("compare", "baseline", "baseline").stdout


def test_the_remedy_of_a_slower_run_names_a_comparison_that_works(dlbox: Command, box: Any) -> None:
    box(*STEADY, baseline=True)
    other = document(started_at="2030-01-01T00:00:00+00:00", results=(run_of(*FIVE, name="gru"),))
    history = History(default_path())
    history.save(history.begin(other), other, "complete")
    mark_baseline(history, 2)
    remedy = judged(box(*[level * 0.8 for level in STEADY])).remedy or ""
    assert "`dlbox compare 1 3` shows what changed" in remedy
    done = dlbox("compare", "1", "3")
    assert (done.returncode, done.stderr) == (1, "")


def test_history_marks_the_baseline_and_compare_finds_it(dlbox: Command, box: Any) -> None:
    box(*STEADY, baseline=True)
    box(*STEADY)
    assert "baseline" in dlbox("history").stdout
    listed = json.loads(dlbox("history", "--json").stdout)["runs"]
    assert [run["baseline"] for run in listed] == [True, False]
    found = json.loads(dlbox("compare", "baseline", "last", "--json").stdout)
    assert (found["a"]["name"], found["b"]["name"]) == ("run 1", "run 2")
    none = dlbox("compare", "baseline", "last", XDG_DATA_HOME=str(Path(os.environ["XDG_DATA_HOME"]) / "x"))
    assert none.returncode == 2
    assert "dlbox bench --baseline" in none.stderr


def old_store(folder: Path) -> Path:
    path = folder / "data" / "history.sqlite"
    path.parent.mkdir()
    shutil.copy(VERSION_1, path)
    return path


def layout(path: Path) -> tuple[int, str]:
    with sqlite3.connect(path) as database:
        version = database.execute("PRAGMA user_version").fetchone()[0]
        tables = database.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
        ).fetchall()
    database.close()
    return version, " ".join(" ".join(sql.split()) for (sql,) in tables)


def test_a_history_of_the_first_layout_is_migrated(tmp_path: Path) -> None:
    path = old_store(tmp_path)
    assert layout(path)[0] == 1
    history = History(path)
    assert [(r.state, r.baseline) for r in history.runs()] == [
        ("complete", False), ("partial", False), ("partial", False),
    ]  # fmt: skip
    lost = history.runs()[2].document
    assert lost is not None
    assert lost.results[0].samples_per_second.values == pytest.approx((100.0, 200.0, 300.0))
    mark_baseline(history, 1)
    history.close()
    assert [r.id for r in History(path).baselines()] == [1]
    History(tmp_path / "new.sqlite").close()
    assert layout(path) == layout(tmp_path / "new.sqlite")
    assert layout(path)[0] == USER_VERSION


def test_a_history_of_the_first_layout_can_be_read_on_a_read_only_file_system(tmp_path: Path) -> None:
    path = old_store(tmp_path)
    history = History(path, read_only=True)
    assert [r.baseline for r in history.runs()] == [False] * 3
    history.close()
    assert layout(path)[0] == 1


def test_two_processes_can_migrate_at_once(tmp_path: Path) -> None:
    path = old_store(tmp_path)
    code = f"""
    import sys
    sys.path.insert(0, {str(ROOT)!r})
    from pathlib import Path
    from bench.results.store.history import History
    sys.stdin.read(1)
    assert len(History(Path({str(path)!r})).runs()) == 3
    """
    waiting = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    for process in waiting:
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.flush()
    for process in waiting:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    assert layout(path)[0] == USER_VERSION


def test_an_interrupted_migration_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = old_store(tmp_path)
    whole = layout(path)
    broken = ("", "ALTER TABLE runs ADD COLUMN extra INTEGER;\nNOT SQL")
    monkeypatch.setattr("bench.results.store.history._LAYOUTS", broken)
    with pytest.raises(Exception, match="syntax error"):
        History(path)
    assert layout(path) == whole
