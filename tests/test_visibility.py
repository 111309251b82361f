"""Whether frameworks find the card, with scripts instead of frameworks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import scenario

from bench.finding import Status
from bench.health.check import REGISTER
from bench.health.checks.frameworks import NAMES, FrameworkReport
from bench.measure import visibility
from inventory.machine.records import Machine


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return scenario.load("rtx3060_idle").machine(tmp_path_factory.mktemp("box"))


@pytest.mark.parametrize(
    ("seen", "status", "words"),
    [
        (
            FrameworkReport(framework="torch", version="2.13", devices=("RTX 3060",), computed=True),
            Status.PASS,
            "computes on RTX",
        ),
        (FrameworkReport(framework="torch", installed=False), Status.SKIP, "not installed"),
        (FrameworkReport(framework="tensorflow", cuda_build=False), Status.FAIL, "the CPU only"),
        (FrameworkReport(framework="tensorflow", missing=("libcudnn.so.9",)), Status.FAIL, "libcudnn.so.9"),
        (FrameworkReport(framework="jax", missing=("libcuda.so.1",)), Status.FAIL, "dlbox provision"),
        (
            FrameworkReport(framework="tensorflow", devices=("RTX 5060",), trouble="no kernel image"),
            Status.FAIL,
            "no kernel image",
        ),
        (FrameworkReport(framework="jax", trouble="its process crashed (SIGSEGV)"), Status.FAIL, "SIGSEGV"),
    ],
)
def test_the_report_of_a_framework_is_checked(
    machine: Machine, seen: FrameworkReport, status: Status, words: str
) -> None:
    finding = REGISTER[f"frameworks.{seen.framework}"].apply(seen, machine)
    assert finding.status is status
    assert words in f"{finding.message} {finding.remedy}"


def test_without_a_card_no_framework_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visibility, "ask", lambda *a, **k: pytest.fail("a framework was started"))
    findings = visibility.findings(scenario.load("cpu_only").machine(tmp_path))
    assert [f.id for f in findings] == [f"frameworks.{name}" for name in NAMES]
    assert {f.status for f in findings} == {Status.SKIP}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("print('nonsense')", "no result"),
        ("import time; time.sleep(60)", "in time"),
    ],
)
def test_a_framework_that_crashes_or_hangs_gives_a_report(code: str, words: str) -> None:
    seen = visibility.ask("torch", timeout_s=1.5, command=(sys.executable, "-c", code))
    assert words in seen.trouble
    assert not seen.computed


def test_other_output_before_the_report_is_ignored() -> None:
    code = 'print("warning: x"); print(\'{"framework": "jax", "version": "1", "computed": true}\')'
    assert visibility.ask("jax", timeout_s=20, command=(sys.executable, "-c", code)).computed


def test_libraries_are_found_in_the_folders_of_wheels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nvidia/cudnn/lib").mkdir(parents=True)
    (tmp_path / "nvidia/cudnn/lib/libcudnn.so.9").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    missing = visibility._missing("tensorflow")
    assert "libcudnn.so.9" not in missing
    assert "libcufft.so.11" in missing
