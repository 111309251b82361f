"""`dlbox provision` with Ansible replaced by prepared outcomes: its questions, playbooks, output and exit codes."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dlbox import cli  # noqa: TID251 - the command is what is tested
from provision.ansible import playbook
from provision.ansible.outcome import HostOutcome, PlaybookOutcome
from provision.ansible.playbook import PlaybookJob
from provision.artifacts import environments, own_wheel
from provision.artifacts.own_wheel import OwnWheel
from provision.commands import provision
from provision.commands.interaction import Interaction
from provision.commands.options import ProvisionOptions
from tests.conftest import Command
from tests.test_playbook import RecordingProgress

BOX = {
    "machine_type": "x86_64",
    "kernel": "6.1.0-56-amd64",
    "kernels": ["6.1.0-56-amd64"],
    "distribution": {"id": "debian", "version": "12"},
    "environment": "bare-metal",
    "secure_boot": False,
    "cards": [{"address": "0000:01:00.0", "device_id": 0x1C03, "driver": None}],
}


class ScriptedRuns:
    """Replaces playbook.run: records the jobs and returns the prepared outcomes in turn."""

    def __init__(self, *hosts: HostOutcome) -> None:
        self.jobs: list[PlaybookJob] = []
        self._hosts = list(hosts)

    def __call__(self, job: PlaybookJob, *rest: object) -> PlaybookOutcome:
        self.jobs.append(job)
        host = self._hosts.pop(0)
        return PlaybookOutcome(playbook=job.playbook.stem, check=job.check, seconds=1.0, hosts=(host,))


class Messages(list[str]):
    """Records error messages."""

    def __call__(self, sentence: str) -> None:
        self.append(sentence)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(own_wheel, "build", lambda folder: OwnWheel(path=folder / "dlbox.whl", sha256="ab"))
    monkeypatch.setattr(
        environments, "role_variables", lambda stack, *rest, **options: {"branch": stack.driver.branch}
    )
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@contextlib.contextmanager
def open_progress() -> Iterator[RecordingProgress]:
    yield RecordingProgress()


def host(**fields: Any) -> HostOutcome:
    return HostOutcome(**{"name": "localhost", "status": "ok", **fields})


def run(
    monkeypatch: pytest.MonkeyPatch,
    script: ScriptedRuns,
    *,
    answer: bool | None = True,
    as_json: bool = False,
    **options: Any,
) -> tuple[int, Messages]:
    monkeypatch.setattr(playbook, "run", script)
    messages = Messages()
    agreed = None if answer is None else (lambda question: answer)
    return provision.run(
        ProvisionOptions(**options), Interaction(open_progress, agreed, messages, as_json)
    ), messages


def test_preflight_runs_before_the_plan_and_the_installation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = ScriptedRuns(host(box=BOX), host(status="changed", changed=("a", "b"), verdict="ready"))
    assert run(monkeypatch, script, reboot=True) == (0, [])
    assert [job.playbook.name for job in script.jobs] == ["preflight.yml", "site.yml"]
    variables = script.jobs[1].variables["localhost"]
    assert Path(variables.pop("distribution_folder")).is_dir()
    assert variables == {"branch": 535, "nvidia_driver_reboot": True, "site_preflight": False}
    shown = capsys.readouterr().out
    assert "GTX 1060" in shown
    assert "2 tasks changed something; its own verdict: ready" in shown


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ({"verdict": "not-ready"}, ""),
        ({"reboot_needed": True, "verdict": "not-ready"}, ""),
        (
            {"status": "failed", "task": "driver: It is there", "message": "No."},
            '"driver: It is there" failed: No.',
        ),
        ({"status": "unreachable", "message": "it is off"}, "localhost: it is off"),
    ],
)
def test_only_a_good_verdict_of_the_box_is_success(
    monkeypatch: pytest.MonkeyPatch, outcome: dict[str, Any], words: str
) -> None:
    code, messages = run(monkeypatch, ScriptedRuns(host(box=BOX), host(**outcome)))
    assert code == 1
    assert words in " ".join(messages)


def test_a_needed_reboot_is_reported_with_the_next_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, ScriptedRuns(host(box=BOX), host(reboot_needed=True, verdict="not-ready")))
    assert "reboot it, then run the same command" in capsys.readouterr().out


def test_enrol_key_reaches_the_role_and_its_note_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = ScriptedRuns(host(box=BOX), host(notes=("Type 123 at the blue screen.",), verdict="ready"))
    assert run(monkeypatch, script, enrol_key=True)[0] == 0
    assert script.jobs[1].variables["localhost"]["nvidia_driver_mok_enrol"] is True
    assert "localhost: Type 123 at the blue screen." in capsys.readouterr().out


def test_ctrl_c_prints_how_to_continue(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []

    def interrupt(*rest: object) -> PlaybookOutcome:
        raise KeyboardInterrupt

    monkeypatch.setattr(playbook, "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        provision.run(
            ProvisionOptions(), Interaction(open_progress, lambda question: True, messages.append, False)
        )
    assert messages == ["to continue, run the same command again"]


def test_nothing_is_installed_when_the_answer_is_no(monkeypatch: pytest.MonkeyPatch) -> None:
    script = ScriptedRuns(host(box=BOX))
    assert run(monkeypatch, script, answer=False) == (1, ["nothing was changed"])
    assert len(script.jobs) == 1
    script = ScriptedRuns()
    assert run(monkeypatch, script, answer=False, rollback=True) == (1, ["nothing was changed"])
    assert script.jobs == []


def test_without_a_terminal_and_yes_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    code, messages = run(monkeypatch, ScriptedRuns(), answer=None)
    assert code == 2
    assert "--yes" in messages[0]


def test_a_dry_run_needs_no_confirmation_and_shows_differences(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = ScriptedRuns(host(box=BOX), host(status="changed", changed=("a",), differences=("a\n+hello",)))
    assert run(monkeypatch, script, answer=None, check=True)[0] == 0
    assert all(job.check for job in script.jobs)
    shown = capsys.readouterr().out
    assert "+hello" in shown
    assert "1 task would change something" in shown


def test_a_failed_preflight_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    script = ScriptedRuns(
        host(status="failed", task="preflight: There is room", message="/opt is full.", box=BOX)
    )
    code, messages = run(monkeypatch, script)
    assert code == 1
    assert "/opt is full." in messages[0]
    assert len(script.jobs) == 1


def test_a_box_without_a_stack_fails_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    old = {**BOX, "cards": [{"address": "0000:01:00.0", "device_id": 0x1180, "driver": None}]}
    code, messages = run(monkeypatch, ScriptedRuns(host(box=old)))
    assert code == 1
    assert "no stack exists, because" in messages[0]


def test_json_is_one_document(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = ScriptedRuns(
        host(box=BOX), host(status="changed", changed=("a",), verdict="ready", log="/x/localhost.log")
    )
    assert run(monkeypatch, script, as_json=True)[0] == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema_version"], document["command"], document["succeeded"]) == (1, "provision", True)
    assert document["hosts"][0]["log"] == "/x/localhost.log"


def test_options_of_a_host_come_from_the_inventory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "hosts.yml"
    place.write_text("all: {hosts: {desk: {frameworks: [jax]}}}")
    asked: list[Any] = []
    monkeypatch.setattr(
        environments, "role_variables", lambda stack, *rest, **options: asked.append(stack) or {}
    )
    script = ScriptedRuns(host(name="desk", box=BOX), host(name="desk", verdict="ready"))
    assert run(monkeypatch, script, hosts=("desk",), inventory=place)[0] == 0
    assert script.jobs[1].limit == "desk"
    assert script.jobs[1].inventories == (place,)
    assert list(asked[0].environments) == ["jax"]
    code, messages = run(monkeypatch, ScriptedRuns(), hosts=("other",), inventory=place)
    assert (code, "no host" in messages[0]) == (2, True)


def test_an_inventory_without_host_arguments_selects_all_its_hosts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = tmp_path / "hosts.yml"
    place.write_text("room: {hosts: {desk: , bench: }}")
    script = ScriptedRuns(host(name="desk", box=BOX), host(name="desk", verdict="ready"))
    assert run(monkeypatch, script, inventory=place)[0] == 0
    assert [job.limit for job in script.jobs] == ["desk,bench"] * 2
    place.write_text("room: {hosts: {}}")
    code, messages = run(monkeypatch, ScriptedRuns(), inventory=place)
    assert (code, "has no hosts" in messages[0]) == (2, True)


@pytest.mark.parametrize(
    ("hosts", "limit", "left"),
    [
        (("room",), ("desk",), "desk"),
        (("room", "other"), ("room",), "desk,bench"),
        (("desk", "bench"), ("*",), "desk,bench"),
        ((), ("bench",), "bench"),
        (("desk",), ("bench",), None),
    ],
)
def test_limit_only_removes_hosts(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    hosts: tuple[str, ...],
    limit: tuple[str, ...],
    left: str | None,
) -> None:
    place = tmp_path / "hosts.yml"
    place.write_text("room: {hosts: {desk: , bench: }}\nother: {hosts: {far: }}")
    script = ScriptedRuns(host(name="desk", box=BOX), host(name="desk", verdict="ready"))
    code, messages = run(monkeypatch, script, hosts=hosts, limit=limit, inventory=place)
    if left is None:
        assert (code, script.jobs) == (2, [])
        assert "selects none" in messages[0]
    else:
        assert [job.limit for job in script.jobs] == [left] * 2


def test_incomplete_command_lines_are_usage_errors(dlbox: Command, tmp_path: Path) -> None:
    ended = dlbox("provision", XDG_STATE_HOME=str(tmp_path))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--yes" in ended.stderr
    assert dlbox("provision", "nowhere", "--yes").returncode == 2
    assert dlbox("provision", "--tags", "kernel", "--yes").returncode == 2


@pytest.mark.parametrize(("flag", "variable"), [(True, False), (False, True), (False, False)])
def test_the_toolkit_comes_from_the_command_line_or_the_inventory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flag: bool, variable: bool
) -> None:
    place = tmp_path / "hosts.yml"
    place.write_text(json.dumps({"all": {"hosts": {"desk": {"cuda_toolkit": variable}}}}))
    planned: list[str | None] = []

    def variables(stack: Any, *rest: object, **options: object) -> dict[str, Any]:
        planned.append(stack.cuda.toolkit)
        return {}

    monkeypatch.setattr(environments, "role_variables", variables)
    script = ScriptedRuns(host(name="desk", box=BOX), host(name="desk", verdict="ready"))
    assert run(monkeypatch, script, hosts=("desk",), inventory=place, cuda_toolkit=flag)[0] == 0
    assert planned == ["11.8.89" if flag or variable else None]


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (("b1,b9",), {"hosts": ("b1", "b9")}),
        (("b1", "b9", "b1"), {"hosts": ("b1", "b9")}),
        (("--tags", "driver, dlbox", "--tags", "verify"), {"tags": ("driver", "dlbox", "verify")}),
        (("--framework", "jax,torch"), {"frameworks": ("jax", "torch")}),
        (("--limit", "b1, b2,"), {"limit": ("b1", "b2")}),
    ],
)
def test_lists_may_use_commas_or_repeated_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], kept: dict[str, tuple[str, ...]]
) -> None:
    asked: list[ProvisionOptions] = []
    monkeypatch.setattr(provision, "run", lambda options, *rest: asked.append(options) or 0)
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {b1: {}, b2: {}, b9: {}}}")
    with pytest.raises(SystemExit, match="0"):
        cli.main(["provision", *words, "--inventory", str(inventory), "--check"], standalone_mode=False)
    (options,) = asked
    for field, value in kept.items():
        assert getattr(options, field) == value


def test_an_unknown_tag_is_a_usage_error(dlbox: Command) -> None:
    ended = dlbox("provision", "--tags", "driver,divers", "--check")
    assert ended.returncode == 2
    assert "'divers' is not one of" in ended.stderr


def test_if_one_box_fails_the_command_without_it_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    three = (
        host(name="b1", box=BOX),
        host(name="b2", status="unreachable", message="it is off"),
        host(name="b3"),
    )
    looked = PlaybookOutcome(playbook="preflight", check=False, seconds=1.0, hosts=three)
    monkeypatch.setattr(playbook, "run", lambda *rest: looked)
    messages = Messages()
    assert (
        provision.run(ProvisionOptions(), Interaction(open_progress, lambda question: True, messages, True))
        == 1
    )
    assert messages == [
        "b2: it is off",
        "nothing was installed on any host; to continue without the failed hosts: --limit b1,b3",
    ]


@pytest.mark.parametrize("rollback", [False, True])
def test_an_installed_dlbox_does_not_remove_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rollback: bool
) -> None:
    monkeypatch.setattr("provision.commands.options.INSTALL_DIR", Path(sys.prefix).resolve().parent)
    script = ScriptedRuns(host(name="there", box=BOX), host(name="there"))
    code, messages = run(monkeypatch, script, rollback=rollback)
    assert (code, script.jobs) == (2, [])
    assert "from another machine" in messages[0]
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {here: {ansible_connection: local}, there: {}}}")
    assert run(monkeypatch, script, hosts=("here",), inventory=inventory, rollback=rollback)[0] == 2
    assert not script.jobs
    run(monkeypatch, script, hosts=("there",), inventory=inventory, rollback=rollback)
    assert script.jobs


@pytest.mark.parametrize(
    ("fields", "found", "command"),
    [
        ({"verdict": "ready"}, "ready", "dlbox ready"),
        (
            {"verdict": "not-ready", "reboot_needed": True},
            "reboot needed",
            "sudo reboot, then dlbox provision",
        ),
        (
            {"verdict": "not-ready", "status": "failed", "task": "t", "message": "No."},
            "not-ready",
            "dlbox provision",
        ),
        ({"status": "unreachable", "message": "it is off"}, "unreachable", "ssh localhost"),
    ],
)
def test_the_table_at_the_end_has_the_result_and_the_next_command(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fields: dict[str, Any],
    found: str,
    command: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    changed = {"status": "changed", "changed": ("a", "b", "c"), "seconds": 1084.0}
    run(monkeypatch, ScriptedRuns(host(box=BOX), host(**{**changed, **fields})))
    head, row = (re.sub("[┃│|]", " ", line).split() for line in capsys.readouterr().out.splitlines()[-3::2])
    assert head[:4] == ["box", "result", "changed", "time"]
    text = " ".join(row)
    assert text.startswith(f"localhost {found} 3 18:04 min {command}"), text


def test_the_plan_names_everything_before_the_question(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for jupyter, tags in ((True, ()), (False, ()), (True, ("driver",))):
        run(monkeypatch, ScriptedRuns(host(box=BOX)), answer=False, jupyter=jupyter, tags=tags)
        text = " ".join(capsys.readouterr().out.split())
        assert ("JupyterLab as a service" in text) is (jupyter and not tags)
        assert ("the command dlbox for all users" in text) is (not tags)
        assert ("trains for about a minute" in text) is (not tags)


def test_one_cause_that_stops_all_boxes_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    vault = "the inventory contains values that are encrypted: run the same command with --ask-vault-pass"

    def fails(job: PlaybookJob, *rest: object) -> PlaybookOutcome:
        hosts = tuple(
            HostOutcome(name=name, status="failed", message=f"Ansible did not run on this host: {vault}")
            for name in ("a", "b")
        )
        return PlaybookOutcome(playbook="preflight", check=False, seconds=1.0, hosts=hosts, error=vault)

    code, messages = run(monkeypatch, fails)  # type: ignore[arg-type]
    assert (code, messages) == (1, [vault])


def test_an_unknown_host_is_named_before_a_password_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(**_: object) -> None:
        raise AssertionError("asked for a password")

    monkeypatch.setattr("provision.ansible.passwords.ask", refuse)
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {desk-01: {}}}\n", encoding="utf-8")
    arguments = ["provision", "desk-99", "--inventory", str(inventory), "--ask-become-pass", "--yes"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert "desk-99" in result.stderr
