"""Load: the probes on a NumPy device, scripts instead of the child processes, and the checks of the results."""

from __future__ import annotations

import copy
import json
import sys
import weakref
from pathlib import Path
from typing import Any

import fake_nvml
import msgspec
import numpy as np
import pynvml
import pytest
import scenario

from bench import health
from bench.finding import Finding, Status
from bench.health.check import Subject
from bench.health.load.record import LoadRun, Pattern, Repeats, Sample, ThroughputSample
from bench.measure import stress
from bench.measure.probes import load
from inventory.machine.reading import Reading
from inventory.machine.records import KernelLog, Machine, Xid
from inventory.nvml import card


class NumpyDevice:
    """A CPU with ``memory_cells``. ``stuck``: one defective cell; ``flaky``: every third product is wrong."""

    name, on_gpu, pinned = "numpy", False, False

    def __init__(self, memory_cells: int = 1 << 30, stuck: bool = False, flaky: bool = False) -> None:
        self.memory_cells, self.stuck, self.flaky = memory_cells, stuck, flaky
        self.products = 0

    def normal(self, size: int, precision: str, seed: int) -> Any:
        return np.random.default_rng(seed).normal(size=(size, size)).astype(np.float32)

    def product(self, a: Any, b: Any, precision: str) -> Any:
        self.products += 1
        return a @ b + (1e-3 if self.flaky and self.products % 3 == 0 else 0)

    def differs(self, a: Any, b: Any) -> bool:
        return not np.array_equal(a, b)

    def plus_one(self, x: Any) -> Any:
        return x + 1

    def _new(self, values: Any) -> Any:
        if self.stuck:
            values[0] |= 1
        return values

    def filled(self, cells: int, value: int) -> Any:
        if self.memory_cells < cells:
            raise MemoryError("full")
        made = self._new(np.full(cells, value, np.int32))
        self._take(-cells)
        weakref.finalize(made, self._take, cells)
        return made

    def _take(self, cells: int) -> None:
        self.memory_cells += cells

    def counted(self, cells: int, start: int) -> Any:
        return np.arange(start, start + cells, dtype=np.int32)

    def noise(self, cells: int, seed: int) -> Any:
        return np.random.default_rng(seed).integers(0, 2**31, cells, dtype=np.int32)

    def wrong(self, chunk: Any, expected: Any) -> int:
        return int((chunk != expected).sum())

    def host_buffer(self, cells: int) -> Any:
        return np.zeros(cells, np.float32)

    def upload(self, host: Any) -> Any:
        return host.copy()

    def download(self, x: Any) -> Any:
        return x

    def wait(self, x: Any) -> None:
        pass

    def is_full(self, error: Exception) -> bool:
        return isinstance(error, MemoryError)


JOB = load.ProbeJob(
    backend="torch", seconds=0.4, matrix=64, free_bytes=4 << 20, stream_bytes=1 << 20, chunk_cells=1 << 16
)


def worked(
    device: NumpyDevice, monkeypatch: pytest.MonkeyPatch, job: load.ProbeJob = JOB
) -> list[load.Event]:
    monkeypatch.setattr(load, "open_device", lambda backend: device)
    events: list[load.Event] = []
    load.work(job, events.append)
    return events


def test_a_device_without_fault_gives_rates_and_no_wrong_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    events = worked(NumpyDevice(), monkeypatch)
    rates = {e.name: e.value for e in events if isinstance(e, load.Rate)}
    assert set(rates) == {"matmul-fp32", "memory-bandwidth"}
    assert all(value > 0 for value in rates.values())
    tested = next(e for e in events if isinstance(e, load.Tested)).pattern
    assert tested.wrong_cells == 0
    assert tested.tested_bytes >= 0.75 * JOB.free_bytes
    assert next(e for e in events if isinstance(e, load.Repeated)).repeats.different == 0
    assert any(isinstance(e, load.Steady) for e in events)
    for event in events:
        assert msgspec.json.decode(msgspec.json.encode(event), type=load.Event) == event


class StuckWhenRead(NumpyDevice):
    """A cell that loses a bit between writing and reading."""

    def wrong(self, chunk: Any, expected: Any) -> int:
        chunk = chunk.copy()
        chunk[7] ^= 1
        return super().wrong(chunk, expected)


def test_a_cell_that_loses_a_bit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    events = worked(StuckWhenRead(), monkeypatch)
    assert next(e for e in events if isinstance(e, load.Tested)).pattern.wrong_cells >= len(load.PATTERNS)


def test_products_that_differ_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    events = worked(NumpyDevice(flaky=True), monkeypatch)
    assert next(e for e in events if isinstance(e, load.Repeated)).repeats.different > 0


def test_a_failed_part_is_reported_and_the_other_parts_run(monkeypatch: pytest.MonkeyPatch) -> None:
    events = worked(NumpyDevice(memory_cells=10), monkeypatch)
    assert [e.name for e in events if isinstance(e, load.Broken)] == ["memory-pattern"]
    assert any(isinstance(e, load.Repeated) for e in events)


def test_less_memory_than_expected_is_tested_as_far_as_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    events = worked(NumpyDevice(memory_cells=10 * JOB.chunk_cells), monkeypatch)
    assert [e.name for e in events if isinstance(e, load.Broken)] == []
    tested = next(e for e in events if isinstance(e, load.Tested)).pattern
    assert tested.tested_bytes == (10 - load._CHUNKS_FOR_READING) * 4 * JOB.chunk_cells
    assert tested.tested_bytes < 0.75 * tested.free_bytes
    assert tested.wrong_cells == 0


def test_load_for_a_card_does_not_run_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    events = worked(NumpyDevice(), monkeypatch, msgspec.structs.replace(JOB, card=0))
    assert len(events) == 1


# Checks of the results


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return scenario.load("rtx3060_idle").machine(tmp_path_factory.mktemp("box"))


def at_work(second: float, **answers: Any) -> Sample:
    """One sample of an RTX 3060 without fault, except for the values in ``answers``."""
    content = copy.deepcopy(scenario.load("rtx3060_idle").nvml)
    content["gpus"][0].update(
        {"Temperature": {0: 71}, "PowerUsage": 165000, "PerformanceState": 2, "CurrPcieLinkGeneration": 4,
         "ClockInfo": {1: 1852, 2: 7300}, "CurrentClocksEventReasons": 4, **answers}
    )  # fmt: skip
    fake_nvml.install(content)
    gpu = card.sample(0)
    pynvml.nvmlLib = None
    return Sample(second=second, gpu=gpu)


HEALTHY = LoadRun(
    backend="torch",
    device="NVIDIA GeForce RTX 3060",
    on_gpu=True,
    pinned=True,
    seconds=120,
    rates={"matmul-fp32": 8.2, "matmul-tf32": 12.4, "matmul-fp16": 24.8, "matmul-bf16": 24.7,
           "memory-bandwidth": 320.0, "to-device": 25.0, "from-device": 26.0},
    pattern=Pattern(tested_bytes=11 << 30, free_bytes=12 << 30, wrong_cells=0, patterns=6),
    repeats=Repeats(times=50, different=0),
    soak=tuple(ThroughputSample(second=float(s), tflops=24.0) for s in range(20, 120)),
    samples=tuple(at_work(float(s)) for s in range(0, 120, 20)),
    xids_known=True,
)  # fmt: skip


def judged(machine: Machine, run: LoadRun, subject: Subject | str | None = "first") -> dict[str, Finding]:
    given = health.subjects(machine)[0] if subject == "first" else subject
    return {f.id: f for f in stress._judged(given, run, machine)}  # type: ignore[arg-type]


def bad(findings: dict[str, Finding]) -> dict[str, str]:
    return {f.id: f.status.value for f in findings.values() if f.status not in (Status.PASS, Status.SKIP)}


def test_a_healthy_card_passes_under_load(machine: Machine) -> None:
    findings = judged(machine, HEALTHY)
    assert bad(findings) == {}
    assert findings["load.matmul-tf32"].status is Status.PASS
    assert findings["load.link"].message == "PCIe 4 x16 of PCIe 4 x16"


SLOW = tuple(ThroughputSample(second=float(s), tflops=24.0 if s < 60 else 20.0) for s in range(20, 120))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rates": {**HEALTHY.rates, "matmul-fp32": 7.0}}, {"load.matmul-fp32": "warn"}),
        ({"rates": {**HEALTHY.rates, "matmul-fp32": 4.0}}, {"load.matmul-fp32": "fail"}),
        ({"rates": {**HEALTHY.rates, "matmul-bf16": 18.0}}, {"load.matmul-bf16": "warn"}),
        ({"rates": {**HEALTHY.rates, "memory-bandwidth": 200.0}}, {"load.memory-bandwidth": "fail"}),
        ({"rates": {**HEALTHY.rates, "to-device": 12.0}}, {"load.to-device": "fail"}),
        ({"pinned": False, "rates": {**HEALTHY.rates, "to-device": 3.0}}, {}),
        ({"troubles": {"matmul-fp16": "no kernel image"}}, {"load.matmul-fp16": "unknown"}),
        ({"pattern": Pattern(tested_bytes=11 << 30, free_bytes=12 << 30, wrong_cells=2, patterns=6)},
         {"load.memory-pattern": "fail"}),
        ({"pattern": Pattern(tested_bytes=6 << 30, free_bytes=12 << 30, wrong_cells=0, patterns=6)},
         {"load.memory-pattern": "unknown"}),
        ({"repeats": Repeats(times=50, different=1)}, {"load.repeatable": "fail"}),
        ({"soak": SLOW}, {"load.throughput-drop": "warn"}),
        ({"new_xids": (79,)}, {"load.xid": "fail"}),
        ({"new_xids": (13,)}, {"load.xid": "warn"}),
        ({"problem": "crashed (SIGSEGV)"}, {"load.runs": "fail"}),
    ],
)  # fmt: skip
def test_each_fault_fails_its_own_check(
    machine: Machine, change: dict[str, Any], expected: dict[str, str]
) -> None:
    assert bad(judged(machine, msgspec.structs.replace(HEALTHY, **change))) == expected


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"Temperature": {0: 94}}, {"load.temperature": "warn"}),
        ({"Temperature": {0: 96}}, {"load.temperature": "fail"}),
        ({"CurrentClocksEventReasons": 0x44}, {"load.slowdown": "fail"}),
        ({"CurrentClocksEventReasons": 0x24}, {"load.slowdown": "warn"}),
        ({"CurrPcieLinkGeneration": 1}, {"load.link": "warn"}),
        ({"PcieReplayCounter": 9}, {"load.replays": "warn"}),
        ({"PowerUsage": 60000}, {"load.power": "warn"}),
    ],
)
def test_sensor_values_under_load_are_checked(
    machine: Machine, answers: dict[str, Any], expected: dict[str, str]
) -> None:
    first = at_work(0.0) if "PcieReplayCounter" in answers else at_work(0.0, **answers)
    samples = (first, *(at_work(float(s), **answers) for s in range(20, 120, 20)))
    # Copies are compared with the link: omit them in cases that change the link.
    rates = {k: v for k, v in HEALTHY.rates.items() if "device" not in k}
    run = msgspec.structs.replace(HEALTHY, samples=samples, rates=rates)
    assert bad(judged(machine, run)) == expected


def test_a_laptop_never_fails_for_speed(tmp_path: Path) -> None:
    machine = scenario.load("laptop").machine(tmp_path)
    slow = {name: value / 10 for name, value in HEALTHY.rates.items()}
    findings = judged(machine, msgspec.structs.replace(HEALTHY, rates=slow))
    assert Status.FAIL not in {f.status for f in findings.values()}


def test_an_unknown_card_is_compared_with_its_reported_limits(tmp_path: Path) -> None:
    machine = scenario.load("unknown_model").machine(tmp_path)
    findings = judged(machine, HEALTHY)
    assert findings["load.matmul-fp32"].status is Status.SKIP
    assert findings["load.memory-bandwidth"].status is Status.PASS
    assert findings["load.memory-bandwidth"].expected == pytest.approx(360, rel=0.01)


def test_figures_of_a_cpu_are_shown_but_not_judged(machine: Machine) -> None:
    run = msgspec.structs.replace(HEALTHY, on_gpu=False, samples=(), soak=SLOW)
    assert bad(judged(machine, run, None)) == {}


# Child processes

HERE = Path(__file__).resolve().parent
TALK = """
import sys
for event in ({"type": "opened", "device": "RTX", "on_gpu": True, "pinned": False},
              {"type": "doing", "what": "soak"}, {"type": "rate", "name": "matmul-fp32", "value": 8.0},
              {"type": "steady", "tflops": 7.5}):
    import json; print(json.dumps(event), flush=True)
print("noise that is no event")
import time; time.sleep(PAUSE)
END
"""


def script(pause: float, end: str) -> tuple[str, ...]:
    return (sys.executable, "-c", TALK.replace("PAUSE", str(pause)).replace("END", end))


def test_the_output_of_both_child_processes_is_read(machine: Machine, tmp_path: Path) -> None:
    said: list[str] = []
    log = Reading.of(KernelLog(source="/dev/kmsg", xids=(Xid(code=31),)))
    run = stress.measure(
        machine,
        health.subjects(machine)[0],
        1.0,
        "torch",
        said.append,
        load=script(2.0, ""),
        probe=scenario.load("rtx4060_x8").probe(tmp_path / "probe"),
        read_log=lambda: log,
    )
    assert run.problem == ""
    assert run.rates == {"matmul-fp32": 8.0}
    assert [s.tflops for s in run.soak] == [7.5]
    assert {s.gpu.temperatures.gpu_c.value for s in run.samples} == {68}
    assert run.new_xids == (31,)


@pytest.mark.parametrize(
    ("end", "words"), [("sys.exit(3)", "code 3"), ("import os; os.kill(os.getpid(), 11)", "SIGSEGV")]
)
def test_a_load_process_that_dies_is_reported(machine: Machine, tmp_path: Path, end: str, words: str) -> None:
    run = stress.measure(
        machine, None, 1.0, "torch", print, load=script(0.0, end), read_log=lambda: Reading.failed("x")
    )
    assert words in run.problem
    assert run.rates == {"matmul-fp32": 8.0}


def test_ctrl_c_keeps_what_was_measured(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient(stress._Recorder):
        def event(self, line: bytes) -> None:
            super().event(line)
            if self.soak:
                raise KeyboardInterrupt

    monkeypatch.setattr(stress, "_Recorder", Impatient)
    run = stress.measure(
        machine, None, 60.0, "torch", print, load=script(60.0, ""), read_log=lambda: Reading.failed("x")
    )
    assert run.interrupted
    assert run.rates == {"matmul-fp32": 8.0}
    assert judged(machine, run, None)["load.runs"].status is Status.SKIP


def test_the_job_fits_the_card(machine: Machine, tmp_path: Path) -> None:
    job = stress.job_for(health.subjects(machine)[0], 60, "torch")
    assert job.precisions == ("fp32", "tf32", "fp16", "bf16")
    assert job.free_bytes == 12884901888 - 357564416 - 224395264
    old = scenario.load("gtx1060_idle").machine(tmp_path / "old")
    assert stress.job_for(health.subjects(old)[0], 60, "torch").precisions == ("fp32",)
    assert stress.job_for(None, 60, "torch").card is None


def test_a_backend_that_is_not_installed_is_reported(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stress.importlib.util, "find_spec", lambda name: None)
    findings, _ = stress.findings(machine, minutes=1, backend="jax", say=print)
    assert bad({f.id: f for f in findings}) == {"load.runs": "fail"}
    assert "jax" in findings[0].message


def test_no_load_runs_if_no_card_answers(tmp_path: Path) -> None:
    machine = scenario.load("lost_handle").machine(tmp_path)
    findings, _ = stress.findings(machine, minutes=1, backend=None, say=print)
    assert {f.status for f in findings} == {Status.SKIP}


def test_real_load_on_a_cpu(dlbox: Any) -> None:
    """An installed framework produces the load; a few seconds are enough for every part."""
    done = dlbox("check", "--stress", "0.03", "--only", "load", "--json")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    found = {f["id"]: f for f in json.loads(done.stdout)["findings"]}
    parts = ("runs", "matmul-fp32", "memory-bandwidth", "memory-pattern", "repeatable")
    assert {part: found[f"load.{part}"]["status"] for part in parts} == dict.fromkeys(parts, "pass")
    assert {f["status"] for f in found.values()} == {"pass", "skip"}
    assert "TFLOPS" in found["load.matmul-fp32"]["message"]
    assert "GB/s" in found["load.memory-bandwidth"]["message"]
