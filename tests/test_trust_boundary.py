"""Text from a box, a bundle, a stack file or a person is never evaluated by Ansible, apt, systemd or a shell.

Every text would create a canary file if it were evaluated as a template, a command or a line of its own.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import jinja2
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from common.file_access.files import safe_name
from common.terminal.shown import UNSAFE, shortened
from dlbox import cli  # noqa: TID251 - the command is what is tested
from provision import PROVISION_DIR
from provision.ansible import playbook
from provision.ansible.playbook import PlaybookJob
from provision.clean_text import plain, shown
from tests.conftest import Command
from tests.hostile import placed, texts
from tests.test_playbook import RecordingProgress, only, run

ROLES = PROVISION_DIR / "roles"
TASKS = """
- name: Values are shown
  ansible.builtin.debug: {msg: "{{ given }} {{ given.texts[0] }}"}
- name: Values are kept as a fact
  ansible.builtin.set_fact:
    again: "{{ given.texts }}"
    one: "{{ given.texts[item | int] }} {{ given.texts | to_json }}"
  loop: "{{ range(given.texts | length) | list }}"
- name: A program prints them
  ansible.builtin.command: {argv: [echo, "{{ item }}"]}
  loop: "{{ again }}"
  register: printed
- name: Printed values are used again
  ansible.builtin.set_fact: {back: "{{ printed.results | map(attribute='stdout') | list }}"}
- name: Printed values are used in conditions
  ansible.builtin.assert: {that: "item | length > 0 and item not in ['x']", fail_msg: "{{ item }}", quiet: true}
  loop: "{{ back + [dlbox_run.who] }}"
  when: item | length > 0
- name: A document that was printed is read
  ansible.builtin.set_fact: {read: "{{ (given.texts | to_json | from_json) + [given | to_json] }}"}
- name: A script takes them as arguments
  ansible.builtin.script: {cmd: "arguments.py {{ given.texts | to_json | quote }}", executable: /usr/bin/python3}
  register: arguments
- name: Values become files
  ansible.builtin.template: {src: all.j2, dest: "{{ folder }}/all.txt", mode: "0644"}
- name: Values are a file
  ansible.builtin.copy: {content: "{{ given | to_json }}", dest: "{{ folder }}/all.json", mode: "0644"}
- name: The inventory's own template is Ansible's
  ansible.builtin.assert: {that: mine == 'mine-and-yours', quiet: true}
"""


def inventory(folder: Path) -> Path:
    place = folder / "hosts.yml"
    variables = {"ansible_connection": "local", "base": "mine", "mine": "{{ base }}-and-yours"}
    place.write_text(json.dumps({"all": {"hosts": {"desk": variables}}}), encoding="utf-8")
    return place


def test_ansible_evaluates_no_variable_of_dlbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In facts, loops, conditions, JSON, arguments, templates and files the text arrives unchanged."""
    canary = tmp_path / "canary"
    every = list(texts(canary))
    monkeypatch.setenv("SUDO_USER", every[0])  # becomes part of dlbox_run
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/all.j2").write_text(
        "{{ given.texts | join('|') }}{{ again[0] }}{{ given.deep[0].a }}"
    )
    (tmp_path / "files").mkdir()
    (tmp_path / "files/arguments.py").write_text("import sys\nsys.stdout.write(sys.argv[1])\n")
    given = {"texts": every, "deep": [{"a": every[1]}], **{f"name{n}": text for n, text in enumerate(every)}}
    tasks = [json.dumps(task) for task in yaml.safe_load(TASKS)]
    outcome = run(
        tmp_path, *tasks, inventories=(inventory(tmp_path),), hosts=("desk",),
        variables={"desk": {"given": given, "folder": str(tmp_path)}},
    )  # fmt: skip
    host = only(outcome)
    assert host.status == "changed", host
    assert not canary.exists()
    assert json.loads((tmp_path / "all.json").read_text()) == given
    assert (tmp_path / "all.txt").read_text() == "|".join(every) + every[0] + every[1]


def test_every_text_in_the_hosts_file_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read at the moment when Ansible would read it."""
    found: list[dict[str, Any]] = []

    def look(self: Any) -> int:
        found.append(json.loads(self._inventories()[-1].read_text()))
        return 0

    monkeypatch.setattr(playbook._PlaybookRun, "_play", look)
    values = {"a": "x", "b": ["y", {"c": "z", "d": 1, "e": None, "f": True}], "g": ("h",)}
    playbook.run(
        PlaybookJob(playbook=Path("site.yml"), variables={"localhost": values}), RecordingProgress(), tmp_path
    )
    (document,) = found
    given = document["all"]["hosts"]["localhost"]
    assert given.pop("ansible_connection") == "local"
    assert given.pop("ansible_remote_tmp").endswith("/tmp")
    assert unmarked_texts([given, document["all"]["vars"]]) == []
    assert given["b"][1] == {"c": {"__ansible_unsafe": "z"}, "d": 1, "e": None, "f": True}


def unmarked_texts(document: Any) -> list[str]:
    if isinstance(document, dict):
        if set(document) == {"__ansible_unsafe"}:
            return []
        return [text for value in document.values() for text in unmarked_texts(value)]
    if isinstance(document, list):
        return [text for value in document for text in unmarked_texts(value)]
    return [document] if isinstance(document, str) else []


def test_a_host_without_events_has_failed(tmp_path: Path) -> None:
    outcome = run(
        tmp_path, "{name: It is, ansible.builtin.debug: {msg: a}}",
        inventories=(inventory(tmp_path),), limit="desk,ghost", hosts=("desk", "ghost"),
    )  # fmt: skip
    assert [(host.name, host.status) for host in outcome.hosts] == [("desk", "ok"), ("ghost", "failed")]
    assert "Ansible did not run on this host" in (outcome.hosts[1].message or "")
    assert not outcome.succeeded


@pytest.mark.parametrize("name", ["off", "17", "0x1F", "3.5", "2024-05-06", "~", "yes"])
@pytest.mark.parametrize(
    "where", ["all:\n  hosts:\n    good:\n    {}:\n", "room:\n  hosts: {{good: , {}: }}\n"]
)
def test_a_host_name_that_is_not_text_is_refused_with_its_line(
    dlbox: Command, tmp_path: Path, name: str, where: str
) -> None:
    place = tmp_path / "hosts.yml"
    place.write_text(where.format(name), encoding="utf-8")
    for command in (("provision", "--check"), ("plan",)):
        ended = dlbox(*command, "--inventory", str(place), XDG_STATE_HOME=str(tmp_path))
        assert ended.returncode == 2
        assert (
            f"{place}, line {4 if where.startswith('all') else 2}: the name of the host {name} is"
            in ended.stderr
        )
        assert "Traceback" not in ended.stderr
    place.write_text(where.format(f'"{name}"').replace("~", "tilde"), encoding="utf-8")
    assert "is expected" not in dlbox("plan", "--inventory", str(place)).stderr.partition("quotes")[2]


@pytest.mark.parametrize(
    "name",
    [
        "../../etc",
        "/etc",
        "a/b",
        "a\0b",
        "-oProxyCommand=x",
        "a b",
        "a,b",
        "x" * 300,
        "~a",
        "!a",
        "&a",
        "@a",
        "",
    ],
)
def test_an_invalid_host_name_is_refused(dlbox: Command, tmp_path: Path, name: str) -> None:
    place = tmp_path / "hosts.yml"
    place.write_text(json.dumps({"all": {"hosts": {"good": {}, name: {}}}}), encoding="utf-8")
    ended = dlbox("provision", "--check", "--inventory", str(place), XDG_STATE_HOME=str(tmp_path))
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "Traceback" not in ended.stderr


def test_file_names_made_of_host_names_stay_in_their_folder(tmp_path: Path) -> None:
    names = ["desk-01", "desk.example.com", "..", ".", "", "/etc/passwd", "../x", "a/b", "a_b", "a\0b", "a\nb", "-a",
             ".a", "x" * 5000, "x" * 4999, "ü", "\ud800", *texts(tmp_path / "canary")]  # fmt: skip
    made = [safe_name(name) for name in names]
    assert made[:2] == names[:2]
    assert len(set(made)) == len(set(names))
    for name in made:
        assert re.fullmatch(r"[A-Za-z0-9_@+][A-Za-z0-9._@+-]{0,127}", name), name
        (tmp_path / name).touch()
        assert (tmp_path / name).parent == (tmp_path / name).resolve().parent


def test_messages_contain_no_control_characters() -> None:
    text = "a\x1b]0;title\x07b\x1b[31mc\u202ed\u2066e\x00f\x9bg"
    assert plain(text) == "a]0;titlebcdefg"
    assert plain("\ud800\ufeffa\u2028b") == "ab"
    assert shown(text).isprintable()
    assert plain("a\n\tb\r\n") == "a\n\tb\n"


@given(st.text())
def test_one_function_filters_the_messages_of_all_packages(text: str) -> None:
    """What ``visible`` escapes, ``plain`` removes; ``shown`` is ``shortened`` without credentials."""
    assert not UNSAFE.search(plain(text))
    if "://" not in text:
        assert shown(text) == shortened(text)
    assert shown(text).isprintable()
    assert len(shown(text)) <= 80


OPTIONS = ("", "--inventory", "--limit", "--framework", "--tags", "--stack", "--bundle", "--card", "--distro")


@pytest.mark.parametrize("option", OPTIONS)
def test_no_option_of_provision_is_evaluated(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each hostile text is refused with one line before Ansible runs, alone and beside a sound inventory."""
    canary = tmp_path / "canary"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(playbook, "run", lambda *given: pytest.fail(f"Ansible would run: {given[0]}"))
    sound = ["--inventory", str(inventory(tmp_path))]
    for text in (*texts(canary), "a\x1b[31mb\u202e", "\n", "../../etc/passwd"):
        for others in ([], sound) if option != "--inventory" else ([],):
            words = ["provision", "--check", *others, *([option, text] if option else ["--", text])]
            ended = CliRunner().invoke(cli, words, standalone_mode=False)
            assert isinstance(ended.exception, SystemExit | click.UsageError), (
                words,
                ended.exception,
                ended.output,
            )
            code = ended.exception.code if isinstance(ended.exception, SystemExit) else 2
            assert code in (1, 2), (words, ended.output)
            lines = ended.output.splitlines()
            assert all(line.startswith("  ") for line in lines[1:]), (
                words,
                ended.output,
            )  # they belong to the value
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", ended.output), words
    assert not canary.exists()


def test_gathered_facts_of_a_box_are_not_evaluated(tmp_path: Path) -> None:
    """Facts that Ansible itself gathers: the user, the environment, the path of Python. One host for each text."""
    canary = tmp_path / "canary"
    every = [
        *texts(canary),
        f"/usr/bin/python3; touch {canary};",
        f'/usr/bin/python3 -c \'open("{canary}", "w")\'',
    ]
    hosts = {f"desk{number}": {"ansible_connection": "local"} for number in range(len(every))}
    place = tmp_path / "hosts.yml"
    place.write_text(json.dumps({"all": {"hosts": hosts}}))
    facts = [
        {"env": {"SUDO_USER": text, "HOME": text}, "user_id": text, "python": {"executable": text},
         "distribution": text, "distribution_major_version": text, "packages": {text: [{"version": text}]}}
        for text in every
    ]  # fmt: skip
    names = sorted(facts[0])
    tasks = [
        {"name": "The facts are gathered",
         "ansible.builtin.set_fact": {**{name: "{{ given." + name + " }}" for name in names}, "cacheable": True}},
        {"name": "The facts are those of the box",
         "ansible.builtin.assert": {"that": "ansible_facts['user_id'] == given.user_id", "quiet": True}},
        {"name": "A script runs", "ansible.builtin.include_role": {"name": "record"}, "ignore_errors": True,
         "vars": {"record_path": str(tmp_path / "record.json")}},
        {"name": "The service of the user is planned", "ansible.builtin.include_role": {"name": "jupyter"},
         "vars": {"jupyter_lock": "/nowhere"}},
    ]  # fmt: skip
    outcome = run(
        tmp_path, *(json.dumps(task) for task in tasks), inventories=(place,), hosts=tuple(hosts), check=True,
        variables={
            name: {"given": fact, "ansible_become": False} for name, fact in zip(hosts, facts, strict=True)
        },
    )  # fmt: skip
    assert len(outcome.hosts) == len(every)
    for host in outcome.hosts:
        assert host.status == "failed", host
        assert "\n" not in (host.message or ""), host
    assert not canary.exists()


ROLE_VALUES: dict[str, Any] = {
    "ansible_managed": "managed",
    "nvidia_driver_apt_mirror": "http://mirror/debian",
    "nvidia_driver_branch": 580,
    "nvidia_driver_source": "prebuilt",
    "nvidia_driver_flavour": "open",
    "nvidia_driver_repository": {"uri": "https://a/b/"},
    "jupyter_port": 8888,
    "__nvidia_driver_missing": ["contrib", "non-free"],
    "distribution_release": {
        "archive": {
            "uri": "http://deb.debian.org/debian",
            "suites": ["trixie"],
            "keyring": "/usr/share/keyrings/a.gpg",
        },
    },
    "__nvidia_driver_files": {"keyring": "/etc/apt/keyrings/a.asc", "pin": "/etc/a"},
    "__nvidia_driver_compiled": True,
    "__nvidia_driver_finished": False,
    "__nvidia_driver_versions": {"a": "1"},
    "__nvidia_driver_before": ["bash"],
    "__nvidia_driver_earlier": {},
    "__nvidia_driver_new": ["a"],
    "__nvidia_driver_new_accounts": {},
    "__nvidia_driver_accounts": {"users": ["root"]},
    "__nvidia_driver_boot": "boot",
    "__bundle_place": "/opt/dlbox/bundle",
}
FROM_OUTSIDE = (
    "nvidia_driver_apt_mirror", "nvidia_driver_branch", "nvidia_driver_source", "nvidia_driver_repository",
    "jupyter_port", "__nvidia_driver_missing",
)  # fmt: skip
TEMPLATES = sorted(path.relative_to(ROLES) for path in ROLES.glob("*/templates/*.j2"))


@pytest.mark.parametrize("path", [path for path in TEMPLATES if path.name != "record.json.j2"], ids=str)
def test_a_hostile_value_adds_no_line_to_a_template(path: Path, tmp_path: Path) -> None:
    """Rendered without the checks of the roles: the same keys on the same lines, nothing evaluated."""
    templates = jinja2.Environment(  # noqa: S701 - files of apt and systemd, not HTML
        loader=jinja2.FileSystemLoader(ROLES), undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    template = templates.get_template(str(path))
    sound = template.render(ROLE_VALUES).splitlines()
    lines = {line.partition(" ")[0] for line in sound} | {line.partition(" ")[0] for line in pinned(template)}
    for text in (*texts(tmp_path / "canary"), "1\nExecStart=x", "a\r\nURIs: http://evil", "a\x0bPin: b"):
        for name in FROM_OUTSIDE:
            for _, values in placed(ROLE_VALUES[name], text):
                try:
                    rendered = template.render({**ROLE_VALUES, name: values})
                except (jinja2.UndefinedError, TypeError, AttributeError):
                    continue  # a value of a wrong type
                assert {line.partition(" ")[0] for line in rendered.split("\n")} <= lines | {""}, (name, text)


def pinned(template: jinja2.Template) -> list[str]:
    """The lines of the other branch of pin.j2."""
    return template.render({**ROLE_VALUES, "nvidia_driver_source": "nvidia-repository"}).splitlines()


ASSERTED = [
    ("network", "main", {}, "network_apt_mirror"),
    ("nvidia_driver", "components", {"nvidia_driver_components": ["main"]}, "nvidia_driver_apt_mirror"),
    (
        "nvidia_driver", "repository",
        {"nvidia_driver_repository": {"uri": "https://a/", "key_url": "https://a/b", "fingerprint": "A" * 40}},
        "nvidia_driver_repository.uri",
    ),
    ("jupyter", "main", {"jupyter_lock": "/nowhere"}, "jupyter_user"),
    ("record", "packages", {}, "record_packages.0"),
]  # fmt: skip


@pytest.mark.parametrize(("role", "entry", "values", "field"), ASSERTED, ids=lambda value: str(value)[:40])
def test_a_role_refuses_a_hostile_value_before_any_change(
    tmp_path: Path, role: str, entry: str, values: dict[str, Any], field: str
) -> None:
    canary = tmp_path / "canary"
    name, _, inner = field.partition(".")
    for text in (texts(canary)[0], "http://a\nURIs: http://evil", "-o=x"):
        value: Any = {**values[name], inner: text} if inner == "uri" else [text] if inner == "0" else text
        include = {"name": role, "tasks_from": entry}
        path = tmp_path / "one.yml"
        path.write_text(
            json.dumps(
                [
                    {
                        "hosts": "all",
                        "gather_facts": False,
                        "tasks": [{"ansible.builtin.include_role": include}],
                    }
                ]
            )
        )
        outcome = playbook.run(
            PlaybookJob(playbook=path, check=True, variables={"localhost": {**values, name: value}}),
            RecordingProgress(),
            tmp_path / "l",
        )
        host = only(outcome)
        assert host.status == "failed", (text, host)
        assert host.changed == ()
        assert re.search(
            "is not an address|is not a user name|name that no package can have", host.message or ""
        ), host
        assert not canary.exists()


def test_no_task_uses_a_shell_or_a_command_string_with_values() -> None:
    """A command that contains a value is a list of arguments."""
    for path in sorted([*ROLES.glob("*/tasks/*.yml"), *ROLES.glob("*/handlers/*.yml")]):
        for task in tasks_of(yaml.safe_load(path.read_text())):
            assert not {"ansible.builtin.shell", "ansible.builtin.raw", "shell", "raw"} & set(task), path
            command = task.get("ansible.builtin.command")
            if isinstance(command, dict) and "cmd" in command:
                assert "{{" not in command["cmd"], (path, command)


def tasks_of(document: Any) -> list[dict[str, Any]]:
    found = []
    for task in document or []:
        found.append(task)
        for part in ("block", "rescue", "always"):
            found += tasks_of(task.get(part))
    return found
