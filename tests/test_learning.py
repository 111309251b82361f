"""Each model learns what its bar asks for, at the seed that `dlbox bench` begins with: real training, minutes."""

from __future__ import annotations

import os

import pytest

from bench.measure import runner
from bench.measure.events import Evaluated, Event, Job
from bench.measure.workloads import WORKLOADS


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, work in WORKLOADS.items() if work.accuracy_bar])
def test_a_sound_machine_is_not_told_that_it_does_not_learn(name: str) -> None:
    looks: list[float] = []

    def hear(event: Event) -> None:
        if isinstance(event, Evaluated):
            looks.append(event.accuracy)

    work = WORKLOADS[name]
    job = Job(workload=work, backend="tensorflow", train_seconds=1.0, parent_pid=os.getpid())
    assert runner.run(job, hear) is None
    assert looks, "nothing was judged"
    assert looks[-1] >= work.accuracy_bar, f"at each look: {looks}"
