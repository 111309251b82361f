"""A box whose kernels, sources and packages have names like templates and commands: refused by field, nothing runs."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.ansible import playbook
from provision.ansible.playbook import PlaybookJob
from provision.commands import provision
from provision.commands.interaction import Interaction
from provision.commands.options import ProvisionOptions
from tests.e2e import base
from tests.e2e.container import Container
from tests.test_playbook import RecordingProgress

NAMES = (
    "6.8-{{ lookup('pipe', 'touch $CANARY') }}",
    '9.9-{% set x = lookup("pipe", "touch $CANARY") %}{{ x }}',
    "9.8-$(touch $CANARY)",
)


@contextlib.contextmanager
def open_progress() -> Iterator[RecordingProgress]:
    yield RecordingProgress()


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "canary"
    monkeypatch.setenv("CANARY", str(path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return path


def plant(container: Container, name: str) -> None:
    place = shlex.quote(f"/lib/modules/{name}")
    container.output(f"sudo mkdir -p {place} && sudo touch {place}/modules.order")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", [True, False])
def test_a_kernel_named_like_a_template(
    container: Container, tmp_path: Path, canary: Path, name: str, check: bool
) -> None:
    plant(container, name)
    messages: list[str] = []
    options = ProvisionOptions(hosts=(container.name,), inventory=container.inventory(tmp_path), check=check)
    try:
        code = provision.run(
            options, Interaction(open_progress, lambda question: True, messages.append, True)
        )
    finally:
        container.output(f"sudo rm -r {shlex.quote(f'/lib/modules/{name}')}")
    assert code == 1
    assert 'is not a kernel release: "' in messages[0]
    assert not canary.exists()
    assert container.run(f"test -e /opt/dlbox || test -e {base.USER}").returncode == 1


def test_variables_like_templates(container: Container, tmp_path: Path, canary: Path) -> None:
    """As if the check of the facts had accepted them."""
    for name in NAMES:
        role_vars = {
            "nvidia_driver_packages": [f"linux-headers-{name}"],
            "nvidia_driver_branch": 580,
            "nvidia_driver_flavour": "open",
            "nvidia_driver_source": "dkms",
            "frameworks_environments": [],
            "frameworks_python_packages": [name],
            "apt_mirror": name,
            "proxy": name,
            "site_preflight": False,
        }
        job = PlaybookJob(
            playbook=Path("site.yml"),
            inventories=(container.inventory(tmp_path),),
            variables={container.name: role_vars},
            check=True,
        )
        outcome = playbook.run(job, RecordingProgress(), tmp_path / "logs")
        assert [host.status for host in outcome.hosts] == ["failed"], outcome
        assert not canary.exists()
