"""Package lists are judged by their content: empty lists in a new folder are not fresh, and a dry run says so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from provision import PROVISION_DIR
from provision.ansible.outcome import HostOutcome
from tests.conftest import ROOT, script
from tests.test_playbook import only, run

SCRIPT = PROVISION_DIR / "roles/record/files/lists.py"
lists = script(SCRIPT)
needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt is not installed")
MAIN = "deb.debian.org_debian_dists_trixie_"


def line(
    folder: Path, key: str = "main/binary-amd64/Packages", address: str = "http://deb.debian.org/debian/"
) -> str:
    return f"{folder}/{MAIN}{key.replace('/', '_')}\t{key}\t{address}"


@pytest.mark.parametrize(
    ("names", "unread"),
    [
        ([], ["http://deb.debian.org/debian/"]),
        ([f"{MAIN}main_binary-amd64_Packages"], []),
        ([f"{MAIN}main_binary-amd64_Packages.lz4"], []),
        ([f"{MAIN}InRelease"], []),  # the source has nothing for this machine
        ([f"{MAIN}Release"], []),
        (["lock", "security.debian.org_InRelease"], ["http://deb.debian.org/debian/"]),
    ],
)
def test_a_source_counts_as_read_if_its_files_are_there(
    tmp_path: Path, names: list[str], unread: list[str]
) -> None:
    for name in names:
        (tmp_path / name).write_text("Package: a\n")
    listed = "\n".join([line(tmp_path), line(tmp_path, "main/binary-all/Packages")])
    assert lists.look(listed) == {"unread": unread, "sources": 1}


def test_an_empty_file_is_no_list_and_passwords_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / f"{MAIN}main_binary-amd64_Packages").touch()
    found = lists.look(line(tmp_path, address="https://me:word@mirror.example.com/debian/"))
    assert found == {"unread": ["https://mirror.example.com/debian/"], "sources": 1}
    assert lists.look(line(tmp_path, address="cdrom:[Debian]/")) == {"unread": [], "sources": 0}


@given(st.text(max_size=200))
def test_any_output_of_apt_is_read_without_an_error(text: str) -> None:
    found = lists.look(text.replace("\0", ""))
    assert len(found["unread"]) <= found["sources"]


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with apt's configuration, lists and two local repositories; the apt of this machine is not used."""
    for name in ("lists/partial", "cache/archives/partial", "one", "two"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("one", "two"):
        (tmp_path / name / "Packages").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: amd64\nFilename: ./{name}.deb\nSize: 1\n"
        )
    (tmp_path / "status").touch()
    (tmp_path / "sources.list").write_text(
        "".join(f"deb [trusted=yes] file:{tmp_path}/{name} ./\n" for name in ("one", "two"))
    )
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{tmp_path}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n'
        f'Dir::State::lists "{tmp_path}/lists/";\nDir::State::status "{tmp_path}/status";\n'
        f'Dir::Cache "{tmp_path}/cache";\nDir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'
        'Acquire::Languages "none";\nAPT::Sandbox::User "root";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    return tmp_path


def look(*, check: bool, folder: Path) -> HostOutcome:
    include = {"name": "record", "tasks_from": "lists"}
    tasks = [
        {"name": "The lists are judged", "ansible.builtin.include_role": include},
        {"name": "It is printed", "ansible.builtin.debug": {"msg": "valid for {{ record_lists_valid_s }} s"}},
    ]
    return only(run(folder, *(json.dumps(task) for task in tasks), check=check))


@needs_apt
def test_apts_own_lists_are_judged(apt: Path) -> None:
    empty = look(check=False, folder=apt)
    assert empty.notes == ("valid for 0 s",), empty
    subprocess.run(["apt-get", "update"], check=True, capture_output=True)
    assert look(check=False, folder=apt).notes == ("valid for 86400 s",)


@needs_apt
def test_a_dry_run_concludes_nothing_from_empty_lists(apt: Path) -> None:
    empty = look(check=True, folder=apt)
    assert empty.status == "failed"
    assert empty.message == (
        "The package lists are empty, so a dry run cannot know what apt would install: "
        "run `sudo apt update` on the box, then the same command."
    )
    subprocess.run(["apt-get", "update"], check=True, capture_output=True)
    full = look(check=True, folder=apt)
    assert full.status == "ok", full
    for path in (apt / "lists").glob("*_two_*"):
        path.unlink()
    partly = look(check=True, folder=apt)
    assert f"The package lists of file:{apt}/two/ are missing" in (partly.message or ""), partly


def test_every_use_of_an_age_of_the_lists_asks_for_their_content() -> None:
    for path in sorted((PROVISION_DIR / "roles").glob("*/tasks/*.yml")):
        for task in yaml.safe_load(path.read_text()) or []:
            age = task.get("ansible.builtin.apt", {}).get("cache_valid_time")
            assert age is None or "record_lists_valid_s" in str(age), (path, task["name"])


def test_the_script_is_valid_python_3_8() -> None:
    lint = Path(sys.executable).with_name("ruff")
    done = subprocess.run(
        [str(lint), "check", "--isolated", "--target-version", "py38", "--select", "E9,F", str(SCRIPT)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
