"""Every warning, failure and unknown of every check has a next step, whatever reading fails and however."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import scenario

from bench import health
from bench.finding import Status, verdict
from bench.health.load.peers import with_peers
from bench.health.load.record import LoadRun, Sample, ThroughputSample
from inventory.machine.gpu_records import Clocks, Gpu, Temperatures
from inventory.machine.reading import Reading
from inventory.machine.records import Machine
from tests.test_unread import BAD, replaced, walked

SCENARIOS = (
    "rtx3060_idle",
    "h200_idle",
    "laptop_on_battery",
    "cloud_a100",
    "two_cards_x8",
    "container",
    "wsl2",
)
NEEDED = {
    "handle", "name", "uuid", "memory_total_bytes", "gpu_c", "event_reasons", "nvml", "kernel_log", "width",
    "width_max", "link_width", "link_width_max", "aer_fatal", "aer_nonfatal", "aer_correctable", "compute_mode",
    "recovery_action", "inforom_valid", "ecc_uncorrected", "ecc_uncorrected_lifetime", "retired_pages",
    "retirement_pending", "remapped_rows_corrected", "remapped_rows_uncorrected", "remap_pending", "remap_failed",
    "ecc_enabled", "disk", "secure_boot", "module_version", "module_flavour", "library_version", "kernels",
    "nouveau_blacklisted", "dkms", "packages", "pci_device_id", "pci_address", "compute_capability", "cuda_version",
}  # fmt: skip
"""Readings that a verdict rests on. All others are sensors whose failure leaves the verdict as it is."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_failed_reading_has_a_next_step(name: str, tmp_path: Path) -> None:
    machine = scenario.load(name).machine(tmp_path)
    before = verdict(health.run(machine), has_gpu=True)
    for at, _reading in walked(machine):
        for bad in BAD:
            findings = health.run(replaced(machine, at, bad))
            for finding in findings:
                if finding.status in (Status.WARN, Status.FAIL, Status.UNKNOWN):
                    assert len(finding.remedy or "") > 5, (at, bad, finding)
                    assert finding.remedy != "nothing to do", (at, finding)
            if at[-1] not in NEEDED:
                assert verdict(findings, has_gpu=True) == before, (at, bad)


def under_load(index: int, tflops: float, clock: int, hottest: int) -> tuple[health.Subject, LoadRun]:
    gpu = Gpu(
        index=index,
        name=Reading.of("NVIDIA GeForce RTX 3060"),
        clocks=Clocks(sm_mhz=Reading.of(clock)),
        temperatures=Temperatures(gpu_c=Reading.of(hottest)),
    )
    run = LoadRun(
        backend="torch",
        on_gpu=True,
        soak=tuple(ThroughputSample(second=float(n), tflops=tflops) for n in range(10)),
        samples=tuple(Sample(second=float(n), gpu=gpu) for n in range(10)),
    )
    return health.Subject(machine=Machine(read_at=""), gpu=gpu), run


@pytest.mark.parametrize(
    ("other", "status", "words"),
    [
        ((9.7, 1800, 71), Status.PASS, "1 other card"),
        ((8.0, 1800, 71), Status.WARN, "8 TFLOPS, another card 10 (80%)"),
        ((10.0, 1500, 71), Status.WARN, "1500 MHz"),
        ((10.0, 1800, 86), Status.WARN, "86 C, another card 68 C"),
    ],
)
def test_two_cards_of_one_model_are_compared(
    other: tuple[float, int, int], status: Status, words: str
) -> None:
    judge = next(check for check in health.checks() if check.id == "load.alike")
    first, second = with_peers([under_load(0, 10.0, 1820, 68), under_load(1, *other)])
    assert judge.apply(*first).status is Status.PASS
    found = judge.apply(*second)
    assert (found.status, words in found.message) == (status, True)
    assert status is Status.PASS or found.remedy


def test_cards_of_two_models_are_not_compared() -> None:
    judge = next(check for check in health.checks() if check.id == "load.alike")
    subject, run = under_load(1, 2.0, 900, 80)
    gpu = msgspec.structs.replace(subject.gpu, name=Reading.of("NVIDIA GeForce GTX 1060"))
    older = (msgspec.structs.replace(subject, gpu=gpu), run)
    _, second = with_peers([under_load(0, 10.0, 1820, 68), older])
    assert judge.apply(*second).status is Status.SKIP
