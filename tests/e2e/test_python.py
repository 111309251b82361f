"""A Python version that the distribution does not have: uv and the roles, with a dummy for the downloaded build.

Only the content of the real standalone builds is not tested: uv gets a list with one entry, Debian's own Python packed
like such a build.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from provision.artifacts import lockfiles
from tests.e2e.container import Container
from tests.e2e.test_provision import LOOK, play

VERSION = "3.11"
PYTHON = f"/opt/dlbox/python/cpython-{VERSION}-linux-x86_64-gnu/bin/python{VERSION}"
BUILD = "var/tmp/python.tar.gz"
TAGS = ("frameworks",)


@pytest.fixture(scope="module")
def build(container: Container, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's own Python packed like a standalone build: one folder, no link that leads out of it."""
    path = tmp_path_factory.mktemp("build") / "python.tar.gz"
    container.output("sudo apt-get update -q && sudo apt-get install -qy python3-venv", timeout_s=300)

    def selected(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        parts = Path(entry.name).parts
        if {"dist-packages", "test", "__pycache__"} & set(parts):
            return None
        return None if entry.issym() and entry.linkname.startswith("/") else entry

    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        archive.add(container.root / f"usr/bin/python{VERSION}", f"python/bin/python{VERSION}")
        archive.add(
            container.root / f"usr/lib/python{VERSION}", f"python/lib/python{VERSION}", filter=selected
        )
    return path


def listed(checksum: str) -> str:
    """uv's list of builds, with one entry."""
    major, minor, micro = 3, 11, 2
    build = {
        "url": f"file:///{BUILD}",
        "sha256": checksum,
        "build": "20261110",
        "variant": None,
        "prerelease": "",
    }
    place = {"os": "linux", "libc": "gnu", "arch": {"family": "x86_64", "variant": None}}
    entry = {"name": "cpython", "major": major, "minor": minor, "patch": micro, **place, **build}
    return json.dumps({f"cpython-{major}.{minor}.{micro}-linux-x86_64-gnu": entry})


@pytest.fixture
def variables(container: Container, build: Path, tmp_path: Path) -> dict[str, Any]:
    """Variables of a plan with another Python than the distribution's and one small package in the environment."""
    container.reset()
    container.output("sudo apt-get update -q", timeout_s=300)
    shutil.copy(build, container.root / BUILD)
    for name in ("uv==0.13.9", "six==1.17.0"):
        (tmp_path / f"{name[:3].strip('=')}.txt").write_text(lockfiles.lock([name], VERSION))
    return {
        "site_preflight": False,
        "python_version": VERSION,
        "python_uv_lock": str(tmp_path / "uv.txt"),
        "python_packages": ["python3", "python3-venv"],
        "frameworks_python": PYTHON,
        "frameworks_environments": [{"name": "tensorflow", "lock": str(tmp_path / "six.txt")}],
        "frameworks_python_packages": ["python3", "python3-venv"],
        "extra_ca_bundle": os.environ.get("SSL_CERT_FILE", ""),
    }


def test_another_python_is_installed_used_and_removed(
    container: Container, build: Path, variables: dict[str, Any], tmp_path: Path
) -> None:
    before = container.output(LOOK, timeout_s=120).splitlines()
    (tmp_path / "downloads.json").write_text(listed(hashlib.sha256(build.read_bytes()).hexdigest()))
    variables["python_downloads"] = str(tmp_path / "downloads.json")

    first = play(container, tmp_path, "site.yml", variables, *TAGS)
    assert first.status == "changed", first
    own = container.output(
        "/opt/dlbox/venv/tensorflow/bin/python -c 'import sys, six; print(sys.base_prefix, six.__name__)'"
    )
    assert own.split() == [str(Path(PYTHON).parent.parent), "six"]
    assert container.output("/opt/dlbox/venv/uv/bin/uv --version").startswith("uv 0.13.9")

    second = play(container, tmp_path, "site.yml", variables, *TAGS)
    assert (second.status, second.changed) == ("ok", ()), second

    assert play(container, tmp_path, "rollback.yml", variables).status == "changed"
    assert not list(
        difflib.unified_diff(before, container.output(LOOK, timeout_s=120).splitlines(), lineterm="", n=0)
    )


def test_a_build_that_is_not_what_uv_expects_is_refused(
    container: Container, variables: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "downloads.json").write_text(listed("0" * 64))
    variables["python_downloads"] = str(tmp_path / "downloads.json")
    host = play(container, tmp_path, "site.yml", variables, *TAGS)
    assert (host.status, host.task) == ("failed", "python: The standalone build came")
    assert "Hash mismatch" in (host.message or "")
    assert container.run(f"test -e {PYTHON}").returncode == 1
    assert container.run("test -e /opt/dlbox/venv/tensorflow").returncode == 1


def test_a_missing_build_is_reported_with_the_remedy(
    container: Container, variables: dict[str, Any], tmp_path: Path
) -> None:
    variables["python_mirror"] = "file:///var/empty"
    host = play(container, tmp_path, "site.yml", variables, *TAGS)
    assert host.status == "failed"
    assert "python_mirror" in (host.message or ""), host
    assert "No such file" in (host.message or ""), host
