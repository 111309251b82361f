"""A network in which only a mirror and an index of the company's own are asked, by certificates of its own."""

from __future__ import annotations

import difflib
import subprocess
import sys
from pathlib import Path

from provision import lock_text
from provision.artifacts import lockfiles
from provision.hosts import network
from tests.e2e.bed import Bed
from tests.e2e.company import Company
from tests.e2e.test_provision import LOOK, play


def test_certificates_index_and_mirror_of_a_company_there_again_and_back(bed: Bed, tmp_path: Path) -> None:
    bed.reset()
    bed.output("sudo apt-get update -q", timeout_s=300)
    before = bed.output(LOOK).splitlines()
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
        said = {
            "extra_ca_bundle": "ca.pem",
            "pip_config": "pip.conf",
            "apt_mirror": f"{company.uri}/debian",
        }
        theirs = network.of_host(bed.name, bed.inventory(tmp_path, **said))
        lock = tmp_path / "lock.txt"
        lock.write_text(lockfiles.lock(["six"], bed.python, network=theirs))
        assert lock_text.packages(lock.read_text()) == {"six": "1.17.0"}
        told = {
            **network.variables(theirs),
            "apt_mirror": theirs.apt_mirror,
            "site_preflight": False,
            "frameworks_environments": [{"name": "small", "lock": str(lock)}],
            "frameworks_python_packages": ["python3", "python3-venv"],
        }
        assert play(bed, tmp_path, "site.yml", told, "frameworks", check=True).status == "changed"
        first = play(bed, tmp_path, "site.yml", told, "frameworks")
        assert first.status == "changed", first
        assert (
            bed.output("/opt/dlbox/venv/small/bin/python -c 'import six; print(six.__version__)'")
            == "1.17.0\n"
        )
        sources = bed.output("cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null; :")
        assert f"{company.uri}/debian " in sources
        assert "deb.debian.org" not in sources
        bundle = bed.output("cat /opt/dlbox/ca.pem")
        assert company.ca.read_text() in bundle
        assert bundle.count("BEGIN CERTIFICATE") > 50
        second = play(bed, tmp_path, "site.yml", told, "frameworks")
        assert (second.status, second.changed) == ("ok", ()), second
    assert play(bed, tmp_path, "rollback.yml", told).status == "changed"  # the mirror is gone by now
    assert not list(difflib.unified_diff(before, bed.output(LOOK).splitlines(), lineterm="", n=0))
