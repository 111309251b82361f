"""However a run of Ansible ends, nothing of it is left: no process, no temporary file, and the box knows of the end."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from provision import PROVISION_DIR
from provision.ansible import playbook
from tests.conftest import ROOT, script
from tests.test_playbook import FIRST, RecordingProgress, only, run, write

hold = script(PROVISION_DIR / "roles/preflight/files/hold.py")
ANNA, BEN = "a" * 32, "b" * 32
CONTROLLER = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
import dlbox
from provision.ansible import heartbeat, playbook
from common.processes.guard import prefix
from tests.test_playbook import RecordingProgress
import tempfile
heartbeat.FOLDER = Path({beats!r})

def work(**_):
    with tempfile.TemporaryDirectory(prefix=prefix()):  # as `dlbox provision` has one for its lock files
        job = playbook.PlaybookJob(playbook=Path({path!r}))
        playbook.run(job, RecordingProgress(), Path({logs!r}))

dlbox.cli.main = work
dlbox.main()
"""


class StartedRun:
    """A run whose only task sleeps, in a process of its own, with a heartbeat in the folder ``beats``."""

    def __init__(self, folder: Path, seconds: int, terminal: int | None = None) -> None:
        self.temporary, self.beats = folder / "temporary", folder / "beats"
        self.temporary.mkdir()
        self.beats.mkdir()
        beat = '{name: The box is reserved, ansible.builtin.file: {path: "%s/beat-{{ dlbox_run.id }}", state: touch}}'
        sleeper = {"name": "It sleeps", "ansible.builtin.command": {"argv": ["sleep", str(seconds)]}}
        code = CONTROLLER.format(
            root=str(ROOT),
            beats=str(self.beats),
            path=str(write(folder, beat.replace("%s", str(self.beats)), json.dumps(sleeper))),
            logs=str(folder / "logs"),
        )
        streams: dict[str, Any] = {}
        if terminal is not None:
            streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
        start = [sys.executable, "-c", code]
        if terminal is not None:  # the terminal becomes the controlling one
            start = [sys.executable, "-c", "import fcntl, os, sys, termios\nos.setsid()\n"
                     "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\nos.execv(sys.argv[1], sys.argv[1:])", *start]  # fmt: skip
        self.process = subprocess.Popen(start, env={**os.environ, "TMPDIR": str(self.temporary)}, **streams)
        own = psutil.Process(self.process.pid)
        wait_until(lambda: any(str(seconds) in _words(child) for child in own.children(recursive=True)))
        self.family = own.children(recursive=True)

    @property
    def beat(self) -> Path:
        (path,) = self.beats.iterdir()
        return path

    def nothing_is_left(self) -> None:
        """No process of the run lives, its files are removed, and its heartbeat says that it was interrupted."""
        _, alive = psutil.wait_procs(self.family, timeout=30)
        assert not alive
        wait_until(lambda: not list(self.temporary.iterdir()))
        wait_until(lambda: self.beat.stat().st_size == 2)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_leaves_nothing_of_the_run(tmp_path: Path, number: signal.Signals) -> None:
    started = StartedRun(tmp_path, 31557)
    started.process.send_signal(number)
    assert started.process.wait(timeout=60) == (-9 if number == signal.SIGKILL else 130)
    started.nothing_is_left()


def test_a_closed_terminal_leaves_nothing_of_the_run(tmp_path: Path) -> None:
    master, terminal = pty.openpty()
    started = StartedRun(tmp_path, 31558, terminal)
    os.close(terminal)
    os.close(master)
    assert started.process.wait(timeout=60) == 130
    started.nothing_is_left()


def test_further_signals_do_not_interrupt_the_clean_up(tmp_path: Path) -> None:
    """As sudo and a session manager do: SIGHUP, later SIGTERM, then SIGKILL."""
    started = StartedRun(tmp_path, 31559)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(ProcessLookupError):
            started.process.send_signal(number)
        time.sleep(0.3)
    started.process.kill()
    started.process.wait(timeout=60)
    started.nothing_is_left()


@contextlib.contextmanager
def marked(identity: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process as a run leaves it on a box."""
    process = subprocess.Popen(["sleep", "600"], env={**os.environ, "DLBOX_PROVISION_RUN": identity})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_work_that_an_interrupted_run_left_is_found_until_it_ends(tmp_path: Path) -> None:
    assert hold.take(tmp_path, ANNA, "box", "anna@desk", os.getuid(), 1) is None
    os.truncate(hold.beat(tmp_path, ANNA), 2)
    with marked(ANNA) as process, marked(BEN):
        wait_until(lambda: bool(hold.at_work(tmp_path, BEN)))
        assert hold.at_work(tmp_path, BEN) == [{"pid": process.pid, "name": "sleep"}]
        assert hold.at_work(tmp_path, ANNA) == []  # the same run, as after a reboot
        os.truncate(hold.beat(tmp_path, ANNA), 1)  # after a normal end only services are left
        assert hold.at_work(tmp_path, BEN) == []
    os.truncate(hold.beat(tmp_path, ANNA), 2)
    assert hold.at_work(tmp_path, BEN) == []


def test_the_next_run_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The role's own tasks, with a copy of its script that uses this test's folder instead of /run."""
    roles, place = tmp_path / "roles", tmp_path / "run"
    (roles / "preflight").mkdir(parents=True)
    for part in ("tasks", "meta", "defaults"):
        (roles / "preflight" / part).symlink_to(PROVISION_DIR / "roles/preflight" / part)
    (roles / "preflight/files").mkdir()
    text = (PROVISION_DIR / "roles/preflight/files/hold.py").read_text()
    (roles / "preflight/files/hold.py").write_text(text.replace('"/run/dlbox"', repr(str(place))))
    monkeypatch.setattr("provision.ansible.playbook.PROVISION_DIR", tmp_path)
    include = {"name": "preflight", "tasks_from": "hold"}
    task = json.dumps(
        {"name": "Reserved", "ansible.builtin.include_role": include, "vars": {"preflight_take": True}}
    )
    variables = {"localhost": {"ansible_become": False, "ansible_facts": {}, "preflight_lock_timeout_s": 1}}
    assert hold.take(place, ANNA, "box", "anna@desk", os.getuid(), 1) is None
    os.truncate(hold.beat(place, ANNA), 2)
    with marked(ANNA) as process:
        wait_until(lambda: bool(hold.at_work(place, BEN)))
        host = only(run(tmp_path, task, variables=variables))
        assert host.status == "failed"
        assert (host.message or "").startswith(
            f"sleep, process {process.pid} of an earlier run of `dlbox provision` that was interrupted has been at work"
        )
        assert hold.holder(place)["id"] == ANNA
    host = only(run(tmp_path, task, variables=variables))
    assert host.status == "ok", host
    assert hold.holder(place)["id"] != ANNA


def test_every_process_on_a_box_has_the_id_of_its_run(tmp_path: Path) -> None:
    """As the playbooks set it, for modules and for their children."""
    first = FIRST.replace(
        "gather_facts: false", f"gather_facts: false\n  environment: {environment('preflight')}"
    )
    show = {"name": "It is shown", "ansible.builtin.command": {"argv": ["sh", "-c", "echo $DLBOX_PROVISION_RUN"]},
            "register": "shown"}  # fmt: skip
    same = {"name": "It is the id", "ansible.builtin.assert": {"that": "shown.stdout == dlbox_run.id"}}
    path = write(tmp_path, json.dumps(show), json.dumps(same), first=first)
    host = only(playbook.run(playbook.PlaybookJob(playbook=path), RecordingProgress(), tmp_path / "logs"))
    assert host.status == "changed", host
    assert all("DLBOX_PROVISION_RUN" in environment(name) for name in ("site", "rollback", "verify"))


def environment(name: str) -> str:
    """The environment that a playbook gives to the processes on a box, as JSON."""
    plays = yaml.safe_load((PROVISION_DIR / "playbooks" / f"{name}.yml").read_text())
    return json.dumps(plays[0]["environment"])
