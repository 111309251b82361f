"""The worker process: whatever it does, the command continues and no process remains."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from bench.measure import runner
from bench.measure.events import Compiled, Evaluated, Event, Generic, Resident, TrainingJob
from bench.measure.workloads import WORKLOADS
from common.processes import exit_reason

JOB = TrainingJob(workload=WORKLOADS["lstm"], backend="tensorflow", parent_pid=os.getpid())
QUICK = runner.Limits(startup=20, silence=20, total=30)
SAYS_COMPILED = r"""os.write(1, b'{"type":"compiled","seconds":1.0}\n')"""
SAYS_BLOCK = (
    r"""os.write(1, b'{"type":"block","steps":1,"examples":32,"seconds":0.1,"other_cpu_cores":0,"""
    r""""trained_seconds":0.1,"examples_seen":32,"done_share":0.1}\n')"""
)


def worker(code: str) -> list[str]:
    return [sys.executable, "-c", "import os, sys, signal, time\n" + textwrap.dedent(code)]


def run(code: str, limits: runner.Limits = QUICK) -> tuple[runner.WorkerProblem | None, list[Event]]:
    events: list[Event] = []
    return runner.run(JOB, events.append, command=worker(code), limits=limits), events


def test_events_of_a_worker_arrive_in_order() -> None:
    problem, events = run(f"sys.stdin.readline(); {SAYS_COMPILED}; {SAYS_BLOCK}")
    assert problem is None
    assert [type(e).__name__ for e in events] == ["Compiled", "Block"]


def test_the_worker_receives_the_complete_job() -> None:
    problem, events = run(
        "import json; job = json.loads(sys.stdin.readline());"
        "sys.exit(0 if job['workload']['name'] == 'lstm' and job['backend'] == 'tensorflow' else 3)"
    )
    assert problem is None
    assert events == []


def test_lines_that_are_not_events_are_ignored() -> None:
    problem, events = run(
        f"print('a library says hello', flush=True); os.write(1, bytes(range(256))); print(); {SAYS_COMPILED}"
    )
    assert problem is None
    assert events == [Compiled(seconds=1.0)]


def test_a_nan_loss_arrives_as_none() -> None:
    told = Evaluated(accuracy=0.5, ceiling=None, loss=None, test_examples=9, examples_seen=9, seconds=1.0)
    line = msgspec.json.encode(told) + b"\n"
    problem, events = run(f"os.write(1, {line!r})")
    assert problem is None
    assert events == [told]


@pytest.mark.parametrize(
    "event",
    [
        Resident(pairs=((math.nan, 400.0),)),
        Generic(samples_per_second=math.inf),
        Compiled(seconds=math.nan),
    ],
)
def test_a_nan_figure_is_never_ignored(event: Event) -> None:
    problem, events = run(f"os.write(1, {msgspec.json.encode(event) + bytes([10])!r}); {SAYS_COMPILED}")
    assert problem is not None
    assert (problem.kind, events) == ("error", [])
    assert "got `null`" in problem.message


@pytest.mark.parametrize(
    "line", [b'{"type":"chat","seconds":null}', b'{"a":1}', b"3", b"null", b'{"type":7}']
)
def test_json_that_is_not_an_event_is_ignored(line: bytes) -> None:
    problem, events = run(f"os.write(1, {line + bytes([10])!r}); {SAYS_COMPILED}")
    assert problem is None
    assert events == [Compiled(seconds=1.0)]


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crash", "SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed", "SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "killed", "SIGTERM"),
        ("sys.stderr.write('MemoryError'); sys.exit(1)", "out-of-memory", "reported that memory ran out"),
        (
            "os.write(2, b'terminate called after std::bad_alloc'); os.kill(os.getpid(), signal.SIGABRT)",
            "out-of-memory",
            "SIGABRT",
        ),
        ("sys.exit(7)", "crash", "exit code 7"),
        ("raise RuntimeError('boom')", "crash", "exit code 1"),
        (
            r"""os.write(1, b'{"type":"failed","kind":"out-of-memory","message":"ResourceExhaustedError: x"}\n')""",
            "out-of-memory",
            "ResourceExhausted",
        ),
        (
            r"""os.write(1, b'{"type":"failed","kind":"no-backend","message":"ImportError: no torch"}\n')""",
            "no-backend",
            "no torch",
        ),
    ],
)
def test_each_cause_of_death_is_named(code: str, kind: str, words: str) -> None:
    problem, _ = run(code)
    assert problem is not None
    assert problem.kind == kind
    assert words in problem.message


def test_a_kill_that_the_kernel_counts_as_oom_is_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter((3, 4))
    monkeypatch.setattr(exit_reason, "oom_kills", lambda: next(counts))
    problem, _ = run("os.kill(os.getpid(), signal.SIGKILL)")
    assert problem is not None
    assert (problem.kind, "memory ran out" in problem.message) == ("out-of-memory", True)


def test_the_last_lines_on_stderr_are_kept() -> None:
    problem, _ = run("sys.stderr.write('could not load libcudnn.so.9\\n'); sys.exit(1)")
    assert problem is not None
    assert "libcudnn.so.9" in problem.detail


def test_stderr_is_kept_although_the_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", list)
    with pytest.raises(FileNotFoundError, match="temporary directory"):
        tempfile.gettempdir()
    problem, _ = run("sys.stderr.write('disk quota exceeded\\n'); sys.exit(1)")
    assert problem is not None
    assert "disk quota exceeded" in problem.detail


def test_a_worker_that_does_not_start_is_killed() -> None:
    problem, _ = run("time.sleep(600)", runner.Limits(startup=0.5, silence=600, total=600))
    assert problem is not None
    assert problem.kind == "hang"


def test_a_worker_without_output_is_killed() -> None:
    problem, events = run(
        f"{SAYS_BLOCK}; time.sleep(600)", runner.Limits(startup=600, silence=0.5, total=600)
    )
    assert problem is not None
    assert problem.kind == "hang"
    assert len(events) == 1


def test_a_worker_that_exceeds_the_total_time_is_killed() -> None:
    code = f"""
    while True:
        {SAYS_BLOCK}
        time.sleep(0.05)
    """
    problem, _ = run(code, runner.Limits(startup=600, silence=600, total=1.0))
    assert problem is not None
    assert problem.kind == "hang"


def test_the_command_does_not_wait_for_a_worker_stuck_in_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(subprocess.Popen[bytes]):
        def wait(self, timeout: float | None = None) -> int:
            assert timeout is not None, "it would wait for ever"
            raise subprocess.TimeoutExpired("worker", timeout)

    monkeypatch.setattr(subprocess, "Popen", Stuck)
    problem, _ = run("time.sleep(600)", runner.Limits(startup=0.5, silence=600, total=600))
    assert problem is not None
    assert problem.kind == "hang"


def test_ctrl_c_ends_all_child_processes(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = f"""
    import subprocess
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
    {SAYS_COMPILED}
    time.sleep(600)
    """

    def ctrl_c(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run(JOB, ctrl_c, command=worker(code), limits=QUICK)
    for pid in map(int, pids.read_text().split()):
        for _ in range(100):
            if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                break
            time.sleep(0.05)
        else:
            pytest.fail(f"process {pid} is still there")
