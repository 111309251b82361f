"""A company network with its own mirror, package index and certificates."""

from __future__ import annotations

import difflib
import subprocess
import sys
from pathlib import Path

from provision import lock_text
from provision.artifacts import lockfiles
from provision.hosts import network
from tests.e2e.company import Company
from tests.e2e.container import Container
from tests.e2e.test_provision import LOOK, play


def test_install_repeat_and_roll_back_with_a_companys_servers(container: Container, tmp_path: Path) -> None:
    container.reset()
    container.output("sudo apt-get update -q", timeout_s=300)
    before = container.output(LOOK).splitlines()
    with Company(tmp_path) as company:
        place = company.folder / "simple/six"
        place.mkdir(parents=True)
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(place), "six==1.17.0"],
            check=True,
        )
        (wheel,) = place.glob("*.whl")
        (place / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
        (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {company.uri}/simple/\n")
        messages = {
            "extra_ca_bundle": "ca.pem",
            "pip_config": "pip.conf",
            "apt_mirror": f"{company.uri}/debian",
        }
        theirs = network.of_host(container.name, container.inventory(tmp_path, **messages))
        lock = tmp_path / "lock.txt"
        lock.write_text(lockfiles.lock(["six"], container.python, network=theirs))
        assert lock_text.packages(lock.read_text()) == {"six": "1.17.0"}
        role_vars = {
            **network.variables(theirs),
            "apt_mirror": theirs.apt_mirror,
            "site_preflight": False,
            "frameworks_environments": [{"name": "small", "lock": str(lock)}],
            "frameworks_python_packages": ["python3", "python3-venv"],
        }
        assert play(container, tmp_path, "site.yml", role_vars, "frameworks", check=True).status == "changed"
        first = play(container, tmp_path, "site.yml", role_vars, "frameworks")
        assert first.status == "changed", first
        assert (
            container.output("/opt/dlbox/venv/small/bin/python -c 'import six; print(six.__version__)'")
            == "1.17.0\n"
        )
        sources = container.output("cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null; :")
        assert f"{company.uri}/debian " in sources
        assert "deb.debian.org" not in sources
        bundle = container.output("cat /opt/dlbox/ca.pem")
        assert company.ca.read_text() in bundle
        assert bundle.count("BEGIN CERTIFICATE") > 50
        second = play(container, tmp_path, "site.yml", role_vars, "frameworks")
        assert (second.status, second.changed) == ("ok", ()), second
    assert (
        play(container, tmp_path, "rollback.yml", role_vars).status == "changed"
    )  # the mirror no longer runs
    assert not list(difflib.unified_diff(before, container.output(LOOK).splitlines(), lineterm="", n=0))
