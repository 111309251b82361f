"""A box without network access: a bundle is collected on this computer and installed on the box."""

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
from tests.e2e.container import Container
from tests.e2e.test_provision import LOOK
from tests.test_playbook import RecordingProgress


@contextlib.contextmanager
def open_progress() -> Iterator[RecordingProgress]:
    yield RecordingProgress()


def test_install_repeat_and_roll_back_without_a_network(
    containers_available: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    messages: list[str] = []

    def provision(options: ProvisionOptions, **changes: bool) -> tuple[int, dict[str, object]]:
        options = ProvisionOptions(
            hosts=options.hosts, inventory=options.inventory, jupyter=False, **changes, bundle=options.bundle
        )
        code = command.run(options, Interaction(open_progress, lambda question: True, messages.append, True))
        text = capsys.readouterr().out
        return code, json.loads(text) if text else {}

    with Container("offline", own_network=True) as container:
        box = {"cards": [], "distribution": "debian-12", "frameworks": ["jax"]}
        folder = tmp_path / "a bundle"
        options = ProvisionOptions(
            hosts=(container.name,), inventory=container.inventory(tmp_path, **box), bundle=folder
        )
        container.network.cut_internet()
        before = container.output(LOOK, timeout_s=120).splitlines()

        code, collected = provision(options)
        assert (code, messages) == (0, []), messages
        assert collected["succeeded"]
        assert container.output(LOOK, timeout_s=120).splitlines() == before  # collecting asks no box anything

        (wheel,) = folder.glob("wheels/msgspec-*.whl")
        content = wheel.read_bytes()
        wheel.write_bytes(content[:-1] + b"?")
        assert provision(options)[0] == 1
        assert "msgspec" in messages[-1]
        assert "is damaged" in messages[-1]
        assert container.output(LOOK, timeout_s=120).splitlines() == before
        (folder / bundle.MANIFEST).unlink()
        assert provision(options)[0] == 0  # collects again what is not sound
        assert wheel.read_bytes() == content

        code, done = provision(options)
        (host,) = done["hosts"]  # type: ignore[misc]
        assert (code, host["status"], host["verdict"]) == (0, "changed", "cpu-only"), json.dumps(host)
        assert container.output("dlbox --version").startswith("dlbox")
        assert container.run("test -e /opt/dlbox/cache").returncode == 1
        code, done = provision(options)
        (host,) = done["hosts"]  # type: ignore[misc]
        assert (code, host["status"], host["changed"]) == (0, "ok", []), json.dumps(host)

        back = ProvisionOptions(hosts=options.hosts, inventory=options.inventory, rollback=True)
        assert (
            command.run(back, Interaction(open_progress, lambda question: True, messages.append, True)) == 0
        )
        after = container.output(LOOK, timeout_s=120).splitlines()
        assert not list(difflib.unified_diff(before, after, lineterm="", n=0))
