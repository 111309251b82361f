"""Which cards of a machine a plan counts on, what its processor runs, and plans inside containers and WSL2."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory.cards import cards
from inventory.machine.gpu_records import Gpu
from inventory.machine.reading import Reading
from inventory.machine.records import Driver, Machine, PciCard
from provision.ansible import variables
from provision.resolve import boxes
from provision.resolve.hardware.cards_in_use import CardChoiceError, choose_cards, countable
from provision.resolve.load import load
from provision.resolve.stack import NoStack, Request, Stack, Target, resolve
from tests.test_plan import BOX, answer, machine, refused, run
from tests.test_stack import no_stack, stack, target

__all__ = ["machine"]  # a fixture

DATA = load()
KEPLER = Target(name="GT 710", architecture="kepler")
FERMI = Target(name="10de:0a20", architecture=None)
RADEON = Target(name="Radeon RX 6600", architecture=None, maker="AMD")


def request(*targets: Target, **more: object) -> Request:
    found = Request(distribution="ubuntu-24.04", targets=targets)
    return msgspec.structs.replace(found, **more)


def at(name: str, slot: str, bound: str | None = None) -> Target:
    return msgspec.structs.replace(target(name), address=f"0000:{slot}", bound_driver=bound)


@pytest.mark.parametrize("other", [KEPLER, FERMI, RADEON], ids=lambda each: each.name)
@pytest.mark.parametrize("order", [1, -1])
def test_a_card_without_a_driver_is_planned_around(other: Target, order: int) -> None:
    found = resolve(request(*(target("RTX 4060 Ti"), other)[::order]), DATA, DATA.date)
    assert isinstance(found, Stack)
    assert found.driver is not None
    assert (found.driver.branch, found.cards) == (580, ("GeForce RTX 4060 Ti 8GB",))
    assert found.unused_cards == (other.name,)
    warning = next(text for text in found.warnings if other.name in text)
    assert "not used for training" in warning
    if other.maker == "NVIDIA":
        assert "driver 580 does not support it: connect the screen to GeForce RTX 4060 Ti 8GB" in warning


def test_the_same_from_the_command_line() -> None:
    found = answer("--card", "GT 710", "--card", "RTX 4060 Ti", "--distro", "ubuntu-24.04")
    assert (found["driver"]["branch"], found["unused_cards"]) == (580, ["GT 710"])


def test_alone_such_a_card_still_has_no_stack() -> None:
    for other in (KEPLER, FERMI, RADEON):
        found = resolve(request(other), DATA, DATA.date)
        assert isinstance(found, NoStack)
        assert other.name in found.because
        assert found.choices == ()


def test_a_card_of_a_virtual_machine_is_planned_around() -> None:
    found = resolve(
        request(at("RTX 5090", "01:00.0", "vfio-pci"), at("GTX 1060", "02:00.0", "nvidia")), DATA, DATA.date
    )
    assert isinstance(found, Stack)
    assert found.cards == ("GeForce GTX 1060 6GB",)
    assert any("reserved for a virtual machine (vfio-pci)" in warning for warning in found.warnings)


def test_if_a_virtual_machine_has_all_cards_the_choice_is_named() -> None:
    mine = request(KEPLER, at("RTX 3060", "01:00.0", "vfio-pci"))
    found = resolve(mine, DATA, DATA.date)
    assert isinstance(found, NoStack)
    assert "reserved for a virtual machine" in found.because
    assert "`--use 1` (GeForce RTX 3060 12GB)" in found.because
    assert found.nearest is not None
    assert found.nearest.cards == ()
    chosen = resolve(choose_cards(mine, ("1",)), DATA, DATA.date)
    assert isinstance(chosen, Stack)
    assert chosen.cards == ("GeForce RTX 3060 12GB",)


def test_families_that_no_driver_serves_together_are_a_choice() -> None:
    names = ("GTX 1060", "RTX 5060", "GTX 1060")
    found = no_stack(*names)
    assert [choice.option for choice in found.choices] == ["--use 0 --use 2", "--use 1"]
    assert "`--use 0 --use 2` for GeForce GTX 1060 6GB (driver 580 closed)" in found.because
    assert "`--use 1` for GeForce RTX 5060 (driver 580 open)" in found.because
    whole = request(*map(target, names))
    for choice in found.choices:
        chosen = resolve(
            choose_cards(whole, tuple(re.findall(r"--use (\S+)", choice.option))), DATA, DATA.date
        )
        assert isinstance(chosen, Stack)
        assert chosen.driver is not None
        assert (chosen.cards, chosen.driver.flavour) == (choice.cards, choice.driver_flavour)


def test_indices_in_a_choice_are_those_of_all_cards() -> None:
    found = resolve(request(KEPLER, target("GTX 1060"), target("RTX 5060")), DATA, DATA.date)
    assert isinstance(found, NoStack)
    assert [choice.option for choice in found.choices] == ["--use 1", "--use 2"]


def test_a_family_that_limits_the_others_is_named() -> None:
    warnings = stack("GTX 1060", "RTX 3060").warnings
    assert any("GeForce RTX 3060 12GB alone" in text and "`--use 1`" in text for text in warnings)
    assert not any("alone" in text for text in stack("RTX 3060", "RTX 3090").warnings)


BOTH = request(at("GTX 1060", "01:00.0"), at("RTX 5060", "82:00.0"), at("RTX 5060", "83:00.0"))


@pytest.mark.parametrize(
    ("chosen", "slots"),
    [
        (("0",), "01"),
        (("#1",), "82"),
        (("1,2",), "82 83"),
        (("2", "1"), "82 83"),
        (("5060",), "82 83"),
        (("geforce rtx 5060",), "82 83"),
        (("GTX1060",), "01"),
        (("10de:1c03",), "01"),
        (("82:00.0",), "82"),
        (("0000:82:00.0",), "82"),
        (("00000000:83:00.0",), "83"),
        (("82:00",), "82"),
        ((), ""),
        (("",), ""),
    ],
)
def test_a_card_is_chosen_by_name_index_or_address(chosen: tuple[str, ...], slots: str) -> None:
    found = choose_cards(BOTH, chosen)
    assert [each.address[5:7] for each in found.targets] == slots.split()
    assert len(found.targets) + len(found.unused) == 3


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ("3", "there is no card 3; the cards are 0: GeForce GTX 1060 6GB (0000:01:00.0), 1: "),
        ("84:00.0", "no card has the PCI address 84:00.0"),
        ("RTX 5070", "did you mean GeForce RTX 5060?"),
        ("GTX 1080", "did you mean GeForce GTX 1060 6GB?"),
        ("RTX", None),
        ("a card by chance", 'no card "a card by chance"'),
        ("\x1b[31m", "this machine has no card"),
    ],
)
def test_a_choice_that_does_not_exist_names_the_cards(chosen: str, words: str | None) -> None:
    if words is None:
        assert len(choose_cards(BOTH, (chosen,)).targets) == 2
        return
    with pytest.raises(CardChoiceError) as caught:
        choose_cards(BOTH, (chosen,))
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_name_of_several_models_is_refused() -> None:
    with pytest.raises(CardChoiceError, match="means several cards"):
        choose_cards(request(target("RTX 3060"), target("RTX 3060 Ti")), ("RTX",))
    # The exact name of one is not the beginning of the other.
    assert len(choose_cards(request(target("RTX 3060"), target("RTX 3060 Ti")), ("RTX 3060",)).targets) == 1


ANY = [target(name) for name in ("GTX 750 Ti", "GTX 1060", "TITAN V", "RTX 3060", "RTX 5090")] + [
    KEPLER,
    FERMI,
    RADEON,
]
TARGETS = st.lists(
    st.builds(
        lambda one, slot, bound: msgspec.structs.replace(
            one, address=f"0000:{slot:02x}:00.0", bound_driver=bound
        ),
        st.sampled_from(ANY),
        st.integers(1, 9),
        st.sampled_from([None, "nvidia", "nouveau", "vfio-pci"]),
    ),
    max_size=4,
).map(tuple)


@given(
    TARGETS,
    st.lists(st.text(max_size=12) | st.sampled_from(["0", "1", "3060", "01:00.0", "1,2"]), max_size=3),
)
def test_any_choice_is_made_or_refused(targets: tuple[Target, ...], chosen: list[str]) -> None:
    try:
        found = choose_cards(request(*targets), tuple(chosen))
    except CardChoiceError:
        return
    assert sorted(each.name for each in (*found.targets, *found.unused)) == sorted(
        each.name for each in targets
    )
    assert countable(found, DATA) == found


@given(TARGETS, st.sampled_from(["bare-metal", "virtual-machine", "container", "wsl2"]))
def test_no_card_is_lost_and_every_choice_has_a_stack(targets: tuple[Target, ...], environment: str) -> None:
    mine = request(*targets, environment=environment)
    found = resolve(mine, DATA, DATA.date)
    if isinstance(found, Stack):
        assert sorted((*found.cards, *found.unused_cards)) == sorted(each.name for each in targets)
        assert (found.driver is None) is (not found.cards or environment in ("container", "wsl2"))
        assert not targets or found.cards
        return
    for choice in found.choices:
        chosen = choose_cards(mine, tuple(re.findall(r"--use (\S+)", choice.option)))
        assert isinstance(resolve(chosen, DATA, DATA.date), Stack)


def test_use_reaches_the_plan(machine: Callable[[Machine], None]) -> None:
    two = (
        PciCard(address="0000:01:00.0", device_id=0x1C03),
        PciCard(address="0000:02:00.0", device_id=0x2D04),
    )
    machine(msgspec.structs.replace(BOX, cards=two))
    assert run().exit_code == 1
    assert answer("--use", "02:00.0")["driver"]["flavour"] == "open"
    assert answer("--use", "GTX 1060")["unused_cards"] == ["GeForce RTX 5060 Ti 8GB"]
    assert "there is no card 7" in refused("--use", "7")
    assert "--use is empty" in refused("--use", " ")
    found = answer(code=1)
    assert [choice["option"] for choice in found["choices"]] == ["--use 0", "--use 1"]


@pytest.mark.parametrize(
    ("value", "cards_of_plan", "flavour"),
    [
        ("[1]", ["GeForce RTX 5060"], "open"),
        ("GTX 1060", ["GeForce GTX 1060 6GB"], "closed"),
        ("0", ["GeForce GTX 1060 6GB"], "closed"),
        ("[]", [], None),
    ],
)
def test_the_inventory_names_the_cards_to_train_on(
    tmp_path: Path, value: str, cards_of_plan: list[str], flavour: str | None
) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(
        "all: {hosts: {desk: {cards: [GTX 1060, RTX 5060], distribution: ubuntu-24.04, "
        f"compute_cards: {value}}}}}}}\n"
    )
    found = answer("--host", "desk", "--inventory", str(path))
    assert found["cards"] == cards_of_plan
    assert (found["driver"] or {}).get("flavour") == flavour
    assert answer("--host", "desk", "--inventory", str(path), "--use", "5060")["driver"]["flavour"] == "open"


def test_provision_reads_the_bound_driver() -> None:
    reading = {
        "machine_type": "x86_64", "kernel": "6.8.0-151-generic", "kernels": ["6.8.0-151-generic"],
        "distribution": {"id": "ubuntu", "version": "24.04"}, "environment": "bare-metal", "secure_boot": None,
        "cards": [
            {"address": "0000:01:00.0", "device_id": 0x2503, "driver": "vfio-pci"},
            {"address": "0000:02:00.0", "device_id": 0x1C03, "driver": "nouveau"},
        ],
        "cpu_flags": ["sse4_2"], "module_version": "550.163.01",
    }  # fmt: skip
    asked = variables.request(json.loads(json.dumps(reading)))
    assert (asked.cpu_flags, asked.driver_version) == (("sse4_2",), "550.163.01")
    found = resolve(asked, DATA, DATA.date)
    assert isinstance(found, Stack)
    assert found.cards == ("GeForce GTX 1060 6GB",)
    assert any(
        text.startswith("Driver 550.163.01 is loaded now. The plan replaces") for text in found.warnings
    )


# The processor


@pytest.mark.parametrize("names", [(), ("GTX 1060",), ("RTX 3060",), ("RTX 5060",)])
def test_without_avx_only_torch_runs(names: tuple[str, ...]) -> None:
    found = stack(*names, cpu_flags=("sse4_1", "sse4_2"))
    assert list(found.environments) == ["torch"]
    assert found.backend == "torch"
    assert set(found.missing) == {"tensorflow", "jax"}
    assert "AVX" in found.missing["jax"]
    assert any(
        "The processor has no AVX" in text and "torch runs without it" in text for text in found.warnings
    )
    assert any("jax-ml/jax#31723" in reason.source for reason in found.reasons)
    refusal = no_stack(*names, cpu_flags=("sse4_2",), frameworks=("tensorflow",))
    assert refusal.nearest is not None
    assert refusal.nearest.frameworks == ("torch",)


@pytest.mark.parametrize("flags", [None, ("avx",), ("avx", "avx2", "avx512f")])
def test_with_avx_or_unknown_flags_nothing_is_left_out(flags: tuple[str, ...] | None) -> None:
    assert stack("RTX 3060", cpu_flags=flags) == stack("RTX 3060")


# Containers and WSL2


@pytest.mark.parametrize("environment", ["container", "wsl2"])
@pytest.mark.parametrize("name", ["GTX 750 Ti", "GTX 1060", "RTX 3060", "RTX 5060"])
def test_no_driver_is_planned_where_another_system_has_it(environment: str, name: str) -> None:
    found = stack(name, environment=environment, driver_version="580.178.04", cuda_toolkit=name != "RTX 5060")
    bare = stack(name, cuda_toolkit=name != "RTX 5060")
    assert found.driver is None
    assert (found.environments, found.cudnn, found.cuda) == (bare.environments, bare.cudnn, bare.cuda)
    assert variables.driver(found) == {}
    assert next(reason for reason in found.reasons if reason.topic == "driver").choice == "580.178.04"


@pytest.mark.parametrize(
    ("version", "torch"), [("550.163.01", "2.13.0+cu126"), ("580.65.06", "2.13.0"), ("", "2.13.0")]
)
def test_the_driver_of_the_host_limits_the_wheels(version: str, torch: str) -> None:
    found = stack("RTX 3060", environment="container", driver_version=version)
    assert found.environments["torch"]["torch"] == torch
    assert any("not known" in text and "580 or later" in text for text in found.warnings) is (not version)


def test_a_host_whose_driver_is_older_than_the_card_is_named() -> None:
    found = stack("RTX 5060", environment="container", driver_version="550.163.01")
    assert any("needs driver 570 or later, and the host has 550" in text for text in found.warnings)


def test_the_kernel_of_a_host_does_not_matter_in_a_container() -> None:
    found = stack("RTX 3060", environment="container", kernel="6.13.7-061307-generic", secure_boot=True)
    assert found.driver is None
    assert not any("MOK" in text for text in found.warnings)


def test_a_container_plans_for_the_card_that_it_was_given() -> None:
    gpu = Gpu(
        index=0,
        name=Reading.of("NVIDIA GeForce RTX 3060"),
        pci_address=Reading.of("0000:02:00.0"),
        pci_device_id=Reading.of(0x2503),
        memory_total_bytes=Reading.of(12 * 2**30),
    )
    host = msgspec.structs.replace(BOX.host, environment="container")
    two = (
        PciCard(address="0000:01:00.0", device_id=0x1C03),
        PciCard(address="0000:02:00.0", device_id=0x2503),
    )
    whole = msgspec.structs.replace(
        BOX, host=host, cards=two, driver=Driver(module_version=Reading.of("580.178.04"))
    )
    assert len(boxes.of_machine(whole).targets) == 2
    found = boxes.of_machine(msgspec.structs.replace(whole, gpus=(gpu,)))
    assert [each.name for each in found.targets] == ["GeForce RTX 3060 12GB"]
    assert found.driver_version == "580.178.04"


def test_wsl1_is_named() -> None:
    found = resolve(request(environment="wsl2", kernel="4.4.0-19041-Microsoft"), DATA, DATA.date)
    assert isinstance(found, Stack)
    assert any("WSL1" in text for text in found.warnings)


def test_a_newer_loaded_driver_is_named_too() -> None:
    assert any("595.58 is loaded" in text for text in stack("RTX 3060", driver_version="595.58").warnings)
    assert not any("is loaded" in text for text in stack("RTX 3060", driver_version="580.65.06").warnings)


def test_every_card_of_the_catalogue_has_a_plan_inside_a_container() -> None:
    for card in cards.catalogue():
        assert stack(card.name, environment="container").environments
