"""The workloads of a run take turns, a process of each at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
import pytest

from bench.finding import Status
from bench.measure import training
from bench.measure.events import Event, TrainingJob
from bench.measure.runner import WorkerProblem
from bench.measure.workloads import select
from bench.results.record.document import Document
from bench.results.record.figures import BatchPoint, BatchSearch
from bench.results.stats import compare
from bench.results.store.history import History, default_path
from bench.run import session
from bench.run.recorder import with_result
from common.terminal.progress import quiet
from tests.samples import machine, result, said

TRAIN = training.train
POINTS = (
    BatchPoint(batch_size=32, samples_per_second=400.0),
    BatchPoint(batch_size=128, samples_per_second=800.0),
)
Worker = Callable[[TrainingJob], Iterable[Event] | WorkerProblem]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Document]:
    """`bench` of lstm, gru and cnn, three processes each, over workers that say what ``worker`` gives."""

    def run(worker: Worker, *, batch: str = "workshop", **options: Any) -> Document:
        def act(job: TrainingJob, on_event: Callable[[Event], None], **_: Any) -> WorkerProblem | None:
            told = worker(job)
            if isinstance(told, WorkerProblem):
                return told
            for event in told:
                on_event(event)
            return None

        def train(workload: Any, plan: Any, on_progress: Any, *, parent_pid: int) -> Any:
            return TRAIN(workload, plan, on_progress, run=act, parent_pid=parent_pid)

        monkeypatch.setattr("inventory.gather.gather", machine)
        monkeypatch.setattr("bench.measure.training.train", train)
        asked: dict[str, Any] = {
            "command": "bench", "workloads": tuple(select(("lstm", "gru", "cnn"))), "repeats": 3, "batch": batch,
            "report": False, "health_checks": False, **options,
        }  # fmt: skip
        return session.run(session.RunOptions(**asked), quiet())

    return run


def test_workloads_take_turns_and_are_stored_in_order(bench: Callable[..., Document]) -> None:
    order: list[tuple[str, int]] = []

    def worker(job: TrainingJob) -> list[Event]:
        order.append((job.workload.name, job.seed))
        return said(400.0 + len(order), 402.0, 398.0)

    made = bench(worker)
    assert order == [(name, seed) for seed in range(3) for name in ("lstm", "gru", "cnn")]
    assert [(r.workload, len(r.repeats), r.partial) for r in made.results] == [
        ("lstm", 3, False), ("gru", 3, False), ("cnn", 3, False),
    ]  # fmt: skip
    learns = [f.id for f in made.findings if f.id.endswith("-learns")]
    assert learns == ["training.lstm-learns", "training.gru-learns", "training.cnn-learns"], (
        "each is said once"
    )
    assert len({f.id for f in made.findings}) == len(made.findings)


def test_a_machine_that_slows_down_during_the_run_is_seen_by_every_workload(
    bench: Callable[..., Document],
) -> None:
    """One after the other, the first would not have noticed, and each would have claimed a narrow interval."""
    begun = iter(range(99))

    def worker(job: TrainingJob) -> list[Event]:
        rate = 400.0 if next(begun) < 5 else 320.0
        return said(rate, 1.001 * rate, 0.999 * rate)

    made = bench(worker)
    for one in made.results:
        rates = [r.blocks[0].samples_per_second for r in one.repeats]
        assert max(rates) / min(rates) == pytest.approx(1.25)
        assert one.interval is not None
        assert one.interval.low is not None
        assert one.interval.low < 320
    unsteady = {f.id for f in made.findings if f.status is Status.WARN}
    assert unsteady >= {f"training.{name}-steady" for name in ("lstm", "gru", "cnn")}


def test_ctrl_c_keeps_whole_what_ended_before_and_what_was_found_of_it(
    bench: Callable[..., Document],
) -> None:
    left = iter(range(7))

    def worker(job: TrainingJob) -> list[Event]:
        if next(left) == 6:
            raise KeyboardInterrupt
        return said(400.0, 402.0, 398.0)

    with pytest.raises(session.InterruptedRunError) as caught:
        bench(worker)
    made = caught.value.document
    assert made is not None
    assert made.partial
    assert [(r.workload, len(r.repeats), r.partial) for r in made.results] == [
        ("lstm", 2, False), ("gru", 2, False), ("cnn", 2, False),
    ]  # fmt: skip
    assert [f.status for f in made.findings if f.id.endswith("-learns")] == [Status.PASS] * 3
    kept = History(default_path()).run(1)
    assert kept is not None
    assert kept.document == made


@pytest.mark.parametrize("told", [4, 6])
def test_ctrl_c_in_a_later_process_leaves_what_was_judged_and_keeps_its_blocks_beside(
    bench: Callable[..., Document], told: int
) -> None:
    """``told``: events before the key was pressed; all of them, and it came while the process was judged."""
    begun = iter(range(9))

    def worker(job: TrainingJob) -> Iterator[Event]:
        number = next(begun)
        yield from (said(400.0, 402.0, 398.0) if number < 6 else said(100.0, 101.0, 102.0)[:told])
        if number == 6:
            raise KeyboardInterrupt

    with pytest.raises(session.InterruptedRunError) as caught:
        bench(worker)
    made = caught.value.document
    assert made is not None
    lstm, gru, _ = made.results
    assert (len(lstm.repeats), lstm.partial, lstm.accuracy) == (2, False, 0.95)
    assert lstm.interval == gru.interval
    assert lstm.samples_per_second == gru.samples_per_second
    assert lstm.cut_short is not None
    timed = [block.samples_per_second for block in lstm.cut_short.blocks]
    assert timed == pytest.approx([100.0, 101.0, 102.0][: told - 2])
    assert gru.cut_short is None
    assert compare.refusal(lstm, lstm) is None
    kept = History(default_path()).run(1)
    assert kept is not None
    assert kept.document == made


def test_after_ctrl_c_between_two_sizes_both_are_as_judged(
    bench: Callable[..., Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = BatchSearch(points=POINTS, best_batch_size=128, ended="no-faster", why="made up")
    monkeypatch.setattr("bench.measure.batches.search", lambda *_, **__: (found, None))

    def worker(job: TrainingJob) -> Iterator[Event]:
        yield from said(400.0, 402.0, 398.0)[:5]
        if job.workload.batch_size == 128 and job.seed == 0:
            raise KeyboardInterrupt

    with pytest.raises(session.InterruptedRunError) as caught:
        bench(worker, batch="both", workloads=tuple(select(("lstm",))))
    made = caught.value.document
    assert made is not None
    assert [(r.label, len(r.repeats), r.partial, r.cut_short) for r in made.results] == [
        ("lstm", 3, False, None), ("lstm-batch-128", 1, True, None),
    ]  # fmt: skip


def test_one_that_fails_is_left_out_of_the_next_turns(bench: Callable[..., Document]) -> None:
    order: list[str] = []

    def worker(job: TrainingJob) -> list[Event] | WorkerProblem:
        order.append(job.workload.name)
        if order.count("gru") == 2 and job.workload.name == "gru":
            return WorkerProblem(kind="crash", message="the worker was killed by SIGSEGV")
        return said(400.0, 402.0, 398.0)

    made = bench(worker)
    assert order == ["lstm", "gru", "cnn", "lstm", "gru", "cnn", "lstm", "cnn"]
    assert {r.workload: (len(r.repeats), r.partial) for r in made.results} == {
        "lstm": (3, False), "gru": (1, True), "cnn": (3, False),
    }  # fmt: skip
    assert [f.id for f in made.findings if f.status is Status.FAIL] == ["training.gru-ran"]


def test_the_fastest_batch_is_looked_for_after_the_last_turn(
    bench: Callable[..., Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def search(workload: Any, *_: Any, **__: Any) -> tuple[BatchSearch, None]:
        order.append(f"{workload.name}?")
        return BatchSearch(points=POINTS, best_batch_size=128, ended="no-faster", why="made up"), None

    def worker(job: TrainingJob) -> list[Event]:
        order.append(f"{job.workload.name} {job.workload.batch_size}")
        return said(400.0, 402.0, 398.0)

    monkeypatch.setattr("bench.measure.batches.search", search)
    made = bench(worker, batch="both", workloads=tuple(select(("lstm", "gru"))), repeats=2)
    assert order == [
        "lstm 32", "gru 32", "lstm 32", "lstm?", "lstm 128", "gru 32", "gru?", "gru 128", "lstm 128", "gru 128",
    ]  # fmt: skip
    assert [(r.workload, r.batch_size) for r in made.results] == [
        ("lstm", 32), ("lstm", 128), ("gru", 32), ("gru", 128),
    ]  # fmt: skip
    assert [r.batches.best_batch_size for r in made.results if r.batches] == [128, 128]


def test_a_result_takes_the_place_of_an_earlier_state_of_itself() -> None:
    lstm, gru = result("lstm"), result("gru")
    best = msgspec.structs.replace(lstm, batch_size=128, batch_kind="best")
    again = msgspec.structs.replace(lstm, partial=True)
    assert with_result((lstm, gru), again) == (again, gru)
    assert with_result((lstm, gru), best) == (lstm, best, gru)
    assert with_result((gru,), lstm) == (gru, lstm)
    assert with_result((lstm,), None) == (lstm,)
