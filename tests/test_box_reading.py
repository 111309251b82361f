"""The check of a box's facts: valid ones are accepted unchanged, others are refused with the name of the field."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.terminal.console import Console
from inventory.machine.records import Distribution, Host, Machine
from provision.ansible import playbook, variables
from provision.ansible.outcome import HostOutcome, PlaybookOutcome
from provision.ansible.playbook import PlaybookJob
from provision.artifacts import environments, own_wheel
from provision.artifacts.own_wheel import OwnWheel
from provision.commands.install import ProvisionRun
from provision.commands.interaction import Interaction
from provision.commands.options import ProvisionOptions
from provision.commands.provision import is_success, run
from provision.resolve import box_reading, boxes
from provision.resolve.box_reading import ReadingError
from provision.resolve.load import load
from tests.hostile import placed, texts
from tests.test_playbook import RecordingProgress
from tests.test_variables import read, root

__all__ = ["root"]  # a fixture: the files of a box

READING: dict[str, Any] = {
    "schema_version": 1,
    "machine_type": "x86_64",
    "kernel": "6.8.0-151-generic",
    "kernels": ["5.15.0+", "6.1.0-40-amd64", "6.8.0-151-generic"],
    "distribution": {"id": "ubuntu", "version": "24.04", "codename": "noble"},
    "environment": "bare-metal",
    "secure_boot": None,
    "cards": [{"address": "0000:01:00.0", "device_id": 0x2503, "driver": "nouveau"}],
    "modules": ["nouveau", "nvidia_uvm"],
    "module_version": "580.178.04",
    "cpu_flags": ["avx", "avx2"],
    "packages": {"nvidia-driver-580": "580.178.04-0ubuntu1", "libnvidia-egl-wayland1": "1:1.1.13-1~x"},
    "repositories": [{"file": "/etc/apt/sources.list.d/a (1).list", "uri": "developer.download.nvidia.com/compute"}],
    "runfile": ["/usr/bin/nvidia-uninstall"],
    "locks": [{"file": "/var/lib/dpkg/lock", "pid": 77, "name": "unattended-upgr"}],
    "interrupted": False,
    "free_bytes": {"/": 1 << 35, "/boot": None, "/usr": 0},
    "apt_packages": ["linux-headers-generic", "linux-modules-nvidia-580-open-6.8.0-151-generic"],
    "compiled_headers": ["6.8.0-151-generic"],
    "file_systems": {"/": 2049, "/boot": None},
    "initramfs": {"files": 2, "largest": 83886080, "has_driver": True},
    "environments": ["tensorflow", "dlbox"],
}  # fmt: skip


def test_valid_facts_are_accepted_unchanged(root: Path) -> None:
    assert box_reading.read(READING) == READING
    real = read(root)
    assert box_reading.read(real) == real
    assert set(READING) == set(real) == {*box_reading.READING.required, *box_reading.READING.optional}


def test_hostile_text_is_refused_in_every_field(tmp_path: Path) -> None:
    for text in texts(tmp_path / "canary"):
        for where, hostile in placed(READING, text):
            passes = hostile
            with contextlib.suppress(ReadingError):
                passes = box_reading.read(hostile)
                # A key that no field has: it is dropped.
                assert where.startswith(" key ") or " key codename" in where or " key driver" in where, where
            assert passes is hostile or text not in json.dumps(passes)
            with contextlib.suppress(ReadingError):
                asked = variables.request(hostile)
                assert text not in msgspec.json.encode(asked).decode(), where


FIELDS = [
    ("kernel", "6.8-{{ x }}", 'field "kernel" is not a kernel release: "6.8-{{ x }}"'),
    ("kernel", "-6.8", 'field "kernel" is not a kernel release: "-6.8"'),
    ("kernel", "6.8-", "kernel release"),
    ("kernel", "6.8\n", "kernel release"),
    ("kernel", "x" * 81, f'"{"x" * 79}…"'),
    ("kernel", "6.8\x1b[31m\u202e", r'"6.8\u001b[31m\u202e"'),
    ("kernel", None, 'field "kernel" is not a kernel release: None'),
    ("kernels", ["6.8", "6.9 custom"], 'field "kernels[1]" is not a kernel release: "6.9 custom"'),
    ("kernels", ["6.8"] * 201, 'field "kernels" has 201 entries'),
    ("kernels", "6.8", 'field "kernels" is not a list: "6.8"'),
    ("distribution", {"id": "Ubuntu 24", "version": ""}, 'field "distribution.id" is not the id of a distribution'),
    ("distribution", {"id": "debian"}, 'field "distribution.version" is missing'),
    ("distribution", [], 'field "distribution" is not a mapping'),
    ("environment", "moon", 'field "environment" is not bare-metal, virtual-machine, container or wsl2: "moon"'),
    ("secure_boot", "yes", 'field "secure_boot" is not true or false: "yes"'),
    ("secure_boot", 1, 'field "secure_boot" is not true or false: 1'),
    ("cards", [{"address": "01:00.0", "device_id": 1}], 'field "cards[0].address" is not a PCI address'),
    ("cards", [{"address": "0000:01:00.0", "device_id": 65536}], 'field "cards[0].device_id" is not a PCI device id'),
    ("cards", [{"address": "0000:01:00.0", "device_id": True}], 'field "cards[0].device_id" is not a PCI device id'),
    ("cards", [{"address": "0000:01:00.0", "device_id": 10**5000}], "a value of type int"),
    ("cards", [{"address": "0000:01:00.0", "device_id": 1}] * 65, 'field "cards" has 65 entries'),
    ("packages", {"a b": "1"}, 'field "packages" is not the name of a package: "a b"'),
    ("packages", {"a": "1 2"}, 'field "packages[a]" is not the version of a package'),
    ("free_bytes", {"/": -1}, 'field "free_bytes[/]" is not a number of free bytes: -1'),
    ("free_bytes", {"/": 1.5}, 'field "free_bytes[/]" is not a number of free bytes: 1.5'),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value", "words"), FIELDS)
def test_the_message_names_the_field_and_shortens_its_value(field: str, value: object, words: str) -> None:
    with pytest.raises(ReadingError) as caught:
        box_reading.read({**READING, field: value})
    message = str(caught.value)
    assert words in message
    assert len(message) < 200
    assert message.isprintable()


@pytest.mark.parametrize("name", sorted(box_reading.READING.required))
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(ReadingError, match=f'field "{name}" is missing'):
        box_reading.read({key: value for key, value in READING.items() if key != name})


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(ANYTHING, st.sampled_from(sorted(READING)))
def test_any_facts_are_accepted_or_refused(value: Any, field: str) -> None:
    for document in (value, {**copy.deepcopy(READING), field: value}):
        found, refusal = judged(document)
        assert refusal.isprintable()
        assert len(refusal) < 500
        if not refusal:
            assert box_reading.read(found) == found
            json.dumps(found, allow_nan=False)


def judged(document: Any) -> tuple[Any, str]:
    try:
        return box_reading.read(document), ""
    except ReadingError as error:
        return None, str(error)


@pytest.mark.parametrize(
    "host",
    [
        Host(kernel="6.8-{{ x }}"),
        Host(architecture="x86 64"),
        Host(distribution=Distribution(id="ubuntu; id", version="24.04")),
        Host(distribution=Distribution(id="ubuntu", version="24.04\n")),
    ],
)
def test_the_facts_of_this_machine_are_checked_too(host: Host) -> None:
    with pytest.raises(ReadingError, match="field "):
        boxes.of_machine(Machine(host=host, read_at="2026-01-01T00:00:00Z"))


class Messages(list[str]):
    """Records error messages."""

    def __call__(self, sentence: str) -> None:
        self.append(sentence)


@contextlib.contextmanager
def open_progress() -> Iterator[RecordingProgress]:
    yield RecordingProgress()


def box(name: str, reading: Any, **fields: Any) -> HostOutcome:
    return HostOutcome(**{"name": name, "status": "ok", "box": reading, **fields})


def provision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, looked: tuple[HostOutcome, ...], **options: Any
) -> tuple[int, Messages, list[PlaybookJob]]:
    """Run `provision` with an inventory of these hosts; in the second playbook all hosts are ready."""
    jobs: list[PlaybookJob] = []

    def play(job: PlaybookJob, *rest: object) -> PlaybookOutcome:
        jobs.append(job)
        ready = tuple(HostOutcome(name=name, status="changed", verdict="ready") for name in job.variables)
        hosts = looked if job.playbook.stem == "preflight" else ready
        return PlaybookOutcome(playbook=job.playbook.stem, check=job.check, seconds=1.0, hosts=hosts)

    monkeypatch.setattr(playbook, "run", play)
    monkeypatch.setattr(own_wheel, "build", lambda folder: OwnWheel(path=folder / "dlbox.whl", sha256="ab"))
    monkeypatch.setattr(environments, "role_variables", lambda stack, *rest, **options: {"branch": 1})
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    place = tmp_path / "hosts.yml"
    place.write_text(json.dumps({"all": {"hosts": {host.name: {} for host in looked}}}), encoding="utf-8")
    messages = Messages()
    asked = ProvisionOptions(inventory=place, **options)
    code = run(asked, Interaction(open_progress, lambda question: True, messages, True))
    return code, messages, jobs


@pytest.mark.parametrize("check", [False, True])
def test_a_box_with_invalid_facts_fails_and_the_others_continue(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], check: bool
) -> None:
    hostile = {**READING, "kernels": ["6.8-{{ lookup('pipe', 'id > pwned') }}"]}
    looked = (
        box("bad", hostile),
        box("good", READING),
        box("worse", {}, status="failed", task="a", message="b"),
    )
    code, messages, jobs = provision(monkeypatch, tmp_path, looked, check=check)
    assert code == 1
    assert [job.playbook.stem for job in jobs] == ["preflight", "site"]
    assert jobs[1].limit == "good"
    assert jobs[1].hosts == ("good",)
    assert list(jobs[1].variables) == ["good"]
    assert "pwned" not in json.dumps(jobs[1].variables)
    assert any(
        'bad: task "The facts of the box are checked" failed: field "kernels[0]" is not' in line
        for line in messages
    )
    document = json.loads(capsys.readouterr().out)
    assert document["succeeded"] is False
    assert [(host["name"], host["status"]) for host in document["hosts"]] == [
        ("bad", "failed"), ("good", "changed"), ("worse", "failed"),
    ]  # fmt: skip


def test_if_all_boxes_have_invalid_facts_nothing_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, messages, jobs = provision(monkeypatch, tmp_path, (box("bad", {**READING, "kernel": "a b"}),))
    assert (code, len(jobs)) == (1, 1)
    assert "kernel release" in messages[0]


@pytest.mark.parametrize("verdict", ["uncertain", "unknown", "fine", "{{ 1 }}", ""])
def test_only_a_good_verdict_is_success(verdict: str) -> None:
    host = HostOutcome(name="desk", status="ok", verdict="ready")
    outcome = PlaybookOutcome(playbook="site", check=False, seconds=1.0, hosts=(host,))
    assert is_success(outcome)
    wrong = msgspec.structs.replace(host, verdict=verdict)
    assert not is_success(msgspec.structs.replace(outcome, hosts=(host, wrong)))


def test_a_requested_driver_and_what_apt_offers_reach_the_request() -> None:
    options = ProvisionOptions(branch=595, flavour="open", pypi_only=True)
    interaction = Interaction(RecordingProgress, None, print, False)
    found = ProvisionRun(options, load(), interaction, Console(quiet=True))._request("here", READING)
    assert (found.branch, found.flavour, found.further_indexes) == (595, "open", False)
    assert found.apt_packages == tuple(READING["apt_packages"])
    assert found.compiled_headers == ("6.8.0-151-generic",)
