"""Plan, check, parts and the judgement of results work with a card of which only name and chip are known."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import scenario
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import health
from bench.finding import Finding, Status
from bench.judge import bands, plausibility
from bench.measure import stress
from inventory.builds import this_machine
from inventory.cards import architectures, cards, pci_table
from inventory.machine.reading import Reading
from inventory.machine.records import Machine
from provision.resolve import boxes
from provision.resolve.load import load
from provision.resolve.stack import NoStack, Stack, resolve
from tests import samples
from tests.test_parts import here, judged, make
from tests.test_stress import HEALTHY

DEVICES = [
    d
    for d in pci_table.table().values()
    if d.kind != "function" and d.names and cards.architecture_of(d.device_id)
]
SAMPLED = ["10de:25a6", "10de:1e09", "10de:2560", "10de:1db8", "10de:2901", "10de:1ba9"]


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return scenario.load("rtx3060_idle").machine(tmp_path_factory.mktemp("box"))


def with_card(machine: Machine, device_id: int, name: str) -> Machine:
    """The machine with another card, of which NVML reports name and id."""
    known = pci_table.table()[device_id]
    chip = architectures.of_chip(known.chip)
    gpu = msgspec.structs.replace(
        machine.gpus[0],
        name=Reading.of(f"NVIDIA {name}"),
        pci_device_id=Reading.of(device_id),
        compute_capability=Reading.of(chip[1]) if chip else machine.gpus[0].compute_capability,
    )
    pci = msgspec.structs.replace(machine.cards[0], device_id=device_id)
    return msgspec.structs.replace(machine, gpus=(gpu,), cards=(pci,))


def _named(pci_id: str) -> tuple[int, str]:
    device = pci_table.table()[int(pci_id[5:], 16)]
    return device.device_id, device.names[0] if device.names else "Graphics Device"


@pytest.mark.parametrize("pci_id", SAMPLED)
def test_check_skips_what_needs_a_figure(idle: Machine, pci_id: str) -> None:
    machine = with_card(idle, *_named(pci_id))
    found = {f.id: f for f in health.run(machine)}
    assert found["gpu.model"].status is Status.PASS
    assert "compute capability" in found["gpu.model"].message
    broken = [f for f in found.values() if "raised" in f.message or "internal" in f.message]
    assert not broken
    under_load = {f.id: f for f in stress._judged(health.subjects(machine)[0], HEALTHY, machine)}
    assert under_load["load.matmul-fp32"].status is Status.SKIP
    assert stress.job_for(health.subjects(machine)[0], 1.0, "torch").precisions[0] == "fp32"


@given(st.sampled_from(DEVICES), st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_no_check_fails_to_run_on_any_card_of_the_table(device: pci_table.PciDevice, gib: int) -> None:
    machine = with_card(IDLE[0], device.device_id, device.names[0])
    gpu = msgspec.structs.replace(machine.gpus[0], memory_total_bytes=Reading.of(gib << 30))
    machine = msgspec.structs.replace(machine, gpus=(gpu,))
    findings = [*health.run(machine), *stress._judged(health.subjects(machine)[0], HEALTHY, machine)]
    assert all(isinstance(finding, Finding) for finding in findings)
    assert isinstance(resolve(boxes.of_machine(machine), load()), (Stack, NoStack))
    judged_here = here(machine, None)
    assert judged_here["this-card"].status == "pass"
    assert this_machine.power_limit(machine) is not None
    result = samples.result(on_gpu=True)
    assert bands.judge(result, machine)[0] is None
    card = plausibility.card(machine)
    assert card is not None
    assert plausibility.of_card(card, "float32") == card.peak_tflops("fp32")


IDLE: list[Machine] = []


@pytest.fixture(scope="module", autouse=True)
def _read_once(idle: Machine) -> None:
    IDLE[:] = [idle]


@pytest.mark.parametrize("name", ["CMP 50HX", "B200", "A30X"])
def test_parts_judges_what_it_can(tmp_path: Path, name: str) -> None:
    found = judged(make(tmp_path, card={"model": name, "power_w": None}))
    assert found["speed-per-dollar"].status == "skip"
    assert name in found["speed-per-dollar"].message
    if cards.find(name).tdp_w is None:
        assert found["power-supply"].status == "skip"
        assert "add `power_w`" in found["power-supply"].message
        given_power = judged(make(tmp_path, card={"model": name, "power_w": 170}))
        assert given_power["power-supply"].status != "skip"


def test_a_card_with_replaced_memory_is_judged_by_what_it_has_now(tmp_path: Path, idle: Machine) -> None:
    found = judged(make(tmp_path, card={"model": "RTX 2080 Ti 22GB"}))["speed-per-dollar"]
    sold = judged(make(tmp_path, card={"model": "RTX 2080 Ti"}))["speed-per-dollar"]
    assert found.measured == sold.measured
    assert found.message != sold.message
    machine = with_card(idle, 0x1E07, "GeForce RTX 2080 Ti")
    gpu = msgspec.structs.replace(machine.gpus[0], memory_total_bytes=Reading.of(22528 << 20))
    machine = msgspec.structs.replace(machine, gpus=(gpu,))
    subject = health.subjects(machine)[0]
    assert subject.card is not None
    assert subject.card.memory_modified
    size = next(f for f in health.run(machine) if f.id == "gpu.memory-size")
    assert size.status is Status.PASS
    assert "a GeForce RTX 2080 Ti whose memory was replaced; the model has 11" in size.message
