"""`dlbox bench --tuned`: the stored setting is used where it is valid, and the output names the setting in use."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bench.finding import Status
from bench.measure import runner, training
from bench.measure.events import TrainingJob
from bench.measure.workloads import WORKLOADS
from bench.results.record.document import Document
from bench.results.record.figures import BatchPoint, BatchSearch
from bench.run import session, tuned_settings
from common.terminal.progress import quiet
from tests.conftest import Command
from tests.samples import machine, said
from workshops.speed import settings
from workshops.speed.settings import Setting, TunedEntry, TunedSettings

FAST = Setting(backend="torch", layers="fast")


def entry(**changes: object) -> TunedEntry:
    stored = TunedEntry(
        setting=FAST, fingerprint=WORKLOADS["lstm"].fingerprint, device=tuned_settings.device(machine()),
        versions=tuned_settings.installed("torch"), samples_per_second=500.0, default_samples_per_second=400.0,
        at="2026-11-25T00:00:00Z",
    )  # fmt: skip
    return msgspec.structs.replace(stored, **changes)


def test_what_was_stored_here_counts() -> None:
    setting, told = tuned_settings.look_up(
        WORKLOADS["lstm"], TunedSettings(entries={"lstm": entry()}), machine()
    )
    assert setting == FAST
    assert told.status is Status.PASS
    assert "torch, fast layers" in told.message


@pytest.mark.parametrize(
    "book",
    [
        TunedSettings(),
        TunedSettings(entries={"lstm": entry(device="another")}),
        TunedSettings(entries={"lstm": entry(fingerprint="0")}),
        TunedSettings(entries={"lstm": entry(versions={"keras": "3.0.0"})}),
    ],
)
def test_a_setting_that_does_not_apply_is_reported_and_the_default_is_used(book: TunedSettings) -> None:
    setting, told = tuned_settings.look_up(WORKLOADS["lstm"], book, machine())
    assert setting is None
    assert told.status is Status.WARN
    assert told.remedy == "dlbox tune --workload lstm"


def run_tuned(
    monkeypatch: pytest.MonkeyPatch, *names: str, **more: Any
) -> tuple[Document, list[TrainingJob]]:
    """`bench --quick --tuned` over workers that answer at once, and the jobs they were given."""
    jobs: list[TrainingJob] = []
    original = training.train

    def train(workload: object, plan: object, on_progress: object, *, parent_pid: int) -> object:
        def run(job: TrainingJob, hear: object, **_: object) -> runner.WorkerProblem | None:
            jobs.append(job)
            for event in said(400.0, 401.0, 402.0):
                hear(event)  # type: ignore[operator]
            return None

        return original(workload, plan, on_progress, run=run, parent_pid=parent_pid)  # type: ignore[arg-type]

    monkeypatch.setattr("bench.measure.training.train", train)
    monkeypatch.setattr("inventory.gather.gather", machine)
    monkeypatch.setattr(session, "installed_backends", lambda: ["tensorflow", "torch"])
    options = session.RunOptions(
        command="bench", workloads=tuple(WORKLOADS[name] for name in names), quick=True, tuned=True,
        health_checks=False, report=False, **more,
    )  # fmt: skip
    return session.run(options, quiet()), jobs


def test_a_run_trains_each_model_with_its_own_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    settings.store("lstm", entry())
    document, jobs = run_tuned(monkeypatch, "lstm", "gru")
    assert [(job.workload.name, job.backend, job.setting) for job in jobs] == [
        ("lstm", "torch", FAST), ("gru", "tensorflow", None),
    ]  # fmt: skip
    assert [result.backend for result in document.results] == ["torch", "tensorflow"]
    assert {f.id: f.status for f in document.findings if f.id.startswith("tuned.")} == {
        "tuned.lstm": Status.PASS, "tuned.gru": Status.WARN,
    }  # fmt: skip
    assert document.options["tuned"] is True


def test_a_stored_batch_is_the_one_that_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    larger = msgspec.structs.replace(FAST, batch_size=128)
    settings.store("lstm", entry(setting=larger))
    document, jobs = run_tuned(monkeypatch, "lstm")
    (job,) = jobs
    usual = WORKLOADS["lstm"]
    assert (job.workload.batch_size, job.setting) == (128, larger)
    assert job.workload.learning_rate == pytest.approx(2 * usual.learning_rate)
    (result,) = document.results
    assert (result.label, result.batch_kind, result.batch_size) == ("lstm-batch-128", "chosen", 128)
    assert result.fingerprint != usual.fingerprint, "it is other work, and never compared with the workshop's"


def test_a_backend_and_tuned_are_a_wrong_call(dlbox: Command) -> None:
    done = dlbox("bench", "--tuned", "--backend", "torch")
    assert done.returncode == 2
    assert "--tuned selects the backend" in done.stderr


@pytest.mark.parametrize("best", [64, 128])
def test_the_stored_batch_is_trained_once_also_where_it_is_the_fastest(
    monkeypatch: pytest.MonkeyPatch, best: int
) -> None:
    settings.store("lstm", entry(setting=msgspec.structs.replace(FAST, batch_size=128)))
    points = tuple(
        BatchPoint(batch_size=size, samples_per_second=400.0 + (size == best)) for size in (64, 128)
    )
    found = BatchSearch(points=points, best_batch_size=best, ended="no-faster", why="made up")
    monkeypatch.setattr("bench.measure.batches.search", lambda *_, **__: (found, None))
    document, _ = run_tuned(monkeypatch, "lstm", batch="best")
    assert [(r.batch_size, r.batch_kind, r.batches is not None) for r in document.results] == [
        (128, "chosen", True), *([(64, "best", False)] if best == 64 else []),
    ]  # fmt: skip
    assert len({f.id for f in document.findings}) == len(document.findings)
