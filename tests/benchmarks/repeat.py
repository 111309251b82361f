"""Do two full runs of one commit differ by less than they themselves state?

    .venv/bin/python tests/benchmarks/repeat.py [SUITE] [BATCH] [REPEATS]     # five processes a model
    .venv/bin/python tests/benchmarks/repeat.py ready workshop 3              # short: under 15 minutes
    .venv/bin/python tests/benchmarks/repeat.py A.json B.json                 # two runs that were made before

Each run states for each model where another one is expected (``interval``: how its processes scatter, and how whole
runs drift). A pair counts as kept where each run's median lies in the interval of the other.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from bench.results.record.document import Document, Result, from_json
from bench.results.stats import compare

ENOUGH = 0.9
"""Of the workloads whose two runs have to agree."""


def run(suite: str, batch: str, repeats: str, folder: str) -> Document:
    done = subprocess.run(
        [sys.executable, "-P", "dlbox.py", "bench", "--full", "--suite", suite, "--batch", batch,
         "--repeats", repeats, "--json", "--output", folder],
        stdout=subprocess.PIPE,
        check=False,
    )  # fmt: skip
    return from_json(done.stdout)


def kept(a: Result, b: Result) -> bool | None:
    """Whether each lies where the other expects it; None where one states no interval."""
    answers = []
    for one, other in ((a, b), (b, a)):
        stated = one.interval
        if stated is None or stated.low is None or stated.high is None:
            return None
        answers.append(stated.low <= other.samples_per_second.median <= stated.high)
    return all(answers)


def load(result: Result) -> float:
    return sorted(b.other_cpu_cores for b in result.blocks)[len(result.blocks) // 2]


def table(a: Document, b: Document) -> tuple[str, int, int]:
    """The table, how many of the workloads agree, and of how many."""
    rows, good, all_ = [], 0, 0
    others = {compare.key(result): result for result in b.results}
    for one in a.results:
        other = others.get(compare.key(one))
        answer = kept(one, other) if other is not None else None
        if other is None or answer is None:
            continue
        all_, good = all_ + 1, good + answer
        first, second = one.samples_per_second.median, other.samples_per_second.median
        low, high = (one.interval.low, one.interval.high) if one.interval else (None, None)
        rows.append(
            f"| {one.label} | {first:,.0f} | {second:,.0f} | {second / first:.3f} | {low:,.0f} to {high:,.0f} | "
            f"{'yes' if answer else 'no'} | {load(one):.2f}, {load(other):.2f} |"
        )
    head = (
        "| workload | first run, samples/s | second run | ratio | interval of the first run | agree "
        "| other load, cores |\n"
        "|---|---|---|---|---|---|---|"
    )
    return "\n".join([head, *rows, "", f"{good} of {all_} differ by less than stated."]), good, all_


def main() -> int:
    given = sys.argv[1:]
    if given and given[0].endswith(".json"):
        a, b = (from_json(Path(name).read_bytes()) for name in given[:2])
    else:
        suite, batch, repeats = (given + ["workshop", "both", "5"][len(given) :])[:3]
        with tempfile.TemporaryDirectory() as folder:
            a, b = (run(suite, batch, repeats, folder) for _ in range(2))
    text, good, all_ = table(a, b)
    print(text)
    return 0 if all_ and good >= ENOUGH * all_ else 1


if __name__ == "__main__":
    sys.exit(main())
