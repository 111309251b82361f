"""Drivers from NVIDIA's repository and from Ubuntu's archive: apt itself, sources, keys, pins and rollback.

The packages are dummies under the real names, from an archive that the test signs.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.ansible import variables
from provision.ansible.outcome import HostOutcome
from provision.commands.plan_requests import PlanOptions, request
from provision.resolve.load import load
from provision.resolve.model import Stack
from provision.resolve.stack import resolve
from tests.e2e import stand_in
from tests.e2e.container import Container
from tests.e2e.repository import Repository
from tests.e2e.test_provision import LOOK, play

TAGS = ("preflight", "driver")
OPEN = "Dual MIT/GPL"
NVIDIA = "580.95.05-1"
UBUNTU = "580.178.04-0ubuntu0.24.04.1"
PINNING = b"Package: *nvidia* *cuda*\nPin: version 580.*\nPin-Priority: 1001\n"
UBUNTU_KERNEL = "7.0.0-43-generic"
UBUNTU_KEY = "usr/share/keyrings/ubuntu-archive-keyring.gpg"
OS_RELEASE = """\
PRETTY_NAME="Ubuntu 24.04.3 LTS"
NAME="Ubuntu"
VERSION_ID="24.04"
VERSION="24.04.3 LTS (Noble Numbat)"
VERSION_CODENAME=noble
ID=ubuntu
ID_LIKE=debian
"""


def role_vars(card: str, distro: str) -> dict[str, Any]:
    """The variables of the plan for a card, without any framework."""
    data = load()
    stack = resolve(request(PlanOptions(cards=(card,), distro=distro, frameworks=("torch",)), data), data)
    assert isinstance(stack, Stack), stack
    no_frameworks = {"frameworks_environments": [], "frameworks_python_packages": []}
    return {**variables.driver(stack), **no_frameworks}


@pytest.fixture
def container(gtx1060: Container) -> Container:
    """Reset. The card on its bus does not matter, since the roles get their variables from the test."""
    gtx1060.reset()
    return gtx1060


def run(container: Container, folder: Path, variables: dict[str, Any]) -> HostOutcome:
    return play(container, folder, "site.yml", variables, *TAGS)


def assert_undone(container: Container, folder: Path, variables: dict[str, Any], before: list[str]) -> None:
    back = play(container, folder, "rollback.yml", variables)
    assert back.status == "changed", back
    assert not list(difflib.unified_diff(before, container.output(LOOK).splitlines(), lineterm="", n=0))


@pytest.fixture
def nvidia(container: Container, tmp_path: Path) -> Iterator[Repository]:
    """NVIDIA's repository with its pinning package, branch 580 and a newer branch; another source has a higher one."""
    with Repository(tmp_path) as repository:
        place = repository.folder
        preferences = {"/etc/apt/preferences.d/nvidia-driver-pinning-580": PINNING}
        stand_in.deb(place, "nvidia-driver-pinning-580", "580-1", files=preferences)
        for version in (NVIDIA, "615.71.09-1"):
            stand_in.compiled_here(place, "nvidia-kernel-open-dkms", version, licence=OPEN)
            repository.add("nvidia-open", version, depends=f"nvidia-kernel-open-dkms (= {version}), libcuda1")
            repository.add("libcuda1", version)
        repository.sign()
        own = container.root / "srv/own"
        own.mkdir(parents=True)
        stand_in.headers(own, container.output("linux-version list | linux-version sort | tail -n 1").strip())
        stand_in.deb(own, "libcuda1", "999.1-1")
        stand_in.index(own)
        (container.root / "etc/apt/sources.list.d/own.list").write_text(
            "deb [trusted=yes] file:/srv/own ./\n"
        )
        container.output("sudo apt-get update -q", timeout_s=300)
        yield repository


def from_nvidia(repository: Repository) -> dict[str, Any]:
    wanted = role_vars("RTX 5060", "debian-12")
    assert wanted["nvidia_driver_source"] == "nvidia-repository"
    return {**wanted, "nvidia_driver_components": [], "nvidia_driver_repository": repository.variable()}


def test_open_modules_from_nvidias_repository_stay_on_their_branch(
    container: Container, nvidia: Repository, tmp_path: Path
) -> None:
    before = container.output(LOOK).splitlines()
    wanted = from_nvidia(nvidia)
    first = run(container, tmp_path, wanted)
    assert first.status == "changed", first
    for package in ("nvidia-open", "nvidia-kernel-open-dkms", "libcuda1"):
        assert container.output(f"dpkg-query -W -f '${{Version}}' {package}") == NVIDIA
        assert f"Candidate: {NVIDIA}" in container.output(f"apt-cache policy {package}")
    # dlbox's pin selects the source, NVIDIA's pinning package the branch; without them apt takes the highest version.
    container.output("mkdir /tmp/none /tmp/own && cp /etc/apt/preferences.d/zz-dlbox-nvidia /tmp/own/")
    for pins, taken in (("own", "615.71.09-1"), ("none", "999.1-1")):
        policy = container.output(f"apt-cache -o Dir::Etc::PreferencesParts=/tmp/{pins} policy libcuda1")
        assert f"Candidate: {taken}" in policy, policy
    sources = container.output(f"grep -rlF {nvidia.uri} /etc/apt/sources.list /etc/apt/sources.list.d")
    assert sources.split() == ["/etc/apt/sources.list.d/dlbox-nvidia.sources"]
    assert {"nvidia-open", "libcuda1"} <= set(container.output("apt-mark showhold").split())
    assert json.loads(container.output("cat /var/lib/dlbox/driver.json"))["source"] == "nvidia-repository"
    second = run(container, tmp_path, wanted)
    assert (second.status, second.changed) == ("ok", ()), second
    assert_undone(container, tmp_path, wanted, before)


def test_a_key_of_another_fingerprint_is_refused(
    container: Container, nvidia: Repository, tmp_path: Path
) -> None:
    wanted = from_nvidia(nvidia)
    wanted["nvidia_driver_repository"]["fingerprint"] = "0" * 40
    refused = run(container, tmp_path, wanted)
    assert refused.status == "failed"
    assert nvidia.fingerprint in (refused.message or ""), refused
    assert container.run("dpkg -s nvidia-open").returncode != 0
    for path in ("keyrings/dlbox-nvidia.asc", "sources.list.d/dlbox-nvidia.sources"):
        assert container.run(f"test -e /etc/apt/{path}").returncode == 1


@pytest.mark.parametrize(
    ("card", "flavour", "licence"), [("GTX 1060", "", "NVIDIA"), ("RTX 3060", "-open", OPEN)]
)
def test_ubuntus_prebuilt_modules_come_with_the_kernel_that_they_are_for(
    container: Container, tmp_path: Path, card: str, flavour: str, licence: str
) -> None:
    wanted = role_vars(card, "ubuntu-24.04")
    meta, driver = f"linux-modules-nvidia-580{flavour}-generic-hwe-24.04", f"nvidia-driver-580{flavour}"
    assert wanted["nvidia_driver_packages"] == [meta, driver]
    with Repository(tmp_path, origin="Ubuntu") as archive:
        place = archive.folder
        modules = f"/lib/modules/{UBUNTU_KERNEL}"
        stand_in.deb(
            place, f"linux-image-{UBUNTU_KERNEL}", "7.0.0-43.43",
            files={f"/boot/vmlinuz-{UBUNTU_KERNEL}": b"\0", f"{modules}/modules.order": b"",
                   f"{modules}/modules.builtin": b""},
        )  # fmt: skip
        built = f"linux-modules-nvidia-580{flavour}-{UBUNTU_KERNEL}"
        binary = stand_in.compiled(place, UBUNTU.partition("-")[0], licence)
        stand_in.deb(
            place, built, "7.0.0-43.43", depends=f"linux-image-{UBUNTU_KERNEL}",
            files={f"{modules}/kernel/nvidia-580{flavour}/nvidia.ko": binary},
            postinst=f"/sbin/depmod {UBUNTU_KERNEL}",
        )  # fmt: skip
        archive.add(meta, "7.0.0-43.43", depends=built)
        archive.add(driver, UBUNTU, depends="libnvidia-compute-580, nvidia-utils-580")
        archive.add("libnvidia-compute-580", UBUNTU)
        archive.add("nvidia-utils-580", UBUNTU)
        # The next branch turns this one's packages into transitional ones; the pin prevents the change.
        archive.add("nvidia-driver-590", "590.48.01-0ubuntu1")
        archive.add(driver, "590.48.01-0ubuntu1", depends="nvidia-driver-590")
        archive.sign_suites("noble-updates", "noble", "noble-security")

        (container.root / "usr/lib/os-release").write_text(OS_RELEASE)
        (container.root / UBUNTU_KEY).write_bytes(archive.public())
        (container.root / "etc/apt/sources.list").write_text(
            f"deb [signed-by=/{UBUNTU_KEY}] http://archive.ubuntu.com/ubuntu noble main\n"
        )
        before = container.output(LOOK).splitlines()
        wanted["apt_mirror"] = archive.uri.rstrip("/")
        first = run(container, tmp_path, wanted)
        assert first.status == "changed", first
        assert container.output(f"dpkg-query -W -f '${{Version}}' {driver}") == UBUNTU
        module = container.output(f"/sbin/modinfo -k {UBUNTU_KERNEL} nvidia")
        assert f"license:        {licence}" in module, module
        assert "Components: restricted" in container.output(
            "cat /etc/apt/sources.list.d/dlbox-components.sources"
        )
        assert f"Candidate: {UBUNTU}" in container.output(f"apt-cache policy {driver}")
        assert (
            container.output("apt-mark showhold") == ""
        )  # they are updated together with the kernel, or not at all
        assert "^linux-modules-nvidia-" in container.output(
            "apt-config dump Unattended-Upgrade::Package-Blacklist"
        )
        assert container.run("dpkg -s dkms").returncode != 0
        second = run(container, tmp_path, wanted)
        assert (second.status, second.changed) == ("ok", ()), second
        assert_undone(container, tmp_path, wanted, before)
