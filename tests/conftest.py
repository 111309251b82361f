"""Fixtures of all tests: a separate data folder, no colours, and the command in a separate process."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, settings

from tests.frameworks import Framework

ROOT = Path(__file__).resolve().parent.parent
Command = Callable[..., "subprocess.CompletedProcess[str]"]

MEMORY_OF_A_WORKER = 2 * 2**30
"""Bytes: a process of pytest and a framework that it starts."""

# A busy machine is no fault of what is tested. `./dlbox test slow` takes the second profile.
settings.register_profile(
    "usual", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", settings.get_profile("usual"), max_examples=1000)
settings.load_profile("usual")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Workers of `pytest -n auto`: one a processor and 2 GiB of memory; none where one file alone is to be run."""
    files = {argument.partition("::")[0] for argument in config.args}
    if all(name.endswith(".py") for name in files) and len(files) == 1:
        return 0
    return max(1, min(len(os.sched_getaffinity(0)), psutil.virtual_memory().available // MEMORY_OF_A_WORKER))


def pytest_configure(config: pytest.Config) -> None:
    """Settings that change no result, for the processes that tests start as well.

    Threads of numerical libraries sleep while they wait: turning round, they took three quarters of the time where
    tests run beside each other. JAX compiles once what several processes compile.
    """
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # so a shell starts what is to run in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    if config.cache is not None:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(config.cache.mkdir("jax")))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that search for a counterexample are marked, for `./dlbox test slow` to search longer."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("search")


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
    """A lesson that a test runs in its process does not change the stored durations of the user's lessons."""
    from workshops.player.live import LessonTimes

    monkeypatch.setattr(LessonTimes, "_path", staticmethod(lambda: tmp_path / "workshop-times.json"))


@pytest.fixture(autouse=True)
def no_probing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in the process of a test starts no framework: the peaks are fixed, and no larger batch is faster."""
    if "bench" not in sys.modules:
        return
    from bench.measure import batches, machine_probes
    from bench.results.record.figures import BatchPoint, BatchSearch, Probes
    from bench.run import quiet

    probes = Probes(backend="tensorflow", device="cpu", on_gpu=False, matmul_tflops={"fp32": 0.2})
    monkeypatch.setattr(quiet, "read", lambda: quiet.OtherPrograms(cores=0.0, usable=2))
    monkeypatch.setattr(machine_probes, "measure", lambda machine, backend, seconds: probes)
    found = BatchSearch(
        points=(BatchPoint(batch_size=32, samples_per_second=400.0),),
        best_batch_size=32,
        ended="no-faster",
        why="64 was no faster than 32",
    )
    monkeypatch.setattr(batches, "search", lambda *args, **options: (found, None))


@pytest.fixture(scope="session")
def frameworks() -> Iterator[Callable[[str], Framework]]:
    """A process for each requested backend, shared by all tests; skips the test if the backend is not installed."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def framework(backend: str) -> Framework:
            if importlib.util.find_spec(backend) is None:
                pytest.skip(f"{backend} is not installed")
            return stack.enter_context(Framework(backend))

        yield framework


@pytest.fixture
def dlbox() -> Command:
    """Run `dlbox ARGUMENTS` in a separate process; keyword arguments are added to its environment."""

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
