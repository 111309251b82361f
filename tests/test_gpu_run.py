"""tests/gpu: the run on a machine without a card, its time limits and verdicts, and the recorder of scenarios."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_nvml
import fake_probe
import msgspec
import pynvml
import pytest
import scenario
import yaml

from inventory.machine.records import Machine
from tests.gpu import record, run, verdicts

ROOT = Path(__file__).parent.parent


def test_the_run_goes_as_far_as_it_can_without_a_card(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "tests/gpu/run.sh", "--output", tmp_path, "--steps", "record,check,replay,fault-busy"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": ""},
    )
    document = json.loads((tmp_path / "summary.json").read_text())
    found = {step["name"]: step for step in document["steps"]}
    if document["card"]:
        pytest.skip("this machine has a card")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: step["status"] for name, step in found.items()} == {
        "record": "passed", "check": "passed", "replay": "passed", "fault-busy": "skipped",
    }  # fmt: skip
    assert "no NVIDIA card" in found["fault-busy"]["why"]
    summary = (tmp_path / "summary.md").read_text()
    assert "3 passed, 0 failed, 1 skipped" in summary
    assert yaml.safe_load((tmp_path / "scenario.yml").read_text())["expect"] == {"verdict": "cpu-only"}


def test_the_steps_are_listed_with_their_limits(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run.main(["--list"]) == 0
    listed = capsys.readouterr().out
    for name in ("record", "stress", "probes", "bench-lstm", "bench-gru", "cudnn-cnn-lstm", "fault-generic"):
        assert name in listed
    assert run.LIMIT_S < 8 * 60
    assert run.main(["--steps", "record,nothing", "--output", str(tmp_path)]) == 2
    assert "no step nothing" in capsys.readouterr().err


def _context(folder: Path, *, card: bool = False) -> run.Context:
    return run.Context(folder, "torch", card, {})


def _step(code: str, seconds: float = 20, **options: Any) -> run.Step:
    options.setdefault("judge", lambda context, text: (text == "fine\n", text.strip()))
    return run.Step("one", "a step", seconds, ("-c", code), **options)


def test_a_step_that_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    child = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    result = run.run(_step(code, 4), _context(tmp_path), 100)
    assert result.status == "failed"
    assert "did not end within 4 s" in result.why
    if pid_file.exists():
        for _ in range(50):
            if not Path(f"/proc/{pid_file.read_text()}").exists():
                return
            time.sleep(0.1)
        assert "Z" in Path(f"/proc/{pid_file.read_text()}/stat").read_text().split()[2]


@pytest.mark.parametrize(
    ("code", "status", "why"),
    [
        ("print('fine')", "passed", "fine"),
        ("print('poor')", "failed", "poor"),
        ("import sys; print('no memory', file=sys.stderr); sys.exit(3)", "failed", "exit code 3: no memory"),
    ],
)
def test_a_step_is_judged_by_its_exit_code_and_output(
    tmp_path: Path, code: str, status: str, why: str
) -> None:
    result = run.run(_step(code), _context(tmp_path), 100)
    assert (result.status, result.why) == (status, why)


def test_a_step_without_time_or_card_is_skipped(tmp_path: Path) -> None:
    assert run.run(_step("print('fine')"), _context(tmp_path), 1).why == "no time was left"
    needing = _step("print('fine')", needs_card=True)
    assert run.run(needing, _context(tmp_path), 100).status == "skipped"
    assert run.run(needing, _context(tmp_path, card=True), 100).status == "passed"


def test_output_that_cannot_be_read_fails_the_step_only(tmp_path: Path) -> None:
    for text in ("nothing", "{", "[1]", "{}", '{"results": []}'):
        result = run.run(
            _step(f"print({text!r})", judge=verdicts.trained("lstm")), _context(tmp_path, card=True), 100
        )
        assert result.status == "failed"


def _bench(path: str | None = "fused", rate: float = 900.0, on_gpu: bool = True, **finding: str) -> str:
    kernel = {"path": path, "evidence": "CudnnRNNV3"} if path else None
    result = {
        "workload": "lstm",
        "samples_per_second": {"median": rate},
        "device": "GPU:0",
        "on_gpu": on_gpu,
        "kernel": kernel,
    }
    return json.dumps({"results": [result], "findings": [finding] if finding else []})


def test_training_on_a_card_needs_the_fused_kernel(tmp_path: Path) -> None:
    judge = verdicts.trained("lstm")
    with_card, without = _context(tmp_path, card=True), _context(tmp_path)
    assert judge(with_card, _bench())[0]
    assert not judge(with_card, _bench("generic"))[0]
    assert not judge(with_card, _bench(None))[0]
    assert not judge(with_card, _bench(on_gpu=False))[0]
    assert judge(without, _bench("generic", on_gpu=False))[0]


def test_keras_is_compared_with_raw_cudnn(tmp_path: Path) -> None:
    context = _context(tmp_path, card=True)
    context.results["bench-lstm"] = _bench(rate=900.0)
    judge = verdicts.compared("lstm")
    raw = {"samples_per_second": 1000.0, "kernels": ["cudnn::rnn::LSTM_elementWise_fp"]}
    passed, why = judge(context, f"a warning\n{json.dumps(raw)}\n")
    assert passed
    assert "Keras reaches 90%" in why
    assert not judge(context, json.dumps({**raw, "samples_per_second": 9000.0}))[0]
    assert not judge(context, json.dumps({**raw, "kernels": ["sgemm"]}))[0]
    assert judge(context, "null")[0]


def test_a_planted_fault_has_to_be_named(tmp_path: Path) -> None:
    judge = verdicts.names_fault("lstm", "kernel")
    for status, passed in (("fail", True), ("warn", True), ("pass", False), ("skip", False)):
        text = _bench(id="training.lstm-kernel", status=status, message="the slow generic kernel ran")
        assert judge(_context(tmp_path, card=True), text)[0] is passed
    assert not judge(_context(tmp_path, card=True), _bench())[0]


CAPTURES = [
    "rtx3060_idle", "gtx1060_idle", "h200_idle", "rtx2080super_capture", "rtx2080super_capture_load",
    "rtx4080super_capture", "rtx4080super_capture_load", "mig", "ecc_uncorrected", "fan_not_readable", "two_of_four",
]  # fmt: skip


def _of_cards(machine: Machine) -> list[Any]:
    """What was read of the cards, without the parts that the recorder replaces."""
    return [msgspec.structs.replace(gpu, uuid=None, processes=None) for gpu in machine.gpus]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """NVML as it was before the test."""
    monkeypatch.setattr(pynvml, "nvmlLib", pynvml.nvmlLib)
    yield
    pynvml._nvmlGetFunctionPointer_cache.clear()


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("name", CAPTURES)
def test_a_recorded_card_is_read_as_the_card_itself(name: str, tmp_path: Path) -> None:
    original = scenario.load(name)
    fake_nvml.install(fake_probe.numbered(json.loads(json.dumps(original.nvml))))
    answers = record.nvml()
    text = yaml.safe_dump({**original.content, "nvml": answers}, sort_keys=False)
    again = scenario.Scenario(name, yaml.safe_load(text))
    before, after = original.machine(tmp_path / "a"), again.machine(tmp_path / "b")
    assert _of_cards(after) == _of_cards(before)
    for card in answers["gpus"]:
        assert card["UUID"].startswith("GPU-00000000-0000-0000-0000-")


def test_a_recorded_machine_keeps_files_and_loses_identifiers(tmp_path: Path) -> None:
    original = scenario.load("rtx3060_idle")
    root = original.sysroot(tmp_path / "root")
    log = root / "proc/cmdline"
    log.write_text(
        "root=UUID=3f0c1a52-9d1e-4a55-8a4e-0f6a5c0f1b11 ip=10.4.5.6 mac=3c:7c:3f:aa:bb:cc home=/home/erika"
    )
    files, links = record.files(root, "erikas-box")
    assert files["proc/cmdline"] == (
        "root=UUID=00000000-0000-0000-0000-000000000000 ip=192.0.2.1 mac=00:00:00:00:00:00 home=/home/user"
    )
    assert files["proc/driver/nvidia/version"] == original.content["files"]["proc/driver/nvidia/version"]
    again = scenario.Scenario(
        "again", {**original.content, "files": {**original.content["files"], **files}, "links": links}
    )
    assert again.machine(tmp_path / "b").cards == original.machine(tmp_path / "a").cards
    assert (
        record.anonymous("Nov 30 erikas-box kernel: NVRM 580.65.06", "erikas-box")
        == "Nov 30 box kernel: NVRM 580.65.06"
    )


def test_the_planted_generic_kernel_forbids_cudnn() -> None:
    backend = run.installed_backend()
    if backend is None:
        pytest.skip("no framework is installed")
    code = (
        "from tests.planted import FAULTS; FAULTS['generic-kernel'](); import keras; "
        "print(keras.layers.LSTM(4).use_cudnn, keras.layers.GRU(4, use_cudnn=True).use_cudnn)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": backend},
    )
    assert done.stdout.split() == ["False", "False"]
