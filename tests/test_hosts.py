"""Reading an Ansible inventory for a plan."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.hosts.hosts import HostError, default_inventory, read_host, select
from provision.hosts.inventory_file import Inventory, expand
from tests.conftest import ROOT

INVENTORY = """
all:
  vars: {distribution: ubuntu-24.04, kernel: from-all}
  hosts:
    lonely: {card: GTX 970}
  children:
    school:
      vars: {kernel: from-school}
      children:
        classroom:
          vars: {card: RTX 3060, secure_boot: true, secret: !vault "xyz"}
          hosts:
            desk-01:
            desk-02: {card: GTX 1060, ansible_host: 192.0.2.12}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.yml"
    path.write_text(INVENTORY, encoding="utf-8")
    return path


def test_a_host_inherits_the_variables_of_its_groups(place: Path) -> None:
    host = read_host("desk-01", place)
    assert (host.card_names, host.distribution, host.kernel) == (("RTX 3060",), "ubuntu-24.04", "from-school")
    assert host.secure_boot is True


def test_variables_of_the_host_win(place: Path) -> None:
    assert read_host("desk-02", place).card_names == ("GTX 1060",)
    assert read_host("lonely", place).kernel == "from-all"


def test_group_vars_and_host_vars_beside_the_inventory_are_read(place: Path) -> None:
    for name, text in {
        "group_vars/all.yml": "distribution: debian-12\nframeworks: [jax]",
        "group_vars/classroom/cards.yml": "cards: [RTX 3060, RTX 3060]",
        "group_vars/classroom/vault.yml": "$ANSIBLE_VAULT;1.1;AES256\n6162",
        "host_vars/desk-02.yaml": "distribution: debian-13\ncuda_toolkit: true",
    }.items():
        path = place.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    first, second = read_host("desk-01", place), read_host("desk-02", place)
    assert (first.distribution, first.card_names) == ("debian-12", ("RTX 3060", "RTX 3060"))
    assert first.frameworks == ("jax",)
    assert (second.distribution, second.cuda_toolkit) == ("debian-13", True)


def test_an_unknown_host_is_refused_with_existing_ones(place: Path) -> None:
    with pytest.raises(
        HostError, match=r'no host "desk-99" .did you mean desk-0... in .*: it has desk-01, desk-02, lonely'
    ):
        read_host("desk-99", place)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "all: {hosts: {box: {secure_boot: maybe}}}",
            r"hosts.yml, line 1: `secure_boot` is expected to be true or false, got `maybe`",
        ),
        (
            "all: {hosts: {box: {frameworks: [caffe]}}}",
            r"line 1: `frameworks\[0\]`|entry 1 of `frameworks` is expected to be .*`torch`.*got `caffe`",
        ),
        ("all: {hosts: {box: {cards: RTX 3060}}}", r"`cards` is expected to be a list, got `RTX 3060`"),
        ("all: [", "not valid YAML"),
        ("- box", "is expected to be an inventory: a mapping"),
        ("", 'no host "box" in .*: it has none'),
        ("all: {hosts: [box]}", r"hosts is expected to be a mapping, as in `hosts: {desk-01: }`"),
        ("all: {hosts: {box: , box: }}", r'line 1: not valid YAML: "box" is given twice, first on line 1'),
        ("all: 3", 'group "all" of .* is expected to be a mapping'),
        ("all: {hosts: {box: {card: '{{ usual }}'}}}", "`card` of box is a template"),
        ("all:\n  hosts:\n    box:\n      kernel: 6.8", "line 4: `kernel` is expected to be text, got `6.8`"),
        ("a: {children: {b: {children: {a: }}}, hosts: {box: }}", "is a child of itself"),
        ("all: {hosts: {'box[3:1]': }}", "is empty"),
    ],
)
def test_errors_are_one_sentence(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HostError, match=expected) as caught:
        read_host("box", path)
    assert "\n" not in str(caught.value)


def test_a_missing_inventory(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"cannot read .*No such file"):
        read_host("box", tmp_path / "hosts.yml")


def test_the_shipped_inventory_has_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_inventory().name == "hosts.yml"
    assert read_host("localhost").is_this_machine


CLASSROOM = """
all:
  vars: {card: from-all, kernel: "1.0"}
  children: {school: }
school:
  vars: {card: from-school, cuda_toolkit: true}
  children: {room: , zoo: {vars: {kernel: "2.0"}}}
room:
  vars: {card: RTX 3060, distribution: ubuntu-24.04}
  hosts:
    desk-[01:10]:
    teacher: {card: RTX 4090}
zoo: {hosts: {desk-03: {secure_boot: false}, teacher: }}
abc: {vars: {kernel: "3.0", ansible_group_priority: 5}, hosts: {desk-04: }}
lab: {hosts: {"lab-[a:c]": {distribution: debian-12}, "[1:7:3]-up": }}
"""
FILES = {
    "group_vars/all.yml": "distribution: debian-13\ncard: file-all",
    "group_vars/zoo/b.yml": "card: file-zoo",
    "group_vars/zoo/a/deep.yaml": "card: too-early\nframeworks: [jax]",
    "group_vars/lab": "frameworks: [torch]",
    "group_vars/lab.yml": "frameworks: [never-read]",
    "host_vars/desk-04.yml": "card: RTX 5060",
}


@pytest.fixture
def classroom(tmp_path: Path) -> Path:
    for name, text in {"hosts.yml": CLASSROOM, **FILES}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "hosts.yml"


def test_hosts_and_variables_match_those_of_ansible(classroom: Path) -> None:
    """Ranges, groups with two parents, priorities and file order, compared with `ansible-inventory`."""
    command = [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(classroom), "--list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=classroom.parent)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)["_meta"]["hostvars"]
    ours = Inventory(classroom)
    assert len(ours.hosts) == 17
    for host in ours.hosts:
        mine = {name: entry.value for name, entry in ours.variables(host).items()}
        mine.pop("ansible_group_priority", None)  # in Ansible it is a property of the group
        assert mine == theirs.get(host, {}), host


def test_select_by_host_pattern_group_or_all(classroom: Path) -> None:
    assert select(["all"], classroom) == Inventory(classroom).hosts
    assert select(["lab"], classroom) == ("lab-a", "lab-b", "lab-c", "1-up", "4-up", "7-up")
    assert select(["desk-0*", "desk-01", "teacher"], classroom)[-1] == "teacher"
    assert len(select(["school"], classroom)) == 11, "the hosts of its children"
    with pytest.raises(HostError, match='no host "cellar"'):
        select(["cellar"], classroom)


def test_unambiguous_values_of_another_type_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text("all: {hosts: {box: {card: 3060, frameworks: torch}, two: {cards: [3060, 1060]}}}")
    assert (read_host("box", path).card, read_host("box", path).frameworks) == ("3060", ("torch",))
    assert read_host("two", path).card_names == ("3060", "1060")


def test_a_vaulted_file_is_skipped(classroom: Path) -> None:
    (classroom.parent / "group_vars/all.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n6162")
    assert read_host("desk-01", classroom).card == "RTX 3060"


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("desk", ["desk"]),
        ("d[1:3]", ["d1", "d2", "d3"]),
        ("d[08:10]", ["d08", "d09", "d10"]),
        ("d[a:c]", ["da", "db", "dc"]),
        ("r[1:2]-[1:2]", ["r1-1", "r2-1", "r1-2", "r2-2"]),
        ("d[:2]", ["d0", "d1", "d2"]),
    ],
)
def test_ranges(pattern: str, hosts: list[str]) -> None:
    assert sorted(expand(pattern)) == sorted(hosts)


@given(st.text(max_size=120) | st.text("abchostsildren{}[]:,!&* \n\t-'\"01", max_size=120))
@settings(max_examples=150, deadline=None)
def test_any_file_is_an_inventory_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yml"
    path.write_text(text, encoding="utf-8", errors="replace")
    message = ""
    try:
        read_host("box", path)
    except HostError as error:
        message = str(error)
    assert "\n" not in message.replace(str(path), "")


def test_devices_and_folders_are_refused(tmp_path: Path) -> None:
    for path, words in ((Path("/dev/zero"), "a device, not a regular file"), (tmp_path, "Is a directory")):
        with pytest.raises(HostError, match=words):
            read_host("box", path)


def test_the_example_in_the_guide_is_a_valid_inventory(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "guides" / "hosts.md").read_text(encoding="utf-8")
    path = tmp_path / "room.yml"
    path.write_text(page.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    assert len(select(["classroom"], path)) == 11
    assert read_host("desk-07", path).card_names == ("RTX 3060",)
    assert read_host("desk-11", path).frameworks == ("torch",)
