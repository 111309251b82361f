"""Each model reaches its accuracy bar with the first seed of `dlbox bench`. Real training, takes minutes."""

from __future__ import annotations

import functools
import os
import sys

import pytest

from bench.measure import runner
from bench.measure.events import Evaluated, Event, TrainingJob
from bench.measure.workloads import WORKLOADS
from bench.run import tune
from bench.run.tune_candidates import TriedSetting
from tests.conftest import ROOT
from workshops.speed.settings import Setting


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, work in WORKLOADS.items() if work.accuracy_bar])
def test_learning_passes_on_a_machine_without_fault(name: str) -> None:
    looks: list[float] = []

    def hear(event: Event) -> None:
        if isinstance(event, Evaluated):
            looks.append(event.accuracy)

    work = WORKLOADS[name]
    job = TrainingJob(workload=work, backend="tensorflow", train_seconds=1.0, parent_pid=os.getpid())
    assert runner.run(job, hear) is None
    assert looks, "nothing was judged"
    assert looks[-1] >= work.accuracy_bar, f"at each look: {looks}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "why"), [("none", ""), ("no-number", "training diverged (the loss is NaN)")]
)
def test_a_real_worker_reports_its_accuracy(fault: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    run = functools.partial(runner.run, command=(sys.executable, "-P", "-m", "tests.planted", fault))
    timed = TriedSetting(setting=Setting(backend="tensorflow"), samples_per_second=1.0)
    one = tune._learning(timed, WORKLOADS["cnn-lstm"], run)
    assert one.why == why
    assert (one.accuracy is None) is bool(why)
