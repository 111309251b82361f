"""The table of chip architectures, which the resolver, the catalogue of cards and the health checks share."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from bench.health import checks
from bench.health.causes.situation import OLDEST_BRANCH
from common.file_access.yaml_lines import YamlError
from inventory.cards import architectures, cards
from inventory.cards.catalogue_file import Architecture
from provision.resolve.load import load

TEXT = architectures.PATH.read_text(encoding="utf-8")


def test_the_table_has_every_architecture_of_the_catalogue() -> None:
    names = [row.name for row in architectures.shipped()]
    assert set(names) == {*get_args(Architecture), "kepler"}
    assert load().architectures == architectures.shipped()


def test_cards_take_branches_and_modules_from_the_table() -> None:
    for card in cards.catalogue():
        row = architectures.find(card.architecture)
        assert row is not None
        assert card.compute_capability in row.capabilities
        assert card.last_driver_branch == row.last_branch
        assert card.min_driver_branch == row.first_branch_of_chip(card.chip)
        for pci_id in card.pci_ids:
            assert card.min_driver_branch == row.first_branch_of(int(pci_id.partition(":")[2], 16)), card.name
        assert card.module_flavour == row.module_flavour


@pytest.mark.parametrize(
    ("name", "device_id", "branch"),
    [
        ("ampere", 0x2503, 455),  # RTX 3060: 455.23.04 is the first driver for RTX 30
        ("ampere", 0x2204, 455),  # RTX 3090
        ("ampere", 0x20B0, 450),  # A100
        ("ada", 0x2684, 520),  # RTX 4090
        ("blackwell", 0x2B85, 570),  # RTX 5090
        ("turing", 0x1E04, 410),  # RTX 2080 Ti
    ],
)
def test_the_first_branch_depends_on_the_chip(name: str, device_id: int, branch: int) -> None:
    row = architectures.find(name)
    assert row is not None
    assert row.first_branch_of(device_id) == branch


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: pascal", "name: volta", "`volta` has a row already"),
        ("flavours: [closed]", "flavours: []", "`flavours` must be open, closed or both"),
        ('assumed_capability: "5.0"', 'assumed_capability: "5.1"', "must be one of 5.0, 5.2"),
        ("last_branch: 470", "last_branch: 1", "`last_branch` must not be below"),
        ("first_branch: 304", "first_branch: 0", "`first_branch`"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in TEXT
    path = tmp_path / "architectures.yml"
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(YamlError, match=expected):
        architectures.read(path)


def test_both_variants_of_the_modules_are_either() -> None:
    row = architectures.shipped()[-1]
    assert row.module_flavour == "open"
    assert msgspec.structs.replace(row, flavours=("closed", "open")).module_flavour == "either"


def test_the_text_of_the_branch_check_agrees_with_the_table() -> None:
    limits = next(check.limits for check in checks() if check.id == "driver.branch")
    ended = [row for row in architectures.shipped() if row.last_branch is not None and row.name != "kepler"]
    last = {row.last_branch for row in ended}
    names = ", ".join(row.name.capitalize() for row in ended[:-1]) + f" and {ended[-1].name.capitalize()}"
    assert f"{names}: up to {last.pop()};" in limits
    assert not last
    blackwell = architectures.find("blackwell")
    assert blackwell is not None
    assert f"RTX 50: {blackwell.first_branch} or later" in limits
    assert f"{OLDEST_BRANCH} or later for CUDA 12" in limits
