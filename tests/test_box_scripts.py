"""Small scripts that look at a box: what is there of what is about to come, and which certificates are trusted."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from provision import PROVISION_DIR
from tests.conftest import script

RECORD = PROVISION_DIR / "roles/record/files/record.py"
TRUSTED = PROVISION_DIR / "roles/network/files/trusted.py"
recorder = script(RECORD)
trained = script(PROVISION_DIR / "playbooks/files/trained.py")


def ask(record: Path, **other: Any) -> dict[str, Any]:
    told: dict[str, Any] = recorder.look({"record": str(record), **other})
    return told


def test_what_is_missing_is_told_beside_the_record(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    assert ask(record) == {"record": None, "missing": [], "changed": False}
    record.write_text(json.dumps({"files": ["/opt/dlbox"], "installed": []}))
    (tmp_path / "link").symlink_to("/nowhere")
    files = [str(tmp_path), str(tmp_path / "link"), str(tmp_path / "none")]
    assert ask(record, files=files) == {
        "record": {"files": ["/opt/dlbox"], "installed": []},
        "missing": [str(tmp_path / "none")],
        "changed": False,
    }


def test_what_is_missing_is_put_down_once_and_what_was_there_never(tmp_path: Path) -> None:
    record, there, none = tmp_path / "lib/record.json", tmp_path / "there", tmp_path / "none"
    there.touch()
    question = {"files": [str(there), str(none)], "note": "files"}
    assert ask(record, **question, write=False)["changed"]
    assert not record.exists()
    first = ask(record, **question, write=True)
    assert (first["changed"], first["record"]["files"]) == (True, [str(none)])
    assert json.loads(record.read_text()) == first["record"]
    assert (record.stat().st_mode & 0o777, record.parent.stat().st_mode & 0o777) == (0o644, 0o755)
    assert ask(record, **question, write=True) == {**first, "changed": False}
    none.touch()
    assert ask(record, **question, write=True)["record"]["files"] == [str(none)]


def packages(monkeypatch: pytest.MonkeyPatch, folder: Path, told: str) -> None:
    for name, answer in {"dpkg": "amd64\n", "dpkg-query": told}.items():
        (folder / name).write_text(f"#!/bin/sh\nprintf '%s' '{answer}'\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_what_came_is_what_was_not_there_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "record.json"
    had = "installed apt amd64\nconfig-files gpg amd64\ninstalled tzdata all\n"
    packages(monkeypatch, tmp_path, had)
    before = ask(record, note="before", write=True)["record"]
    assert before["before"] == ["apt", "tzdata"]
    packages(monkeypatch, tmp_path, had + "half-configured python3 amd64\ninstalled libc6 i386\n")
    assert ask(record, note="before", write=True)["changed"] is False, "a run that was cut off knows best"
    came = ask(record, note="came", write=True)["record"]
    assert (came["installed"], came["before"]) == (["libc6:i386", "python3"], None)
    assert ask(record, note="came", write=True)["changed"] is False


def test_no_list_of_packages_is_no_empty_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages(monkeypatch, tmp_path, "")
    (tmp_path / "dpkg-query").write_text("#!/bin/sh\nexit 2\n")
    with pytest.raises(OSError, match="dpkg-query failed: 2"):
        ask(tmp_path / "record.json", note="before", write=True)
    assert not (tmp_path / "record.json").exists()


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
        [sys.executable, str(RECORD), json.dumps({"record": str(record)})],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"{record}, the record of the changes by dlbox, cannot be read or written ("
    )
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


@pytest.mark.parametrize(("stamp", "earlier"), [
    (None, {}), ("{", {}), ("[]", {}), ('{"boot": "7", "verdict": "ready"}', {"boot": "7", "verdict": "ready"}),
])  # fmt: skip
def test_a_stamp_that_cannot_be_read_is_none(
    tmp_path: Path, stamp: str | None, earlier: dict[str, str]
) -> None:
    (tmp_path / "boot").write_text("8\n")
    if stamp is not None:
        (tmp_path / "stamp").write_text(stamp)
    assert trained.look(tmp_path / "stamp", tmp_path / "boot") == {"boot": "8", "earlier": earlier}
