"""A measurement that other programs disturbed is repeated within bounds; after that the verdict is "uncertain"."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench.commands.measure import exit_code
from bench.finding import VERDICTS, Finding, Status, noise, words
from bench.finding import verdict as overall
from bench.judge import training as judge
from bench.measure import training
from bench.measure.events import Block, Event, TrainingJob
from bench.measure.runner import WorkerProblem
from bench.measure.workloads import select
from bench.results.export import junit, prometheus
from bench.results.record.document import Document, TimedBlock, from_json, to_json
from bench.results.report import markdown, page
from bench.results.store.history import History, default_path
from bench.results.terminal import results
from bench.run import rounds, session
from common.terminal.progress import ProgressDisplay
from tests.samples import document, machine, result, said

TRAIN = training.train


class Clock:
    """Seconds that pass only while a fake worker runs."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds

    def __call__(self) -> float:
        return self.now


def busy(*rates: float, cores: float = 1.0, usable: int = 2, own: float = 1.0) -> list[Event]:
    """A worker's events while other programs use ``cores`` of ``usable`` cores."""
    return [
        msgspec.structs.replace(event, other_cpu_cores=cores, usable_cores=usable, own_cpu_cores=own)
        if isinstance(event, Block)
        else event
        for event in said(*rates)
    ]


class Run:
    def __init__(self) -> None:
        self.order: list[str] = []
        self.text = io.StringIO()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Document, Run]]:
    """`ready --quick` of lstm and gru. ``worker`` gets a model and how often it was trained before."""

    def run(
        worker: Callable[[str, int], Iterable[Event] | WorkerProblem],
        *,
        seconds: float = 10.0,
        **options: Any,
    ) -> tuple[Document, Run]:
        seen, clock = Run(), Clock(seconds)

        def act(job: TrainingJob, on_event: Callable[[Event], None], **_: Any) -> WorkerProblem | None:
            told = worker(job.workload.name, seen.order.count(job.workload.name))
            seen.order.append(job.workload.name)
            clock.now += clock.seconds
            if isinstance(told, WorkerProblem):
                return told
            for event in told:
                on_event(event)
            return None

        def train(workload: Any, plan: Any, on_progress: Any, *, parent_pid: int) -> Any:
            return TRAIN(workload, plan, on_progress, run=act, parent_pid=parent_pid)

        monkeypatch.setattr("inventory.gather.gather", machine)
        monkeypatch.setattr("bench.measure.training.train", train)
        monkeypatch.setitem(rounds.TrainingSchedule.__init__.__kwdefaults__, "clock", clock)
        asked: dict[str, Any] = {
            "command": "ready", "workloads": tuple(select(("lstm", "gru"))), "quick": True, "batch": "workshop",
            "report": False, "health_checks": False, **options,
        }  # fmt: skip
        display = ProgressDisplay(Console(file=seen.text, width=200))
        return session.run(session.RunOptions(**asked), display), seen

    return run


def test_a_disturbed_model_is_measured_again_and_the_new_speed_counts(bench: Any) -> None:
    made, seen = bench(
        lambda name, times: busy(200.0, 201.0) if (name, times) == ("lstm", 0) else said(400.0, 402.0)
    )
    assert seen.order == ["lstm", "gru", "lstm"]
    assert made.verdict == "cpu-only"
    assert exit_code(made) == 0
    assert [r.samples_per_second.median for r in made.results] == [401.0, 401.0]
    assert (
        "lstm on tensorflow (1 of 2): other programs disturbed this measurement, so it is repeated (1 of 2)"
        in (seen.text.getvalue())
    )
    ids = [f.id for f in made.findings]
    assert len(set(ids)) == len(ids)
    assert ids.index("training.lstm-steady") < ids.index("training.gru-steady")
    stored = History(default_path()).run(1)
    assert stored is not None
    assert stored.document == made


def test_two_repetitions_that_stay_noisy_give_uncertain(bench: Any) -> None:
    made, seen = bench(lambda name, times: busy(200.0, 201.0) if name == "lstm" else said(400.0, 402.0))
    assert seen.order == ["lstm", "gru", "lstm", "lstm"]
    assert made.verdict == "uncertain"
    assert exit_code(made) == 1
    stored = History(default_path()).run(1)
    assert stored is not None
    assert stored.document is not None
    assert stored.document.verdict == "uncertain"


@pytest.mark.parametrize(
    ("seconds", "processes", "again"), [(25.0, 1, 2), (61.0, 1, 0), (25.0, 3, 2), (10.0, 3, 6)]
)
def test_repetitions_take_at_most_a_minute(bench: Any, seconds: float, processes: int, again: int) -> None:
    made, seen = bench(
        lambda name, times: busy(200.0, 201.0),
        seconds=seconds,
        repeats=processes,
        workloads=tuple(select(("lstm",))),
    )
    assert len(seen.order) - processes == again
    assert again * seconds <= rounds.MOST_AGAIN_SECONDS
    assert made.verdict == "uncertain"


def test_a_real_failure_beside_the_noise_is_not_measured_again(bench: Any) -> None:
    made, seen = bench(
        lambda name, times: busy(200.0, 201.0) if name == "lstm" else said(400.0, 402.0, accuracy=0.4)
    )
    assert seen.order == ["lstm", "gru"]
    assert made.verdict == "not-ready"


def test_a_worker_that_fails_in_the_repetition_is_not_ready(bench: Any) -> None:
    made, _ = bench(
        lambda name, times: (
            WorkerProblem(kind="crashed", message="it crashed") if times else busy(200.0, 201.0)
        )
    )
    assert made.verdict == "not-ready"
    assert [r.workload for r in made.results] == ["lstm", "gru"]


def test_sixteen_threads_with_a_busy_browser_are_not_disturbed(bench: Any) -> None:
    made, seen = bench(lambda name, times: busy(400.0, 402.0, cores=1.5, usable=16, own=8.0))
    assert (made.verdict, seen.order) == ("cpu-only", ["lstm", "gru"])
    made, seen = bench(lambda name, times: busy(400.0, 402.0, cores=1.0, usable=2, own=1.0))
    assert made.verdict == "uncertain"


@given(
    usable=st.integers(1, 128),
    share=st.floats(0, 1),
    own=st.floats(0, 128),
    waiting=st.none() | st.floats(0, 1),
)
def test_free_cores_are_never_called_a_disturbance(
    usable: int, share: float, own: float, waiting: float | None
) -> None:
    """With cores for all programs, no result fails; one busy program on two cores that training needs does."""
    others = share * usable
    one = TimedBlock(
        steps=10, examples=320, seconds=1.0, other_cpu_cores=others, usable_cores=usable,
        own_cpu_cores=min(own, usable), waiting_share=waiting,
    )  # fmt: skip
    many = tuple([one] * 4)
    made = result("lstm")
    made = msgspec.structs.replace(made, repeats=(msgspec.structs.replace(made.repeats[0], blocks=many),))
    failed = noise(judge.judge(made, gpu_expected=False))
    # Without the time that threads waited, only cores that nobody used show that there were enough.
    fits = usable - others - min(own, usable) >= others if waiting is None else waiting <= 0.05
    if fits and others <= usable / 2:
        assert not failed
    if others > 0.25 * usable and others > 0.25 and (waiting or 0) > 0.25:
        assert [f.id for f in failed] == ["training.lstm-steady"]


def finding(check: str, status: Status, subject: str | None = "lstm", theme: str = "training") -> Finding:
    return Finding(
        theme=theme, check=check, subject=subject, status=status, title="t", message="m", remedy="r"
    )


F, W, P, U = Status.FAIL, Status.WARN, Status.PASS, Status.UNKNOWN


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([finding("steady", F)], "uncertain"),
        ([finding("alone", F), finding("steady", P)], "uncertain"),
        ([finding("steady", F), finding("baseline", F)], "uncertain"),
        ([finding("steady", W), finding("band", F)], "uncertain"),
        ([finding("steady", P), finding("baseline", F)], "not-ready"),
        ([finding("steady", W, "gru"), finding("baseline", F)], "not-ready"),
        ([finding("steady", F), finding("learns", F)], "not-ready"),
        ([finding("steady", F), finding("temperature", U, None, "thermal")], "not-ready"),
        ([finding("steady", U)], "not-ready"),
        ([finding("steady", F), finding("baseline", F, None, "results")], "uncertain"),
        ([finding("baseline", F, None, "results")], "not-ready"),
        ([finding("steady", W)], "cpu-only"),
        ([finding("steady", F, None, "host")], "not-ready"),
    ],
)
def test_only_noise_alone_is_uncertain(findings: list[Finding], expected: str) -> None:
    assert overall(findings, has_gpu=False) == expected


STATUSES = st.sampled_from(list(Status))
CHECKS = st.sampled_from(["steady", "alone", "baseline", "band", "learns", "clock", "ran", "worked"])


@given(st.lists(st.builds(finding, CHECKS, STATUSES, st.sampled_from(["lstm", "gru"])), max_size=8))
def test_an_uncertain_run_has_no_other_failure(findings: list[Finding]) -> None:
    found = overall(findings, has_gpu=True)
    wrong = [f for f in findings if f.status in (Status.FAIL, Status.UNKNOWN)]
    assert (found == "ready") is (not wrong)
    if found == "uncertain":
        assert all(
            f.status is Status.FAIL and f.check in ("steady", "alone", "baseline", "band") for f in wrong
        )
    if any(f.check not in ("steady", "alone", "baseline", "band") for f in wrong):
        assert found == "not-ready"


def test_each_output_shows_the_verdict() -> None:
    made = msgspec.structs.replace(document(), verdict="uncertain", findings=(finding("steady", F),))
    assert from_json(to_json(made)) == made
    assert json.loads(to_json(made))["verdict"] == "uncertain"
    console = Console(file=io.StringIO(), width=200)
    results.show_verdict(made, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert (
        "UNCERTAIN: the measurement is too noisy to judge (training.lstm-steady); close other programs"
        in text
    )
    assert "--wait-for-quiet" in text
    for output in (page.render(made), markdown.markdown(made)):
        assert "UNCERTAIN" in output
    assert "dlbox_sound 0" in prometheus.prometheus_text(made)
    assert 'type="uncertain"' in junit.junit_xml(made)
    assert words("uncertain", has_gpu=True) == VERDICTS["uncertain"]
