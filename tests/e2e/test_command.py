"""The whole way as one command takes it: look, plan, install, ask the box; again; and back. On a box without a card."""

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
from tests.e2e.bed import Bed
from tests.e2e.test_provision import LOOK
from tests.test_playbook import RecordingProgress


@contextlib.contextmanager
def open_progress() -> Iterator[RecordingProgress]:
    yield RecordingProgress()


@pytest.fixture(params=["bookworm", "trixie"])
def bed(beds_are_possible: None, request: pytest.FixtureRequest) -> Iterator[Bed]:
    """Each release without a card."""
    with Bed("bare", suite=request.param) as bed:
        yield bed


def test_one_command_makes_it_right_and_another_undoes_it(
    bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bed.output("sudo apt-get update -q", timeout_s=300)
    before = bed.output(LOOK, timeout_s=120).splitlines()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    wheel = own_wheel.build(tmp_path)  # once: the checkout may change while this runs
    monkeypatch.setattr(own_wheel, "build", lambda folder: wheel)
    bundle = os.environ.get("SSL_CERT_FILE", "")
    wishes = ProvisionOptions(
        hosts=(bed.name,),
        inventory=bed.inventory(tmp_path, extra_ca_bundle=bundle, frameworks=["tensorflow"]),
        jupyter=False,
    )

    def run(**changes: bool) -> tuple[int, dict[str, object], list[str]]:
        said: list[str] = []
        wanted = ProvisionOptions(**{**{f: getattr(wishes, f) for f in wishes.__struct_fields__}, **changes})
        code = provision.run(wanted, Interaction(open_progress, lambda question: True, said.append, True))
        document = json.loads(capsys.readouterr().out)
        return code, document["hosts"][0], said

    code, host, said = run()
    assert (code, host["verdict"], said) == (0, "cpu-only", []), host
    assert bed.output("dlbox check --only host --json; :").startswith("{")
    code, host, said = run()
    assert (code, host["changed"], host["verdict"]) == (0, [], "cpu-only"), host
    code, host, said = run(rollback=True)
    assert (code, host["status"]) == (0, "changed"), said
    after = bed.output(LOOK, timeout_s=120).splitlines()
    assert not list(difflib.unified_diff(before, after, lineterm="", n=0))
