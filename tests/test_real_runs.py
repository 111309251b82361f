"""The real command, the real worker, the real framework; and a pulled plug."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest

from bench.results.record.document import json_schema
from tests.conftest import ROOT, Command

pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)
HYBRID = ("--workload", "cnn-lstm", "--json")


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return
        time.sleep(0.1)
    pytest.fail("it did not happen in time")


def blocks_stored(data: Path) -> int:
    path = data / "dlbox" / "history.sqlite"
    if not path.exists():
        return 0
    try:
        with sqlite3.connect(path, timeout=5) as database:
            return int(database.execute("SELECT count(*) FROM blocks").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # not made yet


@pytest.fixture
def training(own_data_folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A benchmark that is in the middle of training its first model."""
    process = subprocess.Popen(
        [sys.executable, "-P", str(ROOT / "dlbox.py"), "bench", "--full", *HYBRID],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: blocks_stored(own_data_folder) >= 2 or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        process.kill()  # the worker ends with it
        process.wait()


def failures(told: dict[str, Any], code: int) -> list[str]:
    """What failed, other than what else ran on the machine meanwhile, which is not this test's to judge."""
    assert code == (1 if told["verdict"] in ("not-ready", "uncertain") else 0)
    failed = [f for f in told["findings"] if f["status"] in ("fail", "unknown")]
    return [f"{f['id']}: {f['message']}" for f in failed if not f["id"].endswith("-steady")]


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def all_gone(processes: list[psutil.Process]) -> bool:
    return all(not p.is_running() or p.status() == psutil.STATUS_ZOMBIE for p in processes)


def test_a_benchmark_from_end_to_end(dlbox: Command, tmp_path: Path) -> None:
    """Of two processes: the first is judged, the second has nothing to be judged by and is only timed."""
    done = dlbox("bench", "--quick", "--repeats", "2", "--output", str(tmp_path / "out"), *HYBRID)
    told = json.loads(done.stdout)
    assert failures(told, done.returncode) == [], done.stderr
    jsonschema.validate(told, json_schema())
    (result,) = told["results"]
    assert result["accuracy"] > result["accuracy_bar"]
    assert result["accuracy"] <= result["ceiling"] + 0.02
    assert result["samples_per_second"]["median"] > 0
    assert result["compile_seconds"] > result["step_seconds"]["p50"]
    assert 0 < result["single_step_seconds"]["p5"] <= result["single_step_seconds"]["p95"]
    assert Path(told["report"]).parent == tmp_path / "out"
    assert not result["partial"]
    assert [r["seed"] for r in result["repeats"]] == [0, 1]
    first, second = (r["blocks"] for r in result["repeats"])
    assert min(len(first), len(second)) > 3
    assert len(first) + len(second) == len(result["samples_per_second"]["values"])
    assert sum(b["examples"] for b in first) + 640 <= result["examples_seen"]

    listed = json.loads(dlbox("history", "--json").stdout)["runs"]
    assert [(r["id"], r["state"]) for r in listed] == [(told["run_id"], "complete")]
    assert listed[0]["results"] == told["results"]
    assert "cnn-lstm" in dlbox("history").stdout

    Path(told["report"]).unlink()
    again = dlbox("report", "1", "--output", str(tmp_path / "out"))
    assert again.stdout.strip() == told["report"]
    assert Path(told["report"]).is_file()


def test_kill_9_in_the_middle_of_training(
    training: subprocess.Popen[str], own_data_folder: Path, dlbox: Command
) -> None:
    workers = workers_of(training)
    assert workers
    kept = blocks_stored(own_data_folder)
    os.kill(training.pid, signal.SIGKILL)
    training.communicate()
    wait_for(lambda: all_gone(workers), 10)
    listed = dlbox("history", "--json")
    assert listed.returncode == 0, listed.stderr
    (run,) = json.loads(listed.stdout)["runs"]
    assert (run["state"], run["verdict"]) == ("partial", "not-ready")
    (result,) = run["results"]
    assert result["partial"]
    assert len(result["samples_per_second"]["values"]) >= kept
    assert dlbox("report").returncode == 0


# SIGTERM goes the way of SIGINT from the first line on: tests/test_signals.py.
@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupt_saves_says_so_and_leaves_nothing_running(
    training: subprocess.Popen[str], how: signal.Signals, dlbox: Command
) -> None:
    workers = workers_of(training)
    training.send_signal(how)
    out, errors = training.communicate(timeout=30)
    assert training.returncode == 130
    assert "Traceback" not in errors
    assert all_gone(workers)
    told = json.loads(out)
    jsonschema.validate(told, json_schema())
    assert told["partial"]
    assert told["results"][0]["partial"]
    (run,) = json.loads(dlbox("history", "--json").stdout)["runs"]
    assert run["state"] == "partial"


@pytest.mark.slow  # a made-up worker on such a place: tests/test_session.py
def test_a_place_that_cannot_be_written_to(dlbox: Command, tmp_path: Path) -> None:
    """The same as a read-only home, which a test that may run as root cannot have."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    done = dlbox("bench", "--quick", *HYBRID, XDG_DATA_HOME=str(blocked), TMPDIR=str(tmp_path))
    told = json.loads(done.stdout)
    assert failures(told, done.returncode) == [], done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("dlbox: ")]
    assert len(said) == 1
    assert "XDG_DATA_HOME" in said[0]
    assert Path(told["report"]).is_file()
