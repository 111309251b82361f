"""How far the prediction from a box's probes is off, workload by workload: the tables of docs/evidence/prediction.md.

    dlbox bench --quick --suite workshop --batch workshop --json > run.json
    .venv/bin/python tests/benchmarks/prediction.py run.json               # of that run
    .venv/bin/python tests/benchmarks/prediction.py --processor-time       # on a machine that is not idle

The second counts seconds of processor time, in the probes and in training alike, each in a process of its own: what
other programs take does not count then, and the ratio of both is nearly what it is on an idle machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from bench.judge import prediction
from bench.measure import backend as frameworks
from bench.measure import machine_probes
from bench.measure.probes import load
from bench.measure.worker import arithmetic, rate, tasks
from bench.measure.workloads import WORKLOADS, select
from bench.results.record.document import from_json
from bench.results.record.figures import Probes, Work

HEAD = ("| workload | measured, samples/s | predicted | ratio | time of a batch |\n|---|---|---|---|---|",)
BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")


def row(name: str, measured: float, work: Work, batch: int, told: Probes) -> tuple[str, float]:
    """A row of the table, and by what factor the prediction is off."""
    made = prediction.predict(work, batch, told)
    assert made is not None, told
    ratio = measured / made.samples_per_second
    text = f"| {name} | {measured:,.0f} | {made.samples_per_second:,.0f} | {ratio:.2f} | {made.told} |"
    return text, max(ratio, 1 / ratio)


def of_run(path: Path) -> list[tuple[str, float]]:
    document = from_json(path.read_bytes())
    assert document.probes is not None, "no probes in it"
    return [
        row(r.workload, r.samples_per_second.median, r.work, r.batch_size, document.probes)
        for r in document.results
        if r.work is not None and not r.partial
    ]


def in_processor_time() -> list[tuple[str, float]]:
    told = msgspec.convert(child("probes"), Probes)
    print(told, file=sys.stderr)
    rows = []
    for workload in select((), "workshop"):
        speed, work = child(workload.name)
        rows.append(row(workload.name, speed, msgspec.convert(work, Work), workload.batch_size, told))
        print(rows[-1][0], file=sys.stderr, flush=True)
    return rows


def child(what: str) -> Any:
    done = subprocess.run(
        [sys.executable, __file__, "--child", what],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, **frameworks.environment(BACKEND), "PYTHONPATH": str(Path.cwd())},
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(what: str) -> Any:
    """In a child: processor seconds stand for seconds."""
    time.perf_counter = time.process_time
    if what == "probes":
        lines: list[bytes] = []
        job = load.ProbeJob(
            backend=BACKEND, seconds=3.0, matrix=2048, stream_bytes=256 << 20, free_bytes=1 << 30, rates_only=True
        )  # fmt: skip
        load.work(job, lambda event: lines.append(msgspec.json.encode(event)))
        return msgspec.to_builtins(machine_probes.read(BACKEND, lines))
    work = WORKLOADS[what]
    data, model = tasks.data(work, 0), tasks.model(work)
    wait = frameworks.synchroniser(BACKEND, False)
    speed = rate.pipeline(model, data.inputs, data.targets, work.batch_size, 5.0, wait)
    return speed, msgspec.to_builtins(arithmetic.count(model, work.batch_size, work.tokens))


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(measure(sys.argv[2])))
        return 0
    rows = in_processor_time() if sys.argv[1:] == ["--processor-time"] else of_run(Path(sys.argv[1]))
    print(
        "\n".join(
            [*HEAD, *(text for text, _ in rows), "", f"Largest factor: {max(off for _, off in rows):.2f}."]
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
