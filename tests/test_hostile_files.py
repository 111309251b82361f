"""Hostile text in the fields of a stack file, a manifest and options: refused by field, never evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from dlbox import cli  # noqa: TID251 - the command is what is tested
from provision.artifacts import bundle
from provision.artifacts.bundle import BundleError
from provision.commands.options import ProvisionOptions, conflict
from provision.resolve.load import DEFAULT_PATH, StackFileError, parse
from tests.hostile import placed, texts
from tests.test_playbook import RecordingProgress

STACK = yaml.safe_load(DEFAULT_PATH.read_text(encoding="utf-8"))
FREE_TEXT = {"source", "why", "cards", "kind", "name"}
"""Only displayed: part of no package name and no file."""


def test_hostile_text_in_a_stack_file_is_refused_or_only_displayed(tmp_path: Path) -> None:
    """In each field of the first row of each table."""
    text = texts(tmp_path / "canary")[0]
    for table, rows in STACK.items():
        if not isinstance(rows, list):
            continue
        for where, row in placed(rows[0], text):
            hostile = {**STACK, table: [row, *rows[1:]]}
            refusal = refused(yaml.safe_dump(hostile, sort_keys=False))
            field = where.lstrip(".").partition(".")[0]
            assert refusal or field in FREE_TEXT, (table, where)
            assert len(refusal) < 700


def refused(content: str) -> str:
    try:
        parse(content)
    except StackFileError as error:
        return str(error)
    return ""


MANIFEST = {
    "contents": {
        "distribution": "debian-12", "cards": ["GTX 1060"], "packages": ["g++"], "python": "3.11 distribution",
        "environments": {"tensorflow": {"keras": "3.9.0"}}, "jupyter": True,
    },
    "wheel": "dlbox-0.1.0-py3-none-any.whl",
    "files": {"dlbox-0.1.0-py3-none-any.whl": {"sha256": "0" * 64, "bytes": 3}},
    "schema_version": 1,
}  # fmt: skip


def test_hostile_text_in_a_manifest_is_refused(tmp_path: Path) -> None:
    for text in texts(tmp_path / "canary"):
        for where, hostile in placed(MANIFEST, text):
            if where == ".contents.cards[0]":
                continue  # free text, only compared and displayed
            (tmp_path / bundle.MANIFEST).write_text(json.dumps(hostile), encoding="utf-8")
            with pytest.raises(BundleError) as caught:
                bundle.read(tmp_path, RecordingProgress())
            assert "\n" not in str(caught.value)
            assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"[" * 100_000, b"{}", b"", b'{"wheel": "a"}', b"null", b"1" * 5000]
)
def test_an_invalid_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / bundle.MANIFEST).write_bytes(content)
    with pytest.raises(BundleError):
        bundle.read(tmp_path, RecordingProgress())


@pytest.mark.parametrize("name", ['a"; APT::Update::Pre-Invoke {"touch canary"}; //', "a\nb", "a\\b"])
def test_a_bundle_path_that_breaks_apt_syntax_is_refused(name: str, tmp_path: Path) -> None:
    assert "--bundle" in (conflict(ProvisionOptions(bundle=tmp_path / name)) or "")
    assert conflict(ProvisionOptions(bundle=tmp_path / "a folder (1)")) is None


def test_hostile_options_of_plan_are_not_evaluated(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    place = tmp_path / "hosts.yml"
    for text in texts(canary):
        place.write_text(
            json.dumps({"all": {"hosts": {"desk": {"card": text, "distribution": text, "kernel": text}}}})
        )
        calls: tuple[tuple[str, ...], ...] = (
            (f"--card={text}", "--distro=ubuntu-24.04"),
            ("--card=RTX 3060", f"--distro={text}"),
            ("--card=RTX 3060", "--distro=ubuntu-24.04", f"--kernel={text}"),
            ("--inventory", str(place), "--host=desk"),
        )
        for call in calls:
            assert plan_of(call) in (1, 2), call
            assert not canary.exists()


def plan_of(words: tuple[str, ...]) -> int:
    """The exit code of `dlbox plan`, run in this process; any exception except SystemExit fails the test."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["plan", *words])
    return int(ended.value.code or 0)
