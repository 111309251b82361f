"""The complete command with a compiled libnvidia-ml.so.1: real loader, real crashes, a real hang."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from inventory import gather
from inventory.machine import host

SOURCE = Path(__file__).with_name("nvml_stub.c")
COMPILER = shutil.which("cc") or shutil.which("gcc")

IN_CONTAINER = host.read(Path("/")).environment == "container"
"""Whether the tests run in a container, where the remedies are for its host."""

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler here")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the compiled library."""
    folder = tmp_path_factory.mktemp("nvml")
    target = folder / "libnvidia-ml.so.1"
    subprocess.run([str(COMPILER), "-shared", "-fPIC", "-o", str(target), str(SOURCE)], check=True)
    return folder


def checked(dlbox: Any, library: Path, *arguments: str, **variables: str) -> tuple[int, dict[str, Any]]:
    done = dlbox("check", "--json", *arguments, LD_LIBRARY_PATH=str(library), **variables)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def bad(document: dict[str, Any]) -> list[str]:
    """Ids of the findings that need attention, without those about the computer that runs the tests."""
    found = [f for f in document["findings"] if f["status"] in ("warn", "fail", "unknown")]
    return [f["id"] for f in found if f["theme"] != "host"]


def test_a_healthy_card_is_ready(dlbox: Any, library: Path) -> None:
    code, document = checked(dlbox, library)
    assert (code, document["verdict"], bad(document)) == (0, "ready", [])
    assert document["machine"]["gpus"][0]["name"]["value"] == "NVIDIA GeForce RTX 3060"


def test_eight_cards_are_judged_separately(dlbox: Any, library: Path) -> None:
    code, document = checked(dlbox, library, NVML_STUB_CARDS="8")
    assert (code, bad(document)) == (0, [])
    assert sum(f["id"].startswith("thermal.temperature:") for f in document["findings"]) == 8


@pytest.mark.parametrize(
    ("fault", "finding", "words"),
    [
        ("18", "driver.mismatch", "the host's driver" if IN_CONTAINER else "reboot"),
        ("15", "driver.lost", "reseat"),
        ("4", "driver.permission", "/dev/nvidia" if IN_CONTAINER else "usermod"),
        ("999", "driver.unusable", "NVML code 999"),
        ("segv", "driver.stable", "SIGSEGV"),
        ("lost", "gpu.responds:1", "fallen off the bus"),
        ("segv-card", "gpu.responds:1", "SIGSEGV"),
    ],
)
def test_each_fault_gives_its_own_failed_finding(
    dlbox: Any, library: Path, fault: str, finding: str, words: str
) -> None:
    code, document = checked(dlbox, library, NVML_STUB_FAULT=fault, NVML_STUB_CARDS="2")
    assert (code, document["verdict"], bad(document)) == (1, "not-ready", [finding])
    told = next(f for f in document["findings"] if f["id"] == finding)
    assert words in f"{told['message']} {told['remedy']}"


def test_a_library_that_hangs_is_killed(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    monkeypatch.setenv("NVML_STUB_FAULT", "hang")
    machine = gather.gather(timeout_s=1)
    assert not machine.nvml.ok
    assert "in time" in machine.nvml.why


def test_output_of_the_library_does_not_mix_with_the_answers(dlbox: Any, library: Path) -> None:
    code, document = checked(dlbox, library, NVML_STUB_FAULT="garbage")
    assert bad(document) == ["gpu.model"]  # the name is not text: not known, and nothing else
    assert code == 1


@pytest.mark.parametrize("code", ["9", "12"])
def test_without_a_card_a_library_without_a_driver_is_not_a_fault(
    dlbox: Any, library: Path, code: str
) -> None:
    if any(Path("/sys/bus/pci/drivers/nvidia").glob("0000:*")) or Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a card")
    exit_code, document = checked(dlbox, library, NVML_STUB_FAULT=code)
    assert (exit_code, document["verdict"]) == (0, "cpu-only")
