"""`dlbox plan`: its text, its JSON document, its errors and exit codes."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from click.testing import CliRunner, Result

from dlbox import cli  # noqa: TID251 - the command is what is tested
from inventory import gather
from inventory.machine.gpu_records import Gpu
from inventory.machine.reading import Reading
from inventory.machine.records import Distribution, Host, Machine, PciCard
from provision.commands import plan_output, plan_summary
from provision.distributions.distribution_file import DriverOrigin
from provision.resolve.load import DEFAULT_PATH

BOX = Machine(
    read_at="2026-11-22T12:00:00+00:00",
    host=Host(
        hostname="box",
        distribution=Distribution(id="ubuntu", version="24.04", codename="noble", name="Ubuntu 24.04"),
        kernel="7.0.0-43-generic",
        architecture="x86_64",
        secure_boot=Reading.of(True),
    ),
    cards=(PciCard(address="0000:01:00.0", device_id=0x1C03),),
)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Machine], None]:
    """Make ``dlbox plan`` see this machine."""

    def see(seen: Machine) -> None:
        monkeypatch.setattr(gather, "gather", lambda: seen)

    return see


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["plan", *arguments])


def answer(*arguments: str, code: int = 0) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == code, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    assert (document["schema_version"], document["command"]) == (1, "plan")
    return document


def refused(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith("dlbox: ")
    return result.stderr


def test_a_box_that_does_not_exist_yet() -> None:
    found = answer("--card", "GTX 1060", "--distro", "ubuntu-24.04")
    assert found["driver"]["branch"] == 580
    assert found["driver"]["flavour"] == "closed"
    assert found["driver"]["source"] == "prebuilt"
    assert found["driver"]["packages"]
    assert found["environments"]["tensorflow"]["nvidia-cudnn-cu12"] == "9.10.2.21"
    assert found["backend"] == "tensorflow"
    assert found["cuda"]["source"] == "wheels"
    assert found["cudnn"]["below"] == "9.11"
    assert found["python"]["version"] == "3.12"
    assert found["constraints"]
    assert all(reason["why"] and reason["source"] and reason["date"] for reason in found["reasons"])


@pytest.mark.parametrize(
    "name",
    [
        *("GTX 1060", "gtx1060", "GeForce GTX 1060 6GB", "MSI GTX 1060 Gaming X 6G", "ASUS DUAL GTX 1060 OC"),
        *("10de:1c03", "10DE:1C03", "0x1c03", "1c03", "0x10de:0x1c03", "pci:v000010DEd00001C03sv00001462"),
        "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GP106 [GeForce GTX 1060 6GB] [10de:1c03]",
    ],
)
def test_a_card_as_people_name_it_or_by_its_id(name: str) -> None:
    assert answer("--card", name, "--distro", "debian-12")["cards"] == ["GeForce GTX 1060 6GB"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ubuntu-24.04", "ubuntu-24.04"),
        ("Ubuntu 24.04", "ubuntu-24.04"),
        ("Ubuntu 24.04.1 LTS", "ubuntu-24.04"),
        ("ubuntu2404", "ubuntu-24.04"),
        ("24.04", "ubuntu-24.04"),
        ("noble", "ubuntu-24.04"),
        ("debian 12", "debian-12"),
        ("debian-12.8", "debian-12"),
        ("Debian GNU/Linux 13 (trixie)", "debian-13"),
        ("bookworm", "debian-12"),
    ],
)
def test_a_distribution_as_people_name_it(name: str, meant: str) -> None:
    assert answer("--card", "3060", "--distro", name)["distribution"] == meant


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("debian-11", "debian-12"),
        ("debian testing", "debian-13"),
        ("ubuntu-20.04", "ubuntu-22.04"),
        ("ubuntu-25.04", "ubuntu-26.04"),
        ("fedora-40", "ubuntu-24.04"),
        ("linuxmint 22", "ubuntu-24.04"),
    ],
)
def test_a_release_that_is_not_covered_has_no_stack(name: str, nearest: str) -> None:
    found = answer("--card", "3060", "--distro", name, code=1)
    assert "is not supported" in found["error"]
    assert found["nearest"]["distribution"] == nearest


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("GTX 780 Ti", "a Kepler card, the last driver branch for Kepler is 470"),
        ("Tesla K80", "Kepler"),
        ("10de:1180", "Kepler"),
        ("10de:0a20", "do not support 10de:0a20; they support Maxwell, "),
        ("Radeon RX 6600", "a card by AMD"),
        ("Arc A770", "a card by Intel"),
        ("1002:73ff", "a card by AMD"),
    ],
)
def test_cards_without_a_supported_driver_have_no_stack(name: str, words: str) -> None:
    found = answer("--card", name, "--distro", "debian-13", code=1)
    assert words in found["error"]
    assert found["nearest"]["cards"] == []
    with_another = answer("--card", name, "--card", "RTX 3060", "--distro", "ubuntu-24.04")
    assert with_another["cards"] == ["GeForce RTX 3060 12GB"]
    assert len(with_another["unused_cards"]) == 1
    assert any("not used for training" in warning for warning in with_another["warnings"])


@pytest.mark.parametrize(
    ("name", "flavour"),
    [
        ("RTX 3060 Laptop GPU", "open"),
        ("GTX 1060 Max-Q", "closed"),
        ("MX150", "closed"),
        ("Tesla V100", "closed"),
        ("RTX A4000", "open"),
        ("Quadro P4000", "closed"),
        ("10de:1db4", "closed"),
        ("GTX 1630", "open"),
        ("3050ti", "open"),
        ("RTX 5090 D", "open"),
        ("GTX 1060 5GB", "closed"),
        ("GTX 965M", "closed"),
        ("TITAN V CEO Edition", "closed"),
        ("CMP 50HX", "open"),
        ("P106-100", "closed"),
        ("RTX 4000 SFF Ada", "open"),
        ("Device 2d05 (rev a1)", "open"),
        ("NVIDIA Corporation GA106 (rev a1)", "open"),
    ],
)
def test_laptop_mining_and_workstation_cards_are_planned_by_their_chip(name: str, flavour: str) -> None:
    found = answer("--card", name, "--distro", "ubuntu-24.04")
    assert found["driver"]["flavour"] == flavour
    assert not any("not in the catalogue" in warning for warning in found["warnings"])


def test_a_card_with_an_unlisted_id_is_planned_by_the_range_of_its_id() -> None:
    found = answer("--card", "10de:2bff", "--distro", "ubuntu-24.04")
    assert found["driver"]["flavour"] == "open"
    assert any("not in the catalogue" in warning for warning in found["warnings"])


def test_a_short_name_lists_what_else_it_can_mean() -> None:
    found = answer("--card", "3060", "--distro", "ubuntu-24.04")
    assert any("can also mean GeForce RTX 3060 8GB" in warning for warning in found["warnings"])
    named = answer("--card", "RTX 3060", "--distro", "ubuntu-24.04")
    assert not any("can also mean" in warning for warning in named["warnings"])
    message = refused("--card", "RTX 4000", "--distro", "ubuntu-24.04")
    assert "Quadro RTX 4000 (Turing), RTX 4000 Ada Generation (Ada)" in message


def test_several_cards_in_one_option_and_ids_of_other_devices() -> None:
    assert answer("--card", "2 x RTX 3060", "--distro", "noble")["cards"] == ["GeForce RTX 3060 12GB"] * 2
    assert answer("--card", "2 x 3060", "--distro", "noble")["cards"] == ["GeForce RTX 3060 12GB"] * 2
    assert answer("--card", "RTX 3060 12 GB GDDR6", "--distro", "noble")["cards"] == ["GeForce RTX 3060 12GB"]
    for two in ("RTX 3060 RTX 3060", "RTX 3060/3060 Ti", "rtx 5080 and rtx 3060", "3060+1060"):
        assert "names 2 cards" in refused("--card", two, "--distro", "noble")
    assert "sound or USB function" in refused("--card", "10de:1aef", "--distro", "noble")
    assert "not an id of a known family" in refused("--card", "10de:ffff", "--distro", "noble")
    for option in ("--distro", "--host", "--kernel"):
        assert f"{option} is empty" in refused("--card", "RTX 3060", option, " ")
    for value in ("", " "):
        assert "--kernel is empty" in refused("--card", "RTX 3060", "--distro", "noble", "--kernel", value)
        assert "--card is empty" in refused("--card", value, "--distro", "noble")
    for option in ("--stack", "--inventory", "--from"):
        assert "the value is empty" in run(option, "").stderr


@pytest.mark.parametrize("kernel", ["a; reboot", "6.8 generic", "../6.8", "generic"])
def test_a_kernel_release_that_is_invalid_is_refused(kernel: str) -> None:
    assert "uname -r" in refused("--card", "RTX 3060", "--distro", "noble", "--kernel", kernel)


def test_no_network_and_no_root(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("a plan opened a socket or started a process")

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(subprocess, "Popen", forbidden)
    assert answer("--card", "RTX 5060", "--distro", "debian-13")["driver"]["branch"] == 595
    assert answer("--card", "RTX 5060", "--distro", "fedora-40", code=1)["error"]


@pytest.mark.parametrize("on", ["ubuntu-22.04", "ubuntu-24.04", "ubuntu-26.04", "debian-12", "debian-13"])
@pytest.mark.parametrize("card", ["GTX 750 Ti", "GTX 1060", "TITAN V", "RTX 3060", "RTX 5090", "H100"])
def test_every_plan_fits_80_columns(card: str, on: str) -> None:
    for more in ((), ("--verbose",)):
        result = run("--card", card, "--card", card, "--distro", on, "--cuda-toolkit", *more)
        assert result.exit_code == 0
        prose = [line for line in result.stdout.splitlines() if "://" not in line]
        assert max(len(line) for line in prose) <= 80


JARGON = ("GSP", "PTX", "wheel", "(derived)", "(published)", "DKMS", "compute capability", "cudnn")


@pytest.mark.parametrize("on", ["ubuntu-24.04", "debian-12", "debian-13"])
@pytest.mark.parametrize("card", ["GTX 1060", "TITAN V", "RTX 3060", "RTX 5090"])
def test_the_plan_is_five_lines_without_jargon(card: str, on: str) -> None:
    result = run("--card", card, "--distro", on, "--no-secure-boot")
    lines = [line for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert [line.split()[0] for line in lines[1:6]] == ["Driver", "Frameworks", "Download", "Reboot", "Next"]
    assert not [word for word in JARGON if word in result.stdout]
    verbose = run("--card", card, "--distro", on, "--verbose").stdout
    assert "Sources:" in verbose
    assert "why" in verbose


def test_the_effort_is_in_the_json_document() -> None:
    small = answer("--card", "3060", "--distro", "ubuntu-24.04", "--framework", "jax")["effort"]
    large = answer("--card", "3060", "--distro", "ubuntu-24.04", "--cuda-toolkit")["effort"]
    assert small["reboots"] == large["reboots"] == 1
    assert 0 < small["download_bytes"] < large["download_bytes"]
    assert small["download_bytes"] < small["installed_bytes"] < large["installed_bytes"]
    assert small["download_seconds"] == round(small["download_bytes"] / 12.5e6)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--card", "GTX 1060", "--card", "RTX 5060", "--distro", "ubuntu-24.04"),
        ("--card", "GTX 780", "--distro", "debian-13"),
        ("--card", "3060", "--distro", "debian-11"),
        ("--card", "3060", "--distro", "fedora-40"),
        ("--card", "5060", "--distro", "debian-13", "--framework", "tensorflow"),
        ("--card", "5060", "--distro", "debian-13", "--flavour", "closed"),
    ],
)
def test_the_command_to_try_has_a_plan(arguments: tuple[str, ...]) -> None:
    command = answer(*arguments, code=1)["try"]
    assert command in run(*arguments).stderr
    words = shlex.split(command)
    assert words[:2] == ["dlbox", "plan"]
    assert run(*words[2:]).exit_code == 0


def test_the_next_command_repeats_the_options(machine: Callable[[Machine], None]) -> None:
    machine(BOX)
    line = next(line for line in run("--framework", "jax").stdout.splitlines() if line.startswith("Next"))
    assert line.split() == ["Next", "dlbox", "provision", "--framework", "jax"]
    described = run("--card", "3060", "--distro", "debian-13").stdout
    assert "dlbox provision, on the computer of this plan" in described


def test_an_unknown_id_of_a_known_family_is_planned() -> None:
    assert answer("--card", "10de:2bff", "--distro", "debian-13")["driver"]["flavour"] == "open"


def test_the_table_has_reasons_and_fits_80_columns() -> None:
    result = run("--card", "rtx 3060 12gb", "--distro", "ubuntu-26.04", "--verbose")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert max(len(line) for line in result.stdout.splitlines() if "://" not in line) <= 80
    words = " ".join(result.stdout.split())
    for part in (
        "GeForce RTX 3060 12GB on Ubuntu 26.04",
        "no stable",
        "linux-modules-nvidia-580-open-generic",
    ):
        assert part in words


def test_no_stack_exits_1_with_the_nearest() -> None:
    arguments = ("--card", "GTX 1060", "--card", "RTX 5060", "--distro", "ubuntu-24.04")
    found = answer(*arguments, code=1)
    assert found["error"].startswith("no stack exists, because")
    assert found["nearest"]["cards"] == ["GeForce RTX 5060"]
    assert "driver" not in found
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "no driver and frameworks fit together here" in result.stderr
    assert "the nearest plan that works" in result.stderr


def test_a_required_framework() -> None:
    found = answer("--card", "5060", "--distro", "debian-13", "--framework", "tensorflow", code=1)
    assert found["nearest"]["frameworks"] == ["torch", "jax"]
    found = answer("--card", "3060", "--distro", "debian-13", "--framework", "jax")
    assert list(found["environments"]) == ["jax"]


def test_options_for_secure_boot_kernel_and_toolkit_reach_the_plan() -> None:
    found = answer(
        *("--card", "3060", "--distro", "ubuntu-24.04", "--kernel", "6.99.0-mine", "--secure-boot"),
        "--cuda-toolkit",
    )
    assert found["driver"]["source"] == "dkms"
    assert found["driver"]["needs_mok"] is True
    assert found["cuda"]["toolkit_packages"] == ["nvidia-cuda-toolkit"]
    assert (
        answer("--card", "3060", "--distro", "debian-12", "--no-secure-boot")["driver"]["needs_mok"] is False
    )


def test_unknown_names_are_refused_with_existing_ones() -> None:
    assert "RTX 3060" in refused("--card", "RTX 3061", "--distro", "debian-12")
    assert "ubuntu-24.04" in refused("--card", "RTX 3060", "--distro", "nonsense")
    assert "--host" in refused("--host", "box", "--card", "RTX 3060")


def test_an_unknown_framework_is_a_usage_error() -> None:
    assert run("--framework", "caffe").exit_code == 2


def test_this_machine_from_its_bus(machine: Callable[[Machine], None]) -> None:
    machine(BOX)
    found = answer()
    assert found["cards"] == ["GeForce GTX 1060 6GB"]
    assert found["driver"]["packages"] == ["linux-modules-nvidia-580-generic-hwe-24.04", "nvidia-driver-580"]


def test_this_machine_with_another_card_or_another_distribution(machine: Callable[[Machine], None]) -> None:
    machine(BOX)
    assert answer("--card", "RTX 5060")["distribution"] == "ubuntu-24.04"
    moved = answer("--distro", "debian-13")
    assert moved["cards"] == ["GeForce GTX 1060 6GB"]
    assert moved["driver"]["needs_mok"] is True, "Secure Boot stays as it was read"


def test_a_machine_without_a_card_gets_a_message_and_a_cpu_plan(machine: Callable[[Machine], None]) -> None:
    machine(msgspec.structs.replace(BOX, cards=()))
    result = run()
    assert result.exit_code == 0
    assert plan_output.CPU_ONLY in " ".join(result.stdout.split())
    found = answer()
    assert found["driver"] is None
    assert found["message"] == plan_output.CPU_ONLY


def test_a_laptop_card_is_planned_by_its_chip(machine: Callable[[Machine], None]) -> None:
    machine(msgspec.structs.replace(BOX, cards=(PciCard(address="0000:01:00.0", device_id=0x1C60),)))
    found = answer()
    assert found["cards"] == ["GeForce GTX 1060 Laptop GPU"]
    assert found["driver"]["flavour"] == "closed"


def test_a_card_older_than_maxwell_has_no_stack(machine: Callable[[Machine], None]) -> None:
    machine(msgspec.structs.replace(BOX, cards=(PciCard(address="0000:01:00.0", device_id=0x1180),)))
    assert "10de:1180 is a Kepler card" in answer(code=1)["error"]


def test_under_wsl2_the_card_is_known_from_the_driver(machine: Callable[[Machine], None]) -> None:
    gpu = Gpu(
        index=0,
        name=Reading.of("NVIDIA GeForce RTX 3060"),
        pci_device_id=Reading.of(0x2503),
        memory_total_bytes=Reading.of(12 * 2**30),
    )
    host = msgspec.structs.replace(BOX.host, environment="wsl2", secure_boot=Reading.not_supported("no UEFI"))
    machine(msgspec.structs.replace(BOX, cards=(), gpus=(gpu,), host=host))
    found = answer()
    assert found["cards"] == ["GeForce RTX 3060 12GB"]
    assert any("Windows" in warning for warning in found["warnings"])


def test_a_distribution_that_is_not_covered_has_no_stack(machine: Callable[[Machine], None]) -> None:
    other = Distribution(id="fedora", version="44", name="Fedora 44")
    machine(msgspec.structs.replace(BOX, host=msgspec.structs.replace(BOX.host, distribution=other)))
    found = answer(code=1)
    assert "fedora-44" in found["error"]
    assert found["nearest"]["cards"] == ["GeForce GTX 1060 6GB"]


def test_a_host_of_the_inventory(tmp_path: Path, machine: Callable[[Machine], None]) -> None:
    machine(BOX)
    path = tmp_path / "hosts.yml"
    path.write_text(
        "all:\n  hosts:\n"
        "    here: {ansible_connection: local, frameworks: [torch]}\n"
        "    desk: {card: RTX 5060, distribution: debian-13}\n"
        "    bare: {cards: [], distribution: debian-12}\n"
        "    mute: {ansible_host: 192.0.2.1}\n"
        "    half: {card: RTX 3060}\n"
        "    odd: {card: RTX 3060, distribution: arch}\n",
        encoding="utf-8",
    )
    place = ("--inventory", str(path))
    assert answer("--host", "desk", *place)["driver"]["source"] == "nvidia-repository"
    assert answer("--host", "bare", *place)["driver"] is None
    assert list(answer("--host", "here", *place)["environments"]) == ["torch"]
    assert answer("--host", "here", *place)["cards"] == ["GeForce GTX 1060 6GB"]
    assert "`card: RTX 3060` and `distribution: ubuntu-24.04`" in refused("--host", "mute", *place)
    assert "add `distribution: ubuntu-24.04` to host_vars/half.yml" in refused("--host", "half", *place)
    assert 'no distribution "arch"' in refused("--host", "odd", *place)
    assert 'no host "nobody"' in refused("--host", "nobody", *place)


def test_a_newer_stack_file(tmp_path: Path) -> None:
    path = tmp_path / "newer.yml"
    text = DEFAULT_PATH.read_text(encoding="utf-8")
    path.write_text(text.replace("version: 3.15.1", "version: 3.15.2"), encoding="utf-8")
    found = answer("--card", "3060", "--distro", "debian-12", "--stack", str(path))
    assert found["environments"]["torch"]["keras"] == "3.15.2"
    path.write_text(text.replace("  - branch: 580", "  - branch: many", 1), encoding="utf-8")
    message = refused("--card", "3060", "--distro", "debian-12", "--stack", str(path))
    assert "newer.yml, line" in message
    assert "`branch` is expected to be a whole number" in message
    assert "No such file" in refused("--stack", str(tmp_path / "none.yml"))


def test_the_whole_command_as_a_process(dlbox: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = dlbox("plan", "--card", "RTX 3060", "--distro", "ubuntu-24.04", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)["driver"]["flavour"] == "open"
    assert dlbox("plan", "--card", "nonsense", "--distro", "debian-12").returncode == 2


CLASSROOM = """
classroom:
  vars: {distribution: ubuntu-24.04, card: RTX 3060}
  hosts:
    desk-[01:08]:
    desk-09: {card: GTX 1060, distribution: debian-12}
    teacher: {cards: [RTX 5060], frameworks: [torch]}
cellar:
  hosts:
    odd: {card: GTX 780, distribution: debian-13}
    mute:
    wrong: {card: RTX 3061, distribution: debian-13}
"""


def test_all_hosts_of_an_inventory_at_once(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(CLASSROOM, encoding="utf-8")
    place = ("--inventory", str(path))
    found = answer("--host", "classroom", *place)
    assert len(found["hosts"]) == 10
    assert found["hosts"]["desk-09"]["driver"]["flavour"] == "closed"
    assert list(found["hosts"]["teacher"]["environments"]) == ["torch"]
    assert found["hosts"]["desk-03"] == {
        key: value
        for key, value in answer("--host", "desk-03", *place).items()
        if key not in ("schema_version", "command", "effort")
    }
    result = run("--host", "classroom", *place)
    assert result.exit_code == 0
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    assert "desk-01" in result.stdout
    assert "! desk-09: " in result.stdout, "Debian 12's branch has ended"
    assert len(result.stdout.splitlines()) < 30, "hosts with the same plan share a line"
    named_alone = run(*place)
    assert named_alone.exit_code == 1, "an inventory without hosts means all of them, and two have no stack"
    assert "desk-09" in named_alone.stdout


def test_hosts_without_a_stack_do_not_hide_the_others(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text(CLASSROOM, encoding="utf-8")
    place = ("--inventory", str(path))
    found = answer("--host", "all", *place, code=1)
    assert len(found["hosts"]) == 13
    assert "Kepler" in found["hosts"]["odd"]["error"]
    assert "the inventory does not describe" in found["hosts"]["mute"]["error"]
    assert found["hosts"]["desk-01"]["driver"]["branch"] == 580
    result = run("--host", "desk-0*", "--host", "odd", *place)
    assert result.exit_code == 1
    assert "desk-08" in result.stdout
    assert "dlbox: odd: GTX 780 is a Kepler card" in result.stderr
    assert "--host" in refused("--host", "all", "--card", "RTX 3060", *place)


def test_a_requested_driver_reaches_the_plan() -> None:
    box = ("--card", "RTX 3060", "--distro", "ubuntu-24.04")
    assert answer(*box, "--branch", "595")["driver"]["branch"] == 595
    assert answer(*box, "--flavour", "closed")["driver"]["flavour"] == "closed"
    body = answer("--card", "GTX 1060", "--distro", "ubuntu-24.04", "--branch", "595", code=1)
    assert "the request is for 595" in body["error"]
    assert body["nearest"]["driver_branch"] == 580
    assert CliRunner().invoke(cli, ["plan", *box, "--branch", "0"]).exit_code == 2
    assert CliRunner().invoke(cli, ["plan", *box, "--flavour", "half-open"]).exit_code == 2


def test_torch_comes_from_pypi_where_no_other_index_is_reached(tmp_path: Path) -> None:
    box = ("--card", "GTX 1060", "--distro", "ubuntu-24.04")
    assert answer(*box)["environments"]["torch"]["torch"] == "2.13.0+cu126"
    assert answer(*box, "--pypi-only")["environments"]["torch"]["torch"] == "2.7.1"
    (tmp_path / "mirror.conf").write_text("[global]\nindex-url = https://pypi.example.com/simple\n")
    (tmp_path / "beside.conf").write_text("[global]\nextra-index-url = https://pypi.example.com/simple\n")
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(
        "all:\n  vars: {card: GTX 1060, distribution: ubuntu-24.04}\n  hosts:\n    open: {}\n"
        "    closed: {pypi_only: true}\n    mirror: {pip_config: mirror.conf}\n    beside: {pip_config: beside.conf}\n"
    )
    for host, version in (
        ("open", "2.13.0+cu126"), ("closed", "2.7.1"), ("mirror", "2.7.1"), ("beside", "2.13.0+cu126"),
    ):  # fmt: skip
        plan = answer("--inventory", str(hosts), "--host", host)
        assert plan["environments"]["torch"]["torch"] == version, host


def test_the_summary_names_every_source_of_a_driver() -> None:
    assert set(plan_summary.SOURCES) == set(get_args(DriverOrigin))
