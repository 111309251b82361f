"""What a plan takes from an Ansible inventory."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.hosts import HostError, default_place, read_host

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


def test_a_host_has_what_its_groups_say(place: Path) -> None:
    host = read_host("desk-01", place)
    assert (host.card_names, host.distribution, host.kernel) == (("RTX 3060",), "ubuntu-24.04", "from-school")
    assert host.secure_boot is True


def test_the_host_itself_wins(place: Path) -> None:
    assert read_host("desk-02", place).card_names == ("GTX 1060",)
    assert read_host("lonely", place).kernel == "from-all"


def test_group_vars_and_host_vars_lie_beside_the_inventory(place: Path) -> None:
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


def test_an_unknown_host_is_answered_with_those_there_are(place: Path) -> None:
    with pytest.raises(HostError, match=r'no host "desk-99" in .*: it has desk-01, desk-02, lonely'):
        read_host("desk-99", place)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all: {hosts: {box: {secure_boot: maybe}}}", 'host "box" of .*: secure_boot: expected bool'),
        ("all: {hosts: {box: {frameworks: [caffe]}}}", r"frameworks\[0\]: invalid enum value 'caffe'"),
        ("all: {hosts: {box: {cards: RTX 3060}}}", "cards: expected array"),
        ("all: [", "not valid YAML"),
        ("- box", "is expected to be an inventory: a mapping"),
        ("", 'no host "box" in .*: it has none'),
        ("all: {hosts: [box]}", 'no host "box" in .*: it has none'),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HostError, match=expected) as caught:
        read_host("box", path)
    assert "\n" not in str(caught.value)


def test_no_inventory_at_all(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"cannot read .*No such file"):
        read_host("box", tmp_path / "hosts.yml")


def test_the_shipped_inventory_has_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_place().name == "hosts.yml"
    assert read_host("localhost").is_this_machine
