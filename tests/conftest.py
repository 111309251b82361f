"""What every test stands on: its own data folder, no colours, and the command as a whole process."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def script(path: Path) -> Any:
    """A script that runs on a box, as a module."""
    spec = importlib.util.spec_from_file_location(f"dlbox_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's own history."""
    home = tmp_path / "xdg"
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    return home


@pytest.fixture(autouse=True)
def own_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No lesson run within a test's own process is taken for the user's: how long those took is told to them."""
    from workshops.player.live import LessonTimes

    monkeypatch.setattr(LessonTimes, "_path", staticmethod(lambda: tmp_path / "workshop-times.json"))


@pytest.fixture(autouse=True)
def no_probing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No run within a test's own process starts a framework: peaks are given, and no larger batch is faster."""
    if "bench" not in sys.modules:
        return
    from bench.measure import batches, machine_probes
    from bench.results.record.figures import BatchPoint, BatchSearch, Probes

    probes = Probes(backend="tensorflow", device="cpu", on_gpu=False, matmul_tflops={"fp32": 0.2})
    monkeypatch.setattr(machine_probes, "measure", lambda machine, backend, seconds: probes)
    found = BatchSearch(
        points=(BatchPoint(batch_size=32, samples_per_second=400.0),),
        best_batch_size=32,
        ended="no-faster",
        why="64 was no faster than 32",
    )
    monkeypatch.setattr(batches, "search", lambda *args, **options: (found, None))


@pytest.fixture
def dlbox() -> Command:
    """Run `dlbox ARGUMENTS` as a process of its own; keyword arguments go into its environment."""

    def run(*arguments: str, timeout: float = 280, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", str(ROOT / "dlbox.py"), *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **environment},
            check=False,
        )

    return run
