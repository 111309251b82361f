"""How far apart are the workloads' accuracies from their bar? Prints a Markdown table.

.venv/bin/python tests/benchmarks/learning_bar.py [SEEDS] [BACKEND] [WORKLOAD ...]
"""

from __future__ import annotations

import os
import sys

from bench.measure import runner
from bench.measure.events import Evaluated, Event, TrainingJob
from bench.measure.workloads import WORKLOADS


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    backend = sys.argv[2] if len(sys.argv) > 2 else "tensorflow"
    print(
        "| workload | seed | accuracy at each evaluation (examples seen) | bar | ceiling |\n|---|---|---|---|---|"
    )
    for workload in [WORKLOADS[name] for name in sys.argv[3:] or WORKLOADS]:
        for seed in range(seeds):
            looks: list[Evaluated] = []

            def hear(event: Event, looks: list[Evaluated] = looks) -> None:
                if isinstance(event, Evaluated):
                    looks.append(event)

            job = TrainingJob(
                workload=workload, backend=backend, seed=seed, train_seconds=1.0, parent_pid=os.getpid()
            )
            problem = runner.run(job, hear)
            told = ", ".join(f"{e.accuracy:.3f} ({e.examples_seen:,})" for e in looks) or str(problem)
            ceiling = f"{looks[0].ceiling:.3f}" if looks and looks[0].ceiling is not None else "-"
            print(f"| {workload.name} | {seed} | {told} | {workload.accuracy_bar} | {ceiling} |", flush=True)


if __name__ == "__main__":
    main()
