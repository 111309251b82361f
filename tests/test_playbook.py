"""Small playbooks, run by Ansible on this machine, that change nothing outside of the test's folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from provision import PROVISION_DIR
from provision.ansible import playbook
from provision.ansible.outcome import HostOutcome, PlaybookOutcome
from provision.ansible.playbook import PlaybookJob, Secrets

FIRST = """
- name: A small playbook
  hosts: all
  gather_facts: false
  tasks:
"""


class RecordingProgress:
    """A progress display that records its calls."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, label: str, doing: str) -> None:
        self.lines.append(f"{label}: {doing}")

    def update(self, doing: str, share: float | None = None, rate: str = "") -> None:
        assert share is None or 0 <= share <= 1
        self.lines.append(f"{doing}: {rate}")

    def done(self, outcome: str) -> None:
        self.lines.append(outcome)


def write(folder: Path, *tasks: str, first: str = FIRST) -> Path:
    path = folder / "tiny.yml"
    path.write_text(first + "\n".join(f"    - {task}" for task in tasks))
    return path


def run(folder: Path, *tasks: str, secrets: Secrets | None = None, **job: Any) -> PlaybookOutcome:
    path = write(folder, *tasks)
    return playbook.run(PlaybookJob(playbook=path, **job), RecordingProgress(), folder / "logs", secrets)


def only(outcome: PlaybookOutcome) -> HostOutcome:
    assert outcome.error is None
    (host,) = outcome.hosts
    return host


def copy(folder: Path, name: str = "made", text: str = "hello") -> str:
    fields = json.dumps({"content": f"{text}\n", "dest": str(folder / name), "mode": "0644"})
    return f"{{name: The file {name} is there, ansible.builtin.copy: {fields}}}"


def test_the_second_run_changes_nothing(tmp_path: Path) -> None:
    first = only(run(tmp_path, copy(tmp_path)))
    assert (first.status, first.changed) == ("changed", ("The file made is there",))
    second = only(run(tmp_path, copy(tmp_path)))
    assert (second.status, second.changed, second.task) == ("ok", (), None)
    log = (tmp_path / "logs" / "localhost.log").read_text()
    assert "The file made is there\nok: [localhost]" in log
    assert "changed: [localhost]" in (tmp_path / "logs" / "localhost.log.1").read_text()


def test_facts_are_reused_by_the_next_playbook(tmp_path: Path) -> None:
    gathers = FIRST.replace("false", "true\n  gather_subset: ['!all', '!min', env]")
    known = {"that": "ansible_facts['env']['HOME'] != ''"}
    task = f"{{name: The home is known, ansible.builtin.assert: {json.dumps(known)}}}"
    path = write(tmp_path, task, first=gathers)
    for facts, again in ((tmp_path / "facts", True), (tmp_path / "facts", False), (None, True)):
        outcome = playbook.run(
            PlaybookJob(playbook=path, facts=facts), RecordingProgress(), tmp_path / "logs"
        )
        assert only(outcome).status == "ok"
        assert ("Gathering Facts" in (tmp_path / "logs/localhost.log").read_text()) is again


def test_nothing_is_left_in_the_temporary_folder_or_the_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    before = sorted(PROVISION_DIR.rglob("*"))
    path = write(tmp_path, copy(tmp_path))
    assert playbook.run(PlaybookJob(playbook=path), RecordingProgress(), tmp_path / "logs").succeeded
    assert not list(temporary.iterdir())
    assert [p for p in sorted(PROVISION_DIR.rglob("*")) if "__pycache__" not in p.parts] == [
        p for p in before if "__pycache__" not in p.parts
    ]


def test_a_dry_run_shows_the_difference_and_does_nothing(tmp_path: Path) -> None:
    outcome = run(tmp_path, copy(tmp_path), check=True)
    host = only(outcome)
    assert outcome.check
    assert host.changed == ("The file made is there",)
    assert "+hello" in host.differences[0]
    assert not (tmp_path / "made").exists()


def test_the_failing_task_is_named_with_its_reason(tmp_path: Path) -> None:
    host = only(
        run(
            tmp_path,
            "{name: All is well, ansible.builtin.debug: {msg: fine}}",
            "{name: There is room, ansible.builtin.fail: {msg: 'The disk is full: make room.'}}",
            copy(tmp_path),
        )
    )
    assert (host.status, host.task, host.message) == (
        "failed",
        "There is room",
        "The disk is full: make room.",
    )
    assert not (tmp_path / "made").exists()


def test_a_failing_command_is_reported_with_its_own_error(tmp_path: Path) -> None:
    script = "import sys; print('progress'); sys.exit('E: no such package')"
    task = json.dumps(
        {"name": "It installs", "ansible.builtin.command": {"argv": [sys.executable, "-c", script]}}
    )
    assert only(run(tmp_path, task)).message == "E: no such package"


def test_a_second_run_continues_where_the_first_failed(tmp_path: Path) -> None:
    stop = json.dumps(
        {
            "name": "The file exists",
            "ansible.builtin.assert": {"that": f"'{tmp_path}/free' is exists", "fail_msg": "Not yet."},
        }
    )
    tasks = (copy(tmp_path, "one"), stop, copy(tmp_path, "two"))
    assert only(run(tmp_path, *tasks)).message == "Not yet."
    (tmp_path / "free").touch()
    assert only(run(tmp_path, *tasks)).changed == ("The file two is there",)


def test_an_unreachable_host_does_not_stop_the_others(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    hosts = {
        "here": {"ansible_connection": "local"},
        "nowhere": {"ansible_host": "127.0.0.1", "ansible_port": 1},
    }
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    outcome = run(tmp_path, copy(tmp_path), inventories=(inventory,))
    here, nowhere = outcome.hosts
    assert (here.status, nowhere.status) == ("changed", "unreachable")
    assert nowhere.message is not None
    assert "cannot be reached over SSH" in nowhere.message
    assert not outcome.succeeded
    limited = run(tmp_path, copy(tmp_path), inventories=(inventory,), limit="here")
    assert [host.name for host in limited.hosts] == ["here"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("- hosts: all\n  tasks:\n    - no_such_module: {}\n", "no_such_module"),
        ("- hosts: [", "YAML"),
        ("- hosts: elsewhere\n  tasks: []\n", "elsewhere"),
    ],
)
def test_a_playbook_that_reaches_no_host_gives_one_error_sentence(
    tmp_path: Path, content: str, words: str
) -> None:
    path = tmp_path / "broken.yml"
    path.write_text(content)
    outcome = playbook.run(PlaybookJob(playbook=path), RecordingProgress(), tmp_path / "logs")
    message = outcome.error or only(outcome).message or ""
    assert words in message
    assert not outcome.succeeded
    assert "\n" not in message


def test_tags_select_tasks_and_variables_reach_their_host(tmp_path: Path) -> None:
    tagged = "{name: The variable arrived, tags: [a], ansible.builtin.assert: {that: colour == 'blue'}}"
    outcome = run(tmp_path, tagged, copy(tmp_path), tags=("a",), variables={"localhost": {"colour": "blue"}})
    assert only(outcome).status == "ok"
    assert not (tmp_path / "made").exists()


@pytest.fixture(scope="module")
def one_outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[HostOutcome, Path]:
    """The outcome of one playbook on this machine, and its log."""
    folder = tmp_path_factory.mktemp("outcome")
    block = {
        "name": "It is tried",
        "block": [{"name": "It fails", "ansible.builtin.fail": {"msg": "no"}}],
        "rescue": [{"name": "It is mended", "ansible.builtin.debug": {"var": "inventory_hostname"}}],
    }
    facts = "{nvidia_driver_reboot_needed: true, verify_verdict: ready}"
    note = "{name: The person is told, ansible.builtin.debug: {msg: 'A blue screen appears: type 12345678.'}}"
    outcome = run(
        folder, json.dumps(block), note, f"{{name: It is known, ansible.builtin.set_fact: {facts}}}"
    )
    return only(outcome), folder / "logs" / "localhost.log"


def test_notes_are_reported_and_the_log_is_private(one_outcome: tuple[HostOutcome, Path]) -> None:
    """One note per debug message. The log may contain a one-time password, so only its owner can read it."""
    host, log = one_outcome
    assert host.notes == ("A blue screen appears: type 12345678.",)
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_rescued_failure_is_not_reported(one_outcome: tuple[HostOutcome, Path]) -> None:
    assert (one_outcome[0].status, one_outcome[0].task) == ("ok", None)


def test_reboot_and_verdict_come_from_facts(one_outcome: tuple[HostOutcome, Path]) -> None:
    assert (one_outcome[0].reboot_needed, one_outcome[0].verdict) == (True, "ready")


def test_progress_counts_down_and_uses_the_last_runs_times(tmp_path: Path) -> None:
    path = write(tmp_path, "{name: It takes a while, ansible.builtin.wait_for: {timeout: 2}}", copy(tmp_path))
    progress = RecordingProgress()
    assert playbook.run(PlaybookJob(playbook=path), progress, tmp_path).succeeded
    assert sum(line.startswith("It takes a while: ") for line in progress.lines) >= 3
    assert progress.lines[-1].startswith("1 changed in ")
    learned = dict(json.loads((tmp_path / "tiny.pace.json").read_text()))
    assert 1.5 < learned["It takes a while"] < 30
    playbook.run(PlaybookJob(playbook=path), progress, tmp_path)
    assert any(line == "It takes a while: under a minute left" for line in progress.lines)


def test_no_file_argument_or_environment_contains_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The become password goes to Ansible's prompt; the task searches every place where it could be read."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    secret = "correct" + "horse"
    look = f"""
import pathlib, sys
word = ("correct" + "horse").encode()
places = [p for p in pathlib.Path({str(temporary)!r}).rglob("*") if p.is_file()]
places += pathlib.Path("/proc").glob("[0-9]*/cmdline")
places += pathlib.Path("/proc").glob("[0-9]*/environ")
def holds(p):
    try: return word in p.read_bytes()
    except OSError: return False
sys.exit(" ".join(str(p) for p in places if holds(p)) or 0)
"""
    task = json.dumps(
        {"name": "No password is found", "ansible.builtin.command": {"argv": [sys.executable, "-c", look]}}
    )
    tell = '{name: The password is printed, ansible.builtin.debug: {msg: \'{{ "correct" ~ "horse" }}\'}}'
    outcome = run(tmp_path, task, tell, secrets=Secrets(become=secret))
    assert only(outcome).status == "changed", only(outcome)
    log = (tmp_path / "logs" / "localhost.log").read_text()
    assert "The password is printed" in log
    assert secret not in log
    assert secret not in repr(Secrets(become=secret))


def test_a_dry_run_of_a_loop_reports_each_item_once(tmp_path: Path) -> None:
    items = ", ".join(str(tmp_path / name) for name in ("a", "b", "a"))
    folder = '{path: "{{ item }}", state: directory}'
    task = f"{{name: Folders exist, ansible.builtin.file: {folder}, loop: [{items}]}}"
    host = only(run(tmp_path, task, check=True))
    assert host.differences == tuple(
        f"Folders exist\n{tmp_path / name}: absent -> directory" for name in ("a", "b")
    )
