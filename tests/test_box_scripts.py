"""Small scripts that look at a box: what is there of what is about to come, and which certificates are trusted."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from provision.playbook import HOUSE
from tests.conftest import script

THERE = HOUSE / "roles/record/files/there.py"
TRUSTED = HOUSE / "roles/network/files/trusted.py"
there = script(THERE)


def ask(record: Path, **other: Any) -> dict[str, Any]:
    told: dict[str, Any] = there.look({"record": str(record), **other})
    return told


def test_what_is_missing_is_told_beside_the_record(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    assert ask(record) == {"record": None, "missing": []}
    record.write_text(json.dumps({"files": ["/opt/dlbox"], "installed": []}))
    (tmp_path / "link").symlink_to("/nowhere")
    files = [str(tmp_path), str(tmp_path / "link"), str(tmp_path / "none")]
    assert ask(record, files=files) == {
        "record": {"files": ["/opt/dlbox"], "installed": []},
        "missing": [str(tmp_path / "none")],
    }


def test_a_package_counts_when_it_is_installed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = "installed python3\nhalf-configured python3-venv\nconfig-files gpg\n"
    program = tmp_path / "dpkg-query"
    program.write_text(f"#!/bin/sh\nprintf '{told}'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    wanted = ["python3", "python3-venv", "gpg", "no-such-thing"]
    assert ask(tmp_path / "none", packages=wanted)["missing"] == wanted[1:]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": 3}', "\\x00"])
def test_a_record_that_is_none_is_refused_in_a_sentence(tmp_path: Path, content: str) -> None:
    record = tmp_path / "record.json"
    record.write_text(content)
    done = subprocess.run(
        [sys.executable, str(THERE), json.dumps({"record": str(record)})],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{record}, where dlbox keeps what it changed, cannot be read (")
    assert "Traceback" not in done.stderr


def certificates(how: str, folder: Path, company: str) -> str:
    places = [str(folder / name) for name in ("ca.pem", "company.pem", "box.pem")]
    digest = hashlib.sha256(company.encode()).hexdigest()
    return subprocess.check_output([sys.executable, str(TRUSTED), how, *places, digest], text=True).strip()


def test_certificates_are_those_of_the_box_and_of_the_company(tmp_path: Path) -> None:
    company = "the company's\n"
    (tmp_path / "box.pem").write_text("the box's\n")
    assert certificates("look", tmp_path, company) == "wrong"
    assert not (tmp_path / "ca.pem").exists()
    (tmp_path / "company.pem").write_text(company)
    assert certificates("make", tmp_path, company) == "wrong"
    assert certificates("look", tmp_path, company) == "right"
    assert (tmp_path / "ca.pem").read_text() == "the box's\n\nthe company's\n"
    (tmp_path / "box.pem").write_text("the box's of tomorrow\n")
    assert certificates("look", tmp_path, company) == "wrong", "the box's own were renewed"
    certificates("make", tmp_path, company)
    assert certificates("look", tmp_path, "another's\n") == "wrong", "the inventory names others now"
