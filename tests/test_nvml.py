"""The real nvidia-ml-py with a fake library: each function fails in turn, every answer may be invalid."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from typing import Any

import fake_nvml
import msgspec
import pynvml
import pytest
import scenario
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import health
from bench.finding import Finding, Status
from inventory.machine.gpu_records import Gpu
from inventory.machine.reading import Reading
from inventory.machine.records import Machine
from inventory.nvml import card as nvml_card
from inventory.nvml import library, probe

FUNCTIONS = fake_nvml.functions()
SECOND_CHOICE = {
    "CurrentClocksThrottleReasons",
    "FanSpeed",
    "FanSpeed_v2",
    "MemoryInfo",
    "PowerManagementLimit",
    "ProcessUtilization",
}
"""Called only if the card lacks another function; the last one is called only during training."""

HEALTHY = scenario.load("h200_idle").nvml


@pytest.fixture(autouse=True)
def give_the_library_back() -> Iterator[None]:
    yield
    pynvml.nvmlLib = None
    pynvml._nvmlGetFunctionPointer_cache.clear()


def with_answer(key: str, answer: Any) -> Gpu:
    content = copy.deepcopy(HEALTHY)
    content["gpus"][0][key] = answer
    fake_nvml.install(content)
    return nvml_card.gpu(0)


def judged(gpu: Gpu) -> list[Finding]:
    return health.run(Machine(read_at="2026-01-02T03:04:05+00:00", nvml=Reading.of(True), gpus=(gpu,)))


def ids(findings: list[Finding], *statuses: Status) -> list[str]:
    return [f.id for f in findings if f.status in statuses and f.theme not in ("driver", "host")]


def test_all_values_of_a_healthy_card_are_read() -> None:
    gpu = with_answer("Name", "NVIDIA H200")
    assert gpu.memory_total_bytes == Reading.of(150754820096)
    assert gpu.power.draw_w == Reading.of(76.0)
    assert gpu.temperatures.memory_c == Reading.of(39)
    assert gpu.pci_address == Reading.of("0000:01:00.0")
    assert gpu.errors.ecc_enabled == Reading.of(True)
    assert ids(judged(gpu), Status.WARN, Status.FAIL, Status.UNKNOWN) == []


@pytest.mark.parametrize("key", FUNCTIONS)
@pytest.mark.parametrize("code", [3, 13, 26])
def test_an_unsupported_function_is_never_a_fault(key: str, code: int) -> None:
    findings = judged(with_answer(key, {"code": code}))
    assert ids(findings, Status.WARN, Status.FAIL) == []
    core = {"Name": ["gpu.model"], "MemoryInfo_v2": []}
    assert set(ids(findings, Status.UNKNOWN)) <= set(core.get(key, []))


@pytest.mark.parametrize("key", FUNCTIONS)
@pytest.mark.parametrize("code", [999, 10, 17])
def test_a_failed_function_leaves_its_own_checks_without_a_verdict(key: str, code: int) -> None:
    findings = judged(with_answer(key, {"code": code}))
    assert ids(findings, Status.FAIL) == []
    assert len(ids(findings, Status.UNKNOWN, Status.WARN)) <= 6
    assert all(f.remedy for f in findings if f.status in (Status.UNKNOWN, Status.WARN))


@pytest.mark.parametrize("key", sorted(set(FUNCTIONS) - SECOND_CHOICE))
@pytest.mark.parametrize("code", [15, 16])
def test_a_lost_card_gives_one_finding(key: str, code: int) -> None:
    findings = judged(with_answer(key, {"code": code}))
    assert ids(findings, Status.WARN, Status.FAIL, Status.UNKNOWN) == ["gpu.responds"]


def test_missing_permission_is_reported() -> None:
    gpu = with_answer("Temperature", {"code": 4})
    assert gpu.temperatures.gpu_c.state == "no-permission"
    findings = judged(gpu)
    assert ids(findings, Status.UNKNOWN) == ["thermal.temperature"]
    assert [f.remedy for f in findings if f.id == "thermal.temperature"] == [
        "run the check as root: sudo dlbox check"
    ]


def test_functions_that_newer_drivers_renamed_are_found() -> None:
    content = copy.deepcopy(HEALTHY)
    card = content["gpus"][0]
    del card["CurrentClocksEventReasons"]
    card["CurrentClocksThrottleReasons"] = 0x40
    memory = card.pop("MemoryInfo_v2")
    card["MemoryInfo"] = {"total": memory["total"], "used": 700_000_000, "free": 1}
    fake_nvml.install(content)
    gpu = nvml_card.gpu(0)
    assert gpu.clocks.event_reasons == Reading.of(0x40)
    assert gpu.memory_used_bytes == Reading.of(700_000_000)
    assert gpu.memory_reserved_bytes.state == "not-supported"


@pytest.mark.parametrize(
    ("key", "answer", "place"),
    [
        ("Temperature", {0: 4294967295}, "temperatures.gpu_c"),
        ("Temperature", {0: 3000}, "temperatures.gpu_c"),
        ("PowerUsage", 4294967295, "power.draw_w"),
        ("CurrPcieLinkWidth", 0, "link.width"),
        ("UtilizationRates", 4000, "utilisation_percent"),
        ("CudaComputeCapability", [0, -7], "compute_capability"),
        ("PciInfo", {"bus_id": "nonsense", "device": 0x2335}, "pci_address"),
        ("PciInfo", {"bus_id": "00000000:01:00.0", "device": 1, "vendor": 0x8086}, "pci_device_id"),
        ("EccMode", [7, 7], "errors.ecc_enabled"),
        ("MemoryInfo_v2", {"total": 0, "used": 0}, "memory_total_bytes"),
        ("Name", b"", "name"),
    ],
)
def test_impossible_values_become_failed_readings(key: str, answer: Any, place: str) -> None:
    reading: Any = with_answer(key, answer)
    for part in place.split("."):
        reading = getattr(reading, part)
    assert reading.state == "failed"
    assert reading.value is None
    assert reading.why


NUMBERS = st.one_of(
    st.integers(0, 200), st.integers(-(2**31), 2**64), st.sampled_from([2**32 - 1, 2**64 - 1])
)
ANSWERS = st.one_of(
    NUMBERS,
    st.builds(lambda code: {"code": code}, st.integers(0, 1000)),
    st.binary(max_size=60),
    st.lists(NUMBERS, min_size=2, max_size=2),
)


def shaped(key: str, answer: Any, numbers: list[int]) -> Any:
    """Garbage in the form that a function needs: ctypes itself refuses anything else."""
    if isinstance(answer, dict):
        return answer
    if key in fake_nvml.TEXTS or key == "GspFirmwareVersion":
        return answer if isinstance(answer, bytes) else str(answer).encode()
    if key in fake_nvml.INDEXED:
        return dict.fromkeys(range(8), numbers[0])
    if key in fake_nvml.PAIRS:
        return numbers[:2]
    forms: dict[str, Any] = {
        "MemoryInfo_v2": {"total": numbers[0], "used": numbers[1], "reserved": numbers[2]},
        "MemoryInfo": {"total": numbers[0], "used": numbers[1]},
        "PciInfo": {"bus_id": str(answer)[:20], "device": numbers[0] & 0xFFFF},
        "TotalEccErrors": {"corrected": numbers[0], "uncorrected": numbers[1]},
        "RemappedRows": numbers[:4],
        "RetiredPages": numbers[0] % 40,
        "ComputeRunningProcesses": [{"pid": numbers[0], "memory": numbers[1]}],
        "GraphicsRunningProcesses": [{"pid": numbers[2], "memory": numbers[3]}],
        "ProcessUtilization": [{"pid": numbers[0], "sm": numbers[1]}],
        "FieldValues": dict.fromkeys((82, 230, 269, 270, 271), numbers[0]),
        "ValidateInforom": numbers[0] % 1000,
    }
    return forms.get(key, numbers[0])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_invalid_answers_of_any_function_never_end_a_run(data: st.DataObject) -> None:
    content = copy.deepcopy(HEALTHY)
    for key in data.draw(st.sets(st.sampled_from(FUNCTIONS), min_size=1, max_size=6)):
        numbers = data.draw(st.lists(NUMBERS, min_size=4, max_size=4))
        content["gpus"][0][key] = shaped(key, data.draw(ANSWERS), numbers)
    fake_nvml.install(content)
    gpu = nvml_card.gpu(0)
    assert msgspec.json.decode(msgspec.json.encode(gpu), type=Gpu) == gpu
    sample = nvml_card.sample(0)
    assert msgspec.json.decode(msgspec.json.encode(sample), type=Gpu) == sample
    for finding in judged(gpu):
        assert "the check itself failed" not in finding.message, finding
    for name in ("uuid", "name"):
        reading = getattr(gpu, name)
        assert reading.value is None or reading.value.isprintable()


@pytest.mark.parametrize(("given", "expected"), [(-2, -2), (7, 7), (0, 0), (2**32 - 7, -7)])
def test_margins_of_temperature_are_signed(given: int, expected: int) -> None:
    """Drivers write the fields as a signed number, or as an unsigned one of 32 bits."""
    content = copy.deepcopy(HEALTHY)
    content["gpus"][0]["FieldValues"] = {193: given, 194: given, 196: given}
    content["gpus"][0]["MarginTemperature"] = -3
    fake_nvml.install(content)
    limits = nvml_card.gpu(0).temperatures
    assert limits.slowdown_margin_c == Reading.of(expected)
    assert limits.shutdown_margin_c == Reading.of(expected)
    assert limits.max_operating_margin_c == Reading.of(expected)
    assert limits.memory_max_margin_c.state == "not-supported"
    assert limits.margin_c == Reading.of(-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"VbiosVersion": "00.00.00.00.00"},
        {"Name": "NVIDIA A16-4Q"},
        {"Name": "GRID T4-8C"},
        {"Name": "NVIDIA A100-1-5C"},
        {"ClockInfo": {1: 0, 2: 0}},
    ],
)
def test_the_sensors_that_a_virtual_gpu_reports_as_zero_are_not_supported(changes: dict[str, Any]) -> None:
    content = copy.deepcopy(HEALTHY)
    content["gpus"][0] |= {"Temperature": {0: 0}, "PowerUsage": 0, "PciInfo": {"code": 3}, **changes}
    fake_nvml.install(content)
    gpu = nvml_card.gpu(0)
    assert gpu.temperatures.gpu_c.state == "not-supported"
    assert gpu.power.draw_w.state == "not-supported"
    assert "virtual GPU" in gpu.temperatures.gpu_c.why
    found = judged(msgspec.structs.replace(gpu, samples=(nvml_card.moment(0, 0.2),)))
    assert ids(found, Status.WARN, Status.FAIL, Status.UNKNOWN) == []


def test_a_temperature_of_zero_on_a_real_card_is_not_read() -> None:
    gpu = with_answer("Temperature", {0: 0})
    assert gpu.temperatures.gpu_c.state == "failed"
    assert ids(judged(gpu), Status.UNKNOWN) == ["thermal.temperature"]


def lines(content: dict[str, Any]) -> list[probe.Line]:
    fake_nvml.install(copy.deepcopy(content))
    out = io.BytesIO()
    assert probe.report(out, frozenset(), pause_s=0) == 0
    return [msgspec.json.decode(line, type=probe.Line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({}, probe.SAMPLES),
        ({"CurrentClocksEventReasons": 0x9}, probe.MOST_SAMPLES),
        ({"CurrentClocksEventReasons": {"over_time": [1, 1, 0x20, 1]}}, probe.MOST_SAMPLES),
        ({"PowerUsage": 701_000}, probe.MOST_SAMPLES),
        ({"UtilizationRates": 99, "ClockInfo": {1: 210, 2: 3201}}, probe.MOST_SAMPLES),
        ({"UtilizationRates": 99, "ClockInfo": {1: 1900, 2: 3201}}, probe.SAMPLES),
    ],
)
def test_a_reading_that_looks_like_a_fault_is_repeated_more_often(
    changes: dict[str, Any], number: int
) -> None:
    content = copy.deepcopy(HEALTHY)
    content["gpus"][0] |= changes
    samples = [line.sample for line in lines(content) if line.sample is not None]
    assert len(samples) == number
    assert all(sample.temperature_c == Reading.of(31) for sample in samples)


@pytest.mark.parametrize(
    ("code", "state"), [(9, "failed"), (12, "failed"), (18, "failed"), (4, "no-permission")]
)
def test_a_failed_start_keeps_its_return_code(code: int, state: str) -> None:
    fake_nvml.install({"init": code})
    reading = library.start()
    assert (reading.state, reading.code) == (state, code)
    assert reading.why


def test_cards_that_cannot_be_counted_are_a_failed_start() -> None:
    fake_nvml.install({"count": {"code": 999}})
    assert library.start().code == 999


def test_versions_of_the_driver_are_read() -> None:
    fake_nvml.install({"driver": "580.65.06", "cuda": 12080})
    assert library.driver().library_version == Reading.of("580.65.06")
    assert library.driver().cuda_version == Reading.of("12.8")
    fake_nvml.install({"cuda": 7})
    assert not library.driver().cuda_version.ok


def test_bytes_and_text_are_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda handle: b"NVIDIA GeForce RTX 3060\n")
    assert library.text("nvmlDeviceGetName", None) == Reading.of("NVIDIA GeForce RTX 3060")
    assert library.text("nvmlDoesNotExist").state == "not-supported"
