"""The CPU's frequency governor during training: read after each block, stored, and a change is reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.finding import Finding, Status
from bench.judge import training
from bench.measure.events import Block, Event, TrainingJob
from bench.measure.worker import timing
from bench.measure.worker.governor import Governors
from bench.measure.workloads import WORKLOADS, select
from bench.results.record.document import Document, Result, from_json, to_json
from bench.results.stats.compare import compare
from bench.results.store.history import History, default_path
from bench.run import session
from common.terminal.progress import quiet
from inventory.machine.reading import Reading
from tests.samples import document, machine, result, said

TRAIN = session.training.train


def policy(sysroot: Path, number: int, governor: str) -> Path:
    file = sysroot / f"sys/devices/system/cpu/cpufreq/policy{number}/scaling_governor"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{governor}\n")
    return file


def test_the_governors_of_all_clock_domains_are_read(tmp_path: Path) -> None:
    assert Governors(tmp_path).read() is None, "a virtual machine shows none"
    first, second = policy(tmp_path, 0, "performance"), policy(tmp_path, 4, "performance")
    governors = Governors(tmp_path)
    assert governors.read() == "performance"
    second.write_text("powersave\n")
    assert governors.read() == "performance, powersave"
    first.unlink()
    assert governors.read() == "powersave"
    second.unlink()
    assert governors.read() is None


def test_the_timer_reads_the_governor_at_the_end_of_each_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The governor changes during the second block."""
    pytest.importorskip("keras")
    file = policy(tmp_path, 0, "performance")
    monkeypatch.setattr(timing, "Governors", lambda: Governors(tmp_path))
    events: list[Any] = []
    job = TrainingJob(
        workload=WORKLOADS["lstm"],
        backend="tensorflow",
        warmup_steps=1,
        block_seconds=0.0,
        train_seconds=60.0,
    )
    clock = timing.timer(job, lambda model: None, events.append)
    clock.on_train_begin()
    for step in range(5):
        if step == 4:
            file.write_text("powersave\n")
        clock.on_train_batch_end(step, {"loss": 0.5})
    assert [e.governor for e in events if isinstance(e, Block)] == ["performance", "performance", "powersave"]


def seen(*governors: str | None, name: str = "lstm") -> Result:
    made = result(name, *([400.0] * len(governors)))
    blocks = tuple(
        msgspec.structs.replace(block, governor=governor)
        for block, governor in zip(made.blocks, governors, strict=True)
    )
    return msgspec.structs.replace(made, repeats=(msgspec.structs.replace(made.repeats[0], blocks=blocks),))


def judged(made: Result, before: str | None = None) -> Finding | None:
    found = training.judge(made, gpu_expected=False, governor=before)
    return next((f for f in found if f.id == "training.lstm-governor"), None)


def test_a_change_of_the_governor_is_a_finding() -> None:
    assert judged(seen("performance", "performance")) is None
    assert judged(seen(None, None)) is None
    assert judged(seen("performance"), before="performance") is None
    within = judged(seen("performance", None, "powersave", "performance"))
    assert within is not None
    assert within.status is Status.WARN
    assert "performance, then powersave, then performance" in within.message
    between = judged(seen("powersave"), before="performance")
    assert between is not None
    assert (between.expected, between.measured) == ("performance", "powersave")


def test_the_governor_is_stored_and_compare_reports_it() -> None:
    made = document(results=(seen("performance", "powersave"),))
    assert from_json(to_json(made)) == made
    (pair,) = compare(made, document(results=(seen("performance", "performance"),))).pairs
    assert "governor changed during A (performance, then powersave)" in pair.reason


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Document]:
    """Run `bench --baseline` of lstm and gru; their processes read these governors in turn."""

    def act(*governors: str, began: str = "performance") -> Document:
        host = msgspec.structs.replace(machine().host, cpu_governor=Reading.of(began))
        monkeypatch.setattr("inventory.gather.gather", lambda: machine(host=host))
        asked = iter(governors)

        def worker(job: TrainingJob, on_event: Callable[[Event], None], **_: Any) -> None:
            governor = next(asked)
            for event in said(400.0, 401.0, 399.0):
                on_event(
                    msgspec.structs.replace(event, governor=governor) if isinstance(event, Block) else event
                )

        def train(workload: Any, plan: Any, on_progress: Any, *, parent_pid: int) -> Any:
            return TRAIN(workload, plan, on_progress, run=worker, parent_pid=parent_pid)

        monkeypatch.setattr("bench.measure.training.train", train)
        options = session.RunOptions(
            command="bench", workloads=tuple(select(("lstm", "gru"))), repeats=3, report=False, health_checks=False,
            baseline=True, batch="workshop",
        )  # fmt: skip
        return session.run(options, quiet())

    return act


def changes(made: Document) -> list[str]:
    return [f.id for f in made.findings if f.id.endswith("-governor")]


def test_a_run_with_a_governor_change_is_not_saved_as_baseline(run: Callable[..., Document]) -> None:
    calm = run(*["performance"] * 6)
    assert changes(calm) == []
    assert [r.id for r in History(default_path()).baselines()] == [1]
    midway = run(*["performance"] * 3, *["powersave"] * 3)
    assert changes(midway) == ["training.lstm-governor", "training.gru-governor"]
    first_only = run("powersave", *["performance"] * 5, began="powersave")
    assert changes(first_only) == ["training.lstm-governor", "training.gru-governor"], (
        "gru's came after lstm's"
    )
    assert changes(run(*["powersave"] * 6)) == ["training.lstm-governor"], "since the run began"
    assert changes(run(*["performance, powersave"] * 6)) == [], "the machine is asked for one clock domain"
    assert [r.id for r in History(default_path()).baselines()] == [5]
    kept = History(default_path()).run(2)
    assert kept is not None
    assert kept.document is not None
    assert [[p.blocks[0].governor for p in r.repeats] for r in kept.document.results] == [
        ["performance", "performance", "powersave"], ["performance", "powersave", "powersave"],
    ]  # fmt: skip
