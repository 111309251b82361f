"""The playbooks on a bare Debian: environments and dlbox, the box's verdict, repeat, roll back."""

from __future__ import annotations

import difflib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from provision.ansible import playbook
from provision.ansible.outcome import HostOutcome
from provision.ansible.playbook import PlaybookJob
from provision.artifacts import environments, own_wheel
from provision.commands.plan_requests import PlanOptions, request
from provision.resolve.load import load
from provision.resolve.model import Stack
from provision.resolve.stack import resolve
from tests.e2e import base
from tests.e2e.container import Container
from tests.test_playbook import RecordingProgress

LOOK = (
    "dpkg -l; cd / && sudo find etc opt usr/local var/lib/dlbox var/lib/dkms home -printf '%p %y %m %u %g %s %l\\n'"
    " 2>/dev/null | sort; find /var/cache/apt/archives -name '*.deb' | sort;"
    " systemctl is-system-running; systemctl list-units --all --state=failed --plain --no-legend;"
    " sudo sh -c 'cd /etc && find . -type f -print0 | sort -z | xargs -0 sha256sum'"
)
TAGS = ("frameworks", "dlbox")


def play(
    container: base.TargetMachine,
    folder: Path,
    name: str,
    variables: dict[str, Any],
    *tags: str,
    check: bool = False,
) -> HostOutcome:
    """Run a playbook on a test machine over SSH."""
    job = PlaybookJob(
        playbook=Path(name),
        inventories=(container.inventory(folder),),
        variables={container.name: variables},
        tags=tags,
        check=check,
    )
    outcome = playbook.run(job, RecordingProgress(), folder / "logs")
    assert outcome.error is None
    (host,) = outcome.hosts
    print(name, *tags, f"{outcome.seconds} s:", host.status, host.task, host.message)
    return host


class PlannedContainer:
    """A container with its plan; runs playbooks on it."""

    def __init__(self, container: Container, folder: Path) -> None:
        self.container, self._folder = container, folder
        data = load()
        question = PlanOptions(cards=("GTX 1060",), distro="debian-12", frameworks=("tensorflow",))
        stack = resolve(request(question, data), data)
        assert isinstance(stack, Stack)
        self.stack = stack
        self.variables: dict[str, Any] = environments.role_variables(stack, folder, own_wheel.build(folder))
        # A network whose proxy looks into TLS is what these two are for; elsewhere they change nothing.
        bundle = os.environ.get("SSL_CERT_FILE", "")
        self.variables |= {"extra_ca_bundle": bundle, "frameworks_pip_retries": 0, "dlbox_app_pip_retries": 0}

    def run(self, name: str, *tags: str, check: bool = False) -> HostOutcome:
        return play(self.container, self._folder, name, self.variables, *tags, check=check)

    def state(self) -> list[str]:
        return self.container.output(LOOK).splitlines()


@pytest.fixture(scope="module")
def box(gtx1060: Container, tmp_path_factory: pytest.TempPathFactory) -> PlannedContainer:
    """A fresh machine: apt has never read its package lists."""
    assert gtx1060.output("ls /var/lib/apt/lists").split() in ([], ["lock", "partial"], ["partial"])
    return PlannedContainer(gtx1060, tmp_path_factory.mktemp("controller"))


def test_install_repeat_and_roll_back(box: PlannedContainer) -> None:
    before = box.state()
    dry = box.run("site.yml", *TAGS, check=True)
    assert "The package lists are empty" in (dry.message or ""), dry
    assert box.state() == before

    first = box.run("site.yml", *TAGS)
    assert first.status == "changed", first
    versions = json.loads(
        box.container.output("/opt/dlbox/venv/tensorflow/bin/python -m pip list --format json 2>/dev/null")
    )
    installed = {row["name"]: row["version"] for row in versions}
    wanted = box.stack.environments["tensorflow"]
    assert {name: installed.get(name) for name in wanted} == wanted
    assert box.container.output("dlbox --version").startswith("dlbox")
    assert box.container.run("test -e /opt/dlbox/cache").returncode == 1
    record = json.loads(box.container.output("cat /var/lib/dlbox/record.json"))
    assert "python3-venv" in record["installed"]
    assert record["before"] is None
    assert "/opt/dlbox" in record["files"]

    began = time.monotonic()
    second = box.run("site.yml", *TAGS)
    assert (second.status, second.changed) == ("ok", ()), second
    print(f"second run: {time.monotonic() - began:.1f} s")

    judged = box.run("verify.yml")
    assert judged.status == "failed"  # no driver for the card on the bus
    assert judged.verdict == "not-ready"
    assert "driver" in (judged.message or "")

    back = box.run("rollback.yml")
    assert back.status == "changed", back
    assert not list(difflib.unified_diff(before, box.state(), lineterm="", n=0))
    assert box.run("rollback.yml").changed == ()

    dry = box.run("site.yml", *TAGS, check=True)  # the package lists are there now
    assert dry.status == "changed", dry
    assert box.state() == before


def test_a_wrong_hash_leaves_the_old_environment_working(box: PlannedContainer, tmp_path: Path) -> None:
    """First a correct lock file of a small package, then one with a wrong hash."""
    good = "six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274\n"
    lock = tmp_path / "lock.txt"
    small = {"frameworks_environments": [{"name": "tensorflow", "lock": str(lock)}]}
    box.variables = {n: v for n, v in box.variables.items() if n != "cudnn_environments"} | small
    python = "/opt/dlbox/venv/tensorflow/bin/python"
    lock.write_text(good)
    assert box.run("site.yml", "frameworks").status == "changed"
    assert box.container.output(f"{python} -c 'import six; print(six.__version__)'").strip() == "1.17.0"
    lock.write_text(good.replace("4721", "0000"))
    broken = box.run("site.yml", "frameworks")
    assert broken.status == "failed"
    assert broken.task == "environment: The packages are installed"
    assert "HASHES" in (broken.message or ""), broken.message
    assert box.container.output(f"{python} -c 'import six; print(six.__version__)'").strip() == "1.17.0"
    lock.write_text(good)
    assert box.run("site.yml", "frameworks").status in ("ok", "changed")
    assert box.run("rollback.yml").status == "changed"


def test_an_unknown_host_key_is_refused(box: PlannedContainer) -> None:
    known = box.container.known_hosts.read_text()
    box.container.known_hosts.write_text("")
    try:
        host = box.run("verify.yml")
    finally:
        box.container.known_hosts.write_text(known)
    assert host.status == "unreachable"
    assert "SSH host key" in (host.message or "")
