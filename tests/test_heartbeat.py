"""One run at a time on a box: the other run is named, and a run without heartbeat is ignored."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from provision import PROVISION_DIR
from provision.ansible import heartbeat
from tests.conftest import ROOT, script
from tests.test_playbook import only, run

SCRIPT = PROVISION_DIR / "roles/preflight/files/hold.py"
ANNA, BEN = "a" * 32, "b" * 32


hold = script(SCRIPT)


def take(place: Path, identity: str, name: str = "box", who: str = "anna@desk", dead_s: float = 3) -> Any:
    return hold.take(place, identity, name, who, os.getuid(), dead_s)


class Beats:
    """Heartbeats of a running controller."""

    def __init__(self, path: Path) -> None:
        self._path, self._ended = path, threading.Event()
        self._thread = threading.Thread(target=self._live)

    def _live(self) -> None:
        while not self._ended.wait(0.1):
            os.utime(self._path)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()


def test_a_second_run_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    place = tmp_path / "dlbox"
    assert hold.in_the_way(place, ANNA, "box") is None
    assert take(place, ANNA) is None
    with Beats(hold.beat(place, ANNA)):
        other = take(place, BEN, who="ben@lab")
        assert (other["who"], other["minutes"], other["twin"]) == ("anna@desk", 0, None)
        assert time.strftime("%Y-%m-%d %H:") in other["since"]
        assert hold.in_the_way(place, BEN, "box", 3) == other
        assert take(place, ANNA) is None  # reserved by the same run, as after a reboot
    os.truncate(hold.beat(place, ANNA), 1)  # as a run does at its end
    assert take(place, BEN) is None
    assert hold.holder(place)["id"] == BEN
    assert not hold.beat(place, ANNA).exists()


def test_a_box_is_free_after_its_run_died(tmp_path: Path) -> None:
    assert take(tmp_path, ANNA) is None
    began = time.monotonic()
    assert take(tmp_path, BEN, dead_s=1.5) is None
    assert 1 < time.monotonic() - began < 6
    os.utime(hold.beat(tmp_path, BEN), (1, 1))
    began = time.monotonic()
    assert take(tmp_path, ANNA, dead_s=60) is None  # no heartbeat for long: no wait
    assert time.monotonic() - began < 1


def test_a_clock_set_back_does_not_reserve_a_box(tmp_path: Path) -> None:
    assert take(tmp_path, ANNA) is None
    os.utime(hold.beat(tmp_path, ANNA), (time.time() + 9e6, time.time() + 9e6))
    assert take(tmp_path, BEN, dead_s=1) is None


@pytest.mark.parametrize("record", ["", "{", "[]", '{"id": 1}'])
def test_a_damaged_record_reserves_nothing(tmp_path: Path, record: str) -> None:
    (tmp_path / "run.json").write_text(record)
    assert take(tmp_path, BEN) is None
    assert hold.holder(tmp_path)["id"] == BEN


def test_one_machine_under_two_names_is_reported(tmp_path: Path) -> None:
    assert take(tmp_path, ANNA, "box1") is None
    with Beats(hold.beat(tmp_path, ANNA)):
        assert take(tmp_path, ANNA, "box9")["twin"] == "box1"


def test_of_many_concurrent_runs_one_reserves_the_box(tmp_path: Path) -> None:
    code = f"""
import importlib.util, json, os, sys, time
spec = importlib.util.spec_from_file_location("dlbox_hold", {str(SCRIPT)!r})
hold = importlib.util.module_from_spec(spec); spec.loader.exec_module(hold)
place, identity = hold.Path(sys.argv[1]), sys.argv[2] * 32
other = hold.take(place, identity, "box", sys.argv[2], os.getuid(), 20)
print(json.dumps(other), flush=True)
while other is None:
    time.sleep(0.1)
    os.utime(hold.beat(place, identity))
"""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "dlbox"), letter], stdout=subprocess.PIPE, text=True
        )
        for letter in "abcdef"
    ]
    try:
        answers = [json.loads(process.stdout.readline()) for process in started if process.stdout]
    finally:
        for process in started:
            process.kill()
            process.communicate()
    assert answers.count(None) == 1
    (winner,) = [letter for letter, other in zip("abcdef", answers, strict=True) if other is None]
    assert {other["who"] for other in answers if other is not None} == {winner}


def test_a_run_sends_heartbeats_and_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "FOLDER", tmp_path)
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.1)
    with heartbeat.Heartbeat(tmp_path / "ssh") as beats:
        assert take(tmp_path, beats.identity, dead_s=60) is None
        assert hold.lives(tmp_path, beats.identity)
        assert take(tmp_path, BEN)["who"] == "anna@desk"
    assert take(tmp_path, BEN, dead_s=60) is None


def test_heartbeats_use_open_connections_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake ssh logs its arguments; a file that is not a socket is ignored."""
    (tmp_path / "ssh").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.1)
    sockets = tmp_path / "s"
    sockets.mkdir()
    (sockets / "file").touch()
    with socket.socket(socket.AF_UNIX) as connection, heartbeat.Heartbeat(sockets) as beats:
        connection.bind(str(sockets / "c"))
        time.sleep(1)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) >= 2
    assert all(f"ControlPath={sockets / 'c'} -o ProxyCommand=false" in line for line in asked)
    assert asked[0].endswith(f"open-already touch -c /run/dlbox/beat-{beats.identity}")
    assert asked[-1].endswith(f"open-already truncate -c -s 1 /run/dlbox/beat-{beats.identity}")


def test_the_role_fails_with_a_sentence_while_another_run_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role's own tasks, with a copy of its script that uses this test's folder instead of /run."""
    roles = tmp_path / "roles"
    place = tmp_path / "run"
    (roles / "preflight").mkdir(parents=True)
    for part in ("tasks", "meta", "defaults"):
        (roles / "preflight" / part).symlink_to(PROVISION_DIR / "roles/preflight" / part)
    (roles / "preflight/files").mkdir()
    text = (
        SCRIPT.read_text().replace('"/run/dlbox"', repr(str(place))).replace("DEAD_S = 60.0", "DEAD_S = 4.0")
    )
    (roles / "preflight/files/hold.py").write_text(text)
    monkeypatch.setattr("provision.ansible.playbook.PROVISION_DIR", tmp_path)
    task = json.dumps(
        {"name": "This run has reserved the box",
         "ansible.builtin.include_role": {"name": "preflight", "tasks_from": "hold"},
         "vars": {"preflight_take": "{{ taken }}"}}
    )  # fmt: skip
    variables = {"localhost": {"ansible_become": False, "ansible_facts": {}, "taken": False}}
    assert take(place, ANNA, who="anna of the o'Neills@desk") is None
    with Beats(hold.beat(place, ANNA)):
        host = only(run(tmp_path, task, variables=variables))
    assert host.status == "failed"
    assert host.message is not None
    assert host.message.startswith(
        "anna of the o'Neills@desk has been at work on this box with `dlbox provision` since 20"
    )
    assert host.message.endswith(
        "(0 min): let that run end, or stop it there with Ctrl-C, then run the same command."
    )
    os.truncate(hold.beat(place, ANNA), 1)
    host = only(run(tmp_path, task, variables=variables))
    assert (host.status, host.changed) == ("ok", ()), host


def test_the_user_who_called_sudo_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "anna")
    assert heartbeat.who() == f"anna@{socket.gethostname()}"


def test_the_script_is_valid_python_3_8() -> None:
    lint = Path(sys.executable).with_name("ruff")
    done = subprocess.run(
        [str(lint), "check", "--isolated", "--target-version", "py38", "--select", "E9,F", str(SCRIPT)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
