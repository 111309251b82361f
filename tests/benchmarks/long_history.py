"""Time of the commands that read a history of 5,000 runs: ``.venv/bin/python -m tests.benchmarks.long_history [RUNS]``.

It writes a history in a temporary folder and prints a row of the table in docs/evidence/history.md for each command.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from bench.results.store import access
from bench.results.store.history import History, default_path
from tests.samples import document

COMMANDS = (["history"], ["history", "--models"], ["compare"], ["report", "--output", "OUT"], [])
REPEATS = 5


def fill(runs: int) -> None:
    """Write a history of complete runs, one an hour."""
    store = History(default_path())
    first = datetime(2026, 1, 1, tzinfo=UTC)
    documents = (
        msgspec.structs.replace(
            document(), started_at=(first + timedelta(hours=hour)).isoformat(timespec="seconds")
        )
        for hour in range(runs)
    )
    store.add_missing(documents)
    store.close()


def main() -> None:
    """Fill a history and print the median time of each command."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder
        fill(runs)
        size = default_path().stat().st_size / 1e6
        print(f"{runs} runs, {size:.0f} MB")
        for words in COMMANDS:
            command = [sys.executable, "-m", "dlbox", *(word.replace("OUT", folder) for word in words)]
            times = []
            for _ in range(REPEATS):
                started = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
                times.append(time.perf_counter() - started)
            print(
                f"| `dlbox {' '.join(words)}`".replace("--output OUT", "").rstrip()
                + f" | {sorted(times)[REPEATS // 2]:.2f} s |"
            )
        started = time.perf_counter()
        store, _ = access.open_history()
        store.last_verdict()
        print(f"| opening it in `dlbox ready` | {time.perf_counter() - started:.2f} s |")


if __name__ == "__main__":
    main()
