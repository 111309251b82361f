"""`dlbox provision` on a box without a card: install, run again, roll back."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.artifacts import own_wheel
from provision.commands import provision
from provision.commands.interaction import Interaction
from provision.commands.options import ProvisionOptions
from tests.e2e.container import Container
from tests.e2e.test_provision import LOOK
from tests.test_playbook import RecordingProgress


@contextlib.contextmanager
def open_progress() -> Iterator[RecordingProgress]:
    yield RecordingProgress()


@pytest.fixture(params=["bookworm", "trixie"])
def container(containers_available: None, request: pytest.FixtureRequest) -> Iterator[Container]:
    """Each release, without a card."""
    with Container("bare", suite=request.param) as container:
        yield container


def test_one_command_installs_and_another_one_undoes_it(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    container.output("sudo apt-get update -q", timeout_s=300)
    before = container.output(LOOK, timeout_s=120).splitlines()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    wheel = own_wheel.build(tmp_path)  # once: the checkout may change while this runs
    monkeypatch.setattr(own_wheel, "build", lambda folder: wheel)
    bundle = os.environ.get("SSL_CERT_FILE", "")
    options = ProvisionOptions(
        hosts=(container.name,),
        inventory=container.inventory(tmp_path, extra_ca_bundle=bundle, frameworks=["tensorflow"]),
        jupyter=False,
    )

    def run(**changes: bool) -> tuple[int, dict[str, object], list[str]]:
        messages: list[str] = []
        wanted = ProvisionOptions(
            **{**{f: getattr(options, f) for f in options.__struct_fields__}, **changes}
        )
        code = provision.run(wanted, Interaction(open_progress, lambda question: True, messages.append, True))
        document = json.loads(capsys.readouterr().out)
        return code, document["hosts"][0], messages

    code, host, messages = run()
    assert (code, host["verdict"], messages) == (0, "cpu-only", []), host
    assert container.output("dlbox check --only host --json; :").startswith("{")
    code, host, messages = run()
    assert (code, host["changed"], host["verdict"]) == (0, [], "cpu-only"), host
    code, host, messages = run(rollback=True)
    assert (code, host["status"]) == (0, "changed"), messages
    after = container.output(LOOK, timeout_s=120).splitlines()
    assert not list(difflib.unified_diff(before, after, lineterm="", n=0))
