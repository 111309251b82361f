"""`dlbox provision` with Ansible replaced by a script of outcomes: what is asked, what is run, what is said."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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
from tests.test_playbook import Listener

BOX = {
    "machine_type": "x86_64",
    "kernel": "6.1.0-56-amd64",
    "kernels": ["6.1.0-56-amd64"],
    "distribution": {"id": "debian", "version": "12"},
    "environment": "bare-metal",
    "secure_boot": False,
    "cards": [{"address": "0000:01:00.0", "device_id": 0x1C03, "driver": None}],
}


class Script:
    """Stands for playbook.run: remembers the jobs and gives the outcomes in turn."""

    def __init__(self, *hosts: HostOutcome) -> None:
        self.jobs: list[PlaybookJob] = []
        self._hosts = list(hosts)

    def __call__(self, job: PlaybookJob, *rest: object) -> PlaybookOutcome:
        self.jobs.append(job)
        host = self._hosts.pop(0)
        return PlaybookOutcome(playbook=job.playbook.stem, check=job.check, seconds=1.0, hosts=(host,))


class Said(list[str]):
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
def watching() -> Iterator[Listener]:
    yield Listener()


def host(**fields: Any) -> HostOutcome:
    return HostOutcome(**{"name": "localhost", "status": "ok", **fields})


def run(
    monkeypatch: pytest.MonkeyPatch,
    script: Script,
    *,
    answer: bool | None = True,
    as_json: bool = False,
    **wishes: Any,
) -> tuple[int, Said]:
    monkeypatch.setattr(playbook, "run", script)
    said = Said()
    agreed = None if answer is None else (lambda question: answer)
    return provision.run(ProvisionOptions(**wishes), Interaction(watching, agreed, said, as_json)), said


def test_it_looks_then_plans_then_installs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(host(box=BOX), host(status="changed", changed=("a", "b"), verdict="ready"))
    assert run(monkeypatch, script, reboot=True) == (0, [])
    assert [job.playbook.name for job in script.jobs] == ["preflight.yml", "site.yml"]
    told = script.jobs[1].variables["localhost"]
    assert told == {"branch": 535, "nvidia_driver_reboot": True, "site_preflight": False}
    shown = capsys.readouterr().out
    assert "GTX 1060" in shown
    assert "2 changed; it says of itself: ready" in shown


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
def test_only_the_boxs_own_word_is_success(
    monkeypatch: pytest.MonkeyPatch, outcome: dict[str, Any], words: str
) -> None:
    code, said = run(monkeypatch, Script(host(box=BOX), host(**outcome)))
    assert code == 1
    assert words in " ".join(said)


def test_a_reboot_is_asked_for_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, Script(host(box=BOX), host(reboot_needed=True, verdict="not-ready")))
    assert "reboot it, then run the same command" in capsys.readouterr().out


def test_the_enrolment_of_a_key_is_wished_for_and_its_password_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(host(box=BOX), host(notes=("Type 123 at the blue screen.",), verdict="ready"))
    assert run(monkeypatch, script, enrol_key=True)[0] == 0
    assert script.jobs[1].variables["localhost"]["nvidia_driver_mok_enrol"] is True
    assert "localhost: Type 123 at the blue screen." in capsys.readouterr().out


def test_after_ctrl_c_it_is_said_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def interrupt(*rest: object) -> PlaybookOutcome:
        raise KeyboardInterrupt

    monkeypatch.setattr(playbook, "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        provision.run(ProvisionOptions(), Interaction(watching, lambda question: True, said.append, False))
    assert said == ["the same command goes on where this one stopped"]


def test_nothing_is_installed_where_the_person_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(host(box=BOX))
    assert run(monkeypatch, script, answer=False) == (1, ["nothing was changed"])
    assert len(script.jobs) == 1
    script = Script()
    assert run(monkeypatch, script, answer=False, rollback=True) == (1, ["nothing was changed"])
    assert script.jobs == []


def test_where_nobody_can_be_asked_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = run(monkeypatch, Script(), answer=None)
    assert code == 2
    assert "--yes" in said[0]


def test_a_dry_run_asks_nobody_and_shows_differences(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(host(box=BOX), host(status="changed", changed=("a",), differences=("a\n+hello",)))
    assert run(monkeypatch, script, answer=None, check=True)[0] == 0
    assert all(job.check for job in script.jobs)
    shown = capsys.readouterr().out
    assert "+hello" in shown
    assert "1 step would change" in shown


def test_what_preflight_refuses_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(host(status="failed", task="preflight: There is room", message="/opt is full.", box=BOX))
    code, said = run(monkeypatch, script)
    assert code == 1
    assert "/opt is full." in said[0]
    assert len(script.jobs) == 1


def test_a_box_that_no_stack_fits_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    old = {**BOX, "cards": [{"address": "0000:01:00.0", "device_id": 0x1180, "driver": None}]}
    code, said = run(monkeypatch, Script(host(box=old)))
    assert code == 1
    assert "no stack exists, because" in said[0]


def test_json_is_one_document(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = Script(
        host(box=BOX), host(status="changed", changed=("a",), verdict="ready", log="/x/localhost.log")
    )
    assert run(monkeypatch, script, as_json=True)[0] == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema_version"], document["command"], document["succeeded"]) == (1, "provision", True)
    assert document["hosts"][0]["log"] == "/x/localhost.log"


def test_hosts_come_from_the_inventory_with_their_wishes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = tmp_path / "hosts.yml"
    place.write_text("all: {hosts: {desk: {frameworks: [jax]}}}")
    asked: list[Any] = []
    monkeypatch.setattr(
        environments, "role_variables", lambda stack, *rest, **options: asked.append(stack) or {}
    )
    script = Script(host(name="desk", box=BOX), host(name="desk", verdict="ready"))
    assert run(monkeypatch, script, hosts=("desk",), inventory=place)[0] == 0
    assert script.jobs[1].limit == "desk"
    assert script.jobs[1].inventories == (place,)
    assert list(asked[0].environments) == ["jax"]
    code, said = run(monkeypatch, Script(), hosts=("other",), inventory=place)
    assert (code, "no host" in said[0]) == (2, True)


def test_an_inventory_without_hosts_named_means_all_of_it_and_never_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = tmp_path / "hosts.yml"
    place.write_text("room: {hosts: {desk: , bench: }}")
    script = Script(host(name="desk", box=BOX), host(name="desk", verdict="ready"))
    assert run(monkeypatch, script, inventory=place)[0] == 0
    assert [job.limit for job in script.jobs] == ["desk,bench"] * 2
    place.write_text("room: {hosts: {}}")
    code, said = run(monkeypatch, Script(), inventory=place)
    assert (code, "has no hosts" in said[0]) == (2, True)


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
def test_a_limit_only_ever_takes_away(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    hosts: tuple[str, ...],
    limit: tuple[str, ...],
    left: str | None,
) -> None:
    place = tmp_path / "hosts.yml"
    place.write_text("room: {hosts: {desk: , bench: }}\nother: {hosts: {far: }}")
    script = Script(host(name="desk", box=BOX), host(name="desk", verdict="ready"))
    code, said = run(monkeypatch, script, hosts=hosts, limit=limit, inventory=place)
    if left is None:
        assert (code, script.jobs) == (2, [])
        assert "leaves none" in said[0]
    else:
        assert [job.limit for job in script.jobs] == [left] * 2


def test_the_command_line_says_what_is_missing(dlbox: Command, tmp_path: Path) -> None:
    ended = dlbox("provision", XDG_STATE_HOME=str(tmp_path))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--yes" in ended.stderr
    assert dlbox("provision", "nowhere", "--yes").returncode == 2
    assert dlbox("provision", "--tags", "kernel", "--yes").returncode == 2


@pytest.mark.parametrize(("flag", "variable"), [(True, False), (False, True), (False, False)])
def test_a_toolkit_is_wanted_by_the_command_or_by_the_inventory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flag: bool, variable: bool
) -> None:
    place = tmp_path / "hosts.yml"
    place.write_text(json.dumps({"all": {"hosts": {"desk": {"cuda_toolkit": variable}}}}))
    planned: list[str | None] = []

    def variables(stack: Any, *rest: object, **options: object) -> dict[str, Any]:
        planned.append(stack.cuda.toolkit)
        return {}

    monkeypatch.setattr(environments, "role_variables", variables)
    script = Script(host(name="desk", box=BOX), host(name="desk", verdict="ready"))
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
def test_lists_are_written_with_commas_or_apart(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], kept: dict[str, tuple[str, ...]]
) -> None:
    asked: list[ProvisionOptions] = []
    monkeypatch.setattr(provision, "run", lambda wishes, *rest, **options: asked.append(wishes) or 0)
    with pytest.raises(SystemExit, match="0"):
        cli.main(["provision", *words, "--inventory", "hosts.yml", "--check"], standalone_mode=False)
    (wishes,) = asked
    for field, value in kept.items():
        assert getattr(wishes, field) == value


def test_a_tag_that_is_none_is_a_wrong_call(dlbox: Command) -> None:
    ended = dlbox("provision", "--tags", "driver,divers", "--check")
    assert ended.returncode == 2
    assert "'divers' is not one of" in ended.stderr


def test_where_one_box_is_not_fit_it_is_said_how_to_go_on_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    three = (
        host(name="b1", box=BOX),
        host(name="b2", status="unreachable", message="it is off"),
        host(name="b3"),
    )
    looked = PlaybookOutcome(playbook="preflight", check=False, seconds=1.0, hosts=three)
    monkeypatch.setattr(playbook, "run", lambda *rest: looked)
    said = Said()
    assert provision.run(ProvisionOptions(), Interaction(watching, lambda question: True, said, True)) == 1
    assert said == [
        "b2: it is off",
        "nothing was installed on any of them; to go on without the others: --limit b1,b3",
    ]


@pytest.mark.parametrize("rollback", [False, True])
def test_an_installed_dlbox_does_not_remove_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rollback: bool
) -> None:
    monkeypatch.setattr("provision.commands.options.INSTALL_DIR", Path(sys.prefix).resolve().parent)
    script = Script(host(name="there", box=BOX), host(name="there"))
    code, said = run(monkeypatch, script, rollback=rollback)
    assert (code, script.jobs) == (2, [])
    assert "from another machine" in said[0]
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {here: {ansible_connection: local}, there: {}}}")
    assert run(monkeypatch, script, hosts=("here",), inventory=inventory, rollback=rollback)[0] == 2
    assert not script.jobs
    run(monkeypatch, script, hosts=("there",), inventory=inventory, rollback=rollback)
    assert script.jobs
