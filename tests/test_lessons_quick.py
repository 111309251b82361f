"""Every lesson with `--quick` on every backend: within a minute, and every expected value in its range."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from workshops.lessons import catalog

RUN = """
import json, sys
from pathlib import Path
from workshops.player.outcome import LessonOptions
from workshops.commands.start import start
settings = LessonOptions(output=Path(sys.argv[2]), quick=sys.argv[4] == "quick")
outcome = start(sys.argv[1], settings, backend=sys.argv[3], out=sys.stderr)
print(json.dumps(outcome.document()))
"""


def run(name: str, backend: str, folder: Path, mode: str) -> dict:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    env = {**os.environ, "XDG_CACHE_HOME": str(folder), "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", RUN, name, str(folder), backend, mode]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return msgspec.json.decode(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax"])
@pytest.mark.parametrize("name", [lesson.name for lesson in catalog.lessons()])
def test_quick(name: str, backend: str, tmp_path: Path) -> None:
    outcome = run(name, backend, tmp_path, "quick")
    assert outcome["ok"], [m for m in outcome["measured"] if not m["ok"]]
    promised = {e.name for e in catalog.find(name).expected_values(quick=True)}
    assert promised <= {m["name"] for m in outcome["measured"]}
    assert outcome["seconds"] < 60


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [lesson.name for lesson in catalog.lessons()])
def test_full(name: str, tmp_path: Path) -> None:
    outcome = run(name, "tensorflow", tmp_path, "full")
    assert outcome["ok"], [m for m in outcome["measured"] if not m["ok"]]
