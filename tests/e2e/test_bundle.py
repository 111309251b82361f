"""A box that reaches nothing: what it needs is collected on this computer, then installed from the folder."""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.artifacts import bundle
from provision.commands import provision as command
from provision.commands.interaction import Interaction
from provision.commands.options import ProvisionOptions
from tests.e2e.bed import Bed
from tests.e2e.test_provision import LOOK
from tests.test_playbook import RecordingProgress


@contextlib.contextmanager
def open_progress() -> Iterator[RecordingProgress]:
    yield RecordingProgress()


def test_a_box_without_a_network_there_again_and_back(
    beds_are_possible: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    said: list[str] = []

    def provision(wishes: ProvisionOptions, **changes: bool) -> tuple[int, dict[str, object]]:
        wishes = ProvisionOptions(
            hosts=wishes.hosts, inventory=wishes.inventory, jupyter=False, **changes, bundle=wishes.bundle
        )
        code = command.run(wishes, Interaction(open_progress, lambda question: True, said.append, True))
        text = capsys.readouterr().out
        return code, json.loads(text) if text else {}

    with Bed("offline", own_network=True) as bed:
        box = {"cards": [], "distribution": "debian-12", "frameworks": ["jax"]}
        folder = tmp_path / "a bundle"
        wishes = ProvisionOptions(hosts=(bed.name,), inventory=bed.inventory(tmp_path, **box), bundle=folder)
        bed.network.cut_off_the_world()
        before = bed.output(LOOK, timeout_s=120).splitlines()

        code, collected = provision(wishes)
        assert (code, said) == (0, []), said
        assert collected["succeeded"]
        assert bed.output(LOOK, timeout_s=120).splitlines() == before  # collecting asks no box anything

        (wheel,) = folder.glob("wheels/msgspec-*.whl")
        content = wheel.read_bytes()
        wheel.write_bytes(content[:-1] + b"?")
        assert provision(wishes)[0] == 1
        assert "msgspec" in said[-1]
        assert "is damaged" in said[-1]
        assert bed.output(LOOK, timeout_s=120).splitlines() == before
        (folder / bundle.MANIFEST).unlink()
        assert provision(wishes)[0] == 0  # collects again what is not sound
        assert wheel.read_bytes() == content

        code, done = provision(wishes)
        (host,) = done["hosts"]  # type: ignore[misc]
        assert (code, host["status"], host["verdict"]) == (0, "changed", "cpu-only"), json.dumps(host)
        assert bed.output("dlbox --version").startswith("dlbox")
        assert bed.run("test -e /opt/dlbox/cache").returncode == 1
        code, done = provision(wishes)
        (host,) = done["hosts"]  # type: ignore[misc]
        assert (code, host["status"], host["changed"]) == (0, "ok", []), json.dumps(host)

        back = ProvisionOptions(hosts=wishes.hosts, inventory=wishes.inventory, rollback=True)
        assert command.run(back, Interaction(open_progress, lambda question: True, said.append, True)) == 0
        after = bed.output(LOOK, timeout_s=120).splitlines()
        assert not list(difflib.unified_diff(before, after, lineterm="", n=0))
