"""The diagnosis: no cause is named against the evidence, and each remedy fits the way the driver is installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import scenario
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import health
from bench.finding import Status
from bench.health.causes import remedies
from bench.health.causes.explain import HYPOTHESES, IDS, explain, suspects
from bench.health.causes.records import Explanation
from bench.health.causes.situation import Situation
from bench.health.checks.frameworks import FrameworkReport
from inventory.machine import kernel_log
from inventory.machine.reading import Reading
from inventory.machine.records import (
    ConfigLine,
    DeviceNode,
    Distribution,
    DkmsModule,
    Driver,
    Host,
    Installation,
    InstalledKernel,
    Machine,
    Package,
    PciCard,
)

RAN = "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.65.06"
REFUSED = "Loading of module with unavailable key is rejected"
NOISE = (
    "nvidia-nvlink: Nvlink Core is being initialized, major device number 234",
    "nvidia_peermem: Unknown symbol ib_register_peer_memory_client (err -2)",
    "NVRM: GPU0 _issueRpcAndWait: rpcSendMessage failed with status 0x0000000f for fn 78",
    "NVRM: GPU0 GSP RM heartbeat timed out",
    "NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x2",
)
LINES = (
    RAN,
    REFUSED,
    "nvidia: module verification failed: signature and/or required key missing - tainting kernel",
    "NVRM: BAR1 is 0M @ 0x0 (PCI:0000:01:00.0)",
    "pci 0000:01:00.0: BAR 1 [mem size 0x800000000 64bit pref]: can't assign; no space",
    "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x62:0x40:2168)",
    "nvidia 0000:01:00.0: Direct firmware load for nvidia/580.65.06/gsp_ga10x.bin failed with error -2",
    "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.",
    "NVRM: Xid (PCI:0000:01:00): 119, Timeout waiting for RPC from GSP",
    "nvidia: version magic '6.8.0-71-generic SMP' should be '6.8.0-79-generic SMP'",
    "NVRM: GPU 0000:01:00.0 is already bound to nouveau.",
    *NOISE,
)
BLACKLIST = ConfigLine(path="/etc/modprobe.d/x.conf", text="blacklist nvidia")
KINDS: dict[str, dict[str, Any]] = {
    "none": {"packages": (), "dkms": None, "module": ""},
    "prebuilt": {
        "packages": ("linux-modules-nvidia-580-open-generic",), "dkms": None,
        "module": "kernel/nvidia-580-open/nvidia.ko",
    },
    "dkms": {
        "packages": ("nvidia-dkms-580-open",), "dkms": ("nvidia", "580.65.06"), "module": "updates/dkms/nvidia.ko.zst",
    },
    "debian": {
        "packages": ("nvidia-open-kernel-dkms",), "dkms": ("nvidia-current-open", "550.163.01"),
        "module": "updates/dkms/nvidia-current-open.ko.xz",
    },
    "runfile": {"packages": (), "dkms": None, "module": "kernel/drivers/video/nvidia.ko"},
}  # fmt: skip


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    """A computer with one card that NVML does not list, and any combination of evidence."""
    environment = draw(st.sampled_from(["bare-metal", "bare-metal", "virtual-machine", "container", "wsl2"]))
    kind = draw(st.sampled_from(list(KINDS)))
    how = KINDS[kind]
    here = environment not in ("container", "wsl2")
    loaded = draw(st.booleans())
    built = draw(st.booleans()) and how["module"] != ""
    kernels = (
        InstalledKernel(release="6.8.0-71-generic", has_headers=False, has_nvidia_module=bool(how["module"]),
                        nvidia_modules=(how["module"],) if how["module"] else ()),
        InstalledKernel(release="6.8.0-79-generic", has_headers=draw(st.booleans()), has_nvidia_module=built,
                        nvidia_modules=(how["module"],) if built else ()),
    )  # fmt: skip
    lines = draw(st.lists(st.sampled_from(LINES), max_size=5, unique=True))
    log: Reading[Any] = (
        Reading.of(kernel_log.parse(lines, "test")) if here else Reading.not_supported("no log")
    )
    packages = tuple(Package(name=name, version="580.65.06-0ubuntu1") for name in how["packages"])
    code = draw(st.sampled_from([9, 12, 18, 15, 8, 4, 999, None]))
    absent: Reading[Any] = Reading.not_supported("absent")
    installation = Installation(
        kernels=Reading.of(kernels) if here else absent,
        packages=Reading.of(packages) if here else absent,
        dkms=Reading.of((DkmsModule(name=how["dkms"][0], version=how["dkms"][1]),)) if here and how["dkms"] else absent,
        settings=Reading.of((BLACKLIST,) if draw(st.booleans()) else ()) if here else absent,
        runfile=Reading.of("/usr/bin/nvidia-uninstall") if kind == "runfile" else absent,
        inside_packages=Reading.of(packages) if not here else absent,
        container=Reading.of(draw(st.sampled_from(["docker", "lxc"]))) if environment == "container" else absent,
        windows_library=Reading.of("/usr/lib/wsl/lib/x") if environment == "wsl2" else absent,
        device_nodes=(DeviceNode(path="/dev/nvidiactl", usable=draw(st.booleans())),) if draw(st.booleans()) else (),
    )  # fmt: skip
    distribution = "debian" if kind == "debian" else "ubuntu"
    return Machine(
        read_at="",
        host=Host(
            distribution=Distribution(id=distribution, version="13" if kind == "debian" else "24.04"),
            kernel="6.8.0-79-generic",
            environment=environment,  # type: ignore[arg-type]
            secure_boot=Reading.of(draw(st.booleans())),
        ),
        cards=(
            PciCard(
                address="0000:01:00.0",
                device_id=draw(st.sampled_from([0x2503, 0x1E07, 0x1C03, 0x2D05, 0x128B])),
                driver=draw(st.sampled_from([None, None, "nvidia", "nouveau", "NovaCore", "vfio-pci"])),
            ),
        ),
        driver=Driver(
            module_version=Reading.of("580.65.06") if loaded else absent,
            module_flavour=Reading.of(draw(st.sampled_from(["open", "closed"]))) if loaded else absent,
            library_version=absent,
        ),
        nvml=Reading.failed("it does not start", code),
        installation=installation,
        kernel_log=log,
    )


def everything(explanation: Explanation) -> list[str]:
    """The text of each remedy of an explanation."""
    return [suspect.remedy.text for suspect in explanation.causes]


@settings(max_examples=400, deadline=None)
@given(machines())
def test_no_cause_is_named_against_the_evidence(machine: Machine) -> None:
    found = explain(machine)
    assert len(found) == 1
    causes = found[0].causes
    log = machine.kernel_log.value
    lines = log.nvidia if log else ()
    proven = {suspect.id for suspect in causes if suspect.proven}
    loaded = machine.driver.module_version.ok
    running = (machine.installation.kernels.value or ())[1:]
    built = bool(running) and running[0].has_nvidia_module
    if loaded or not machine.host.secure_boot.value or not built or any("NVRM:" in line for line in lines):
        assert "driver.secure-boot" not in {suspect.id for suspect in causes}
    if "driver.secure-boot" in proven:
        assert REFUSED in lines
    if loaded or built:
        assert not proven & {"driver.module-built", "driver.prebuilt-missing", "driver.build-failed"}
    if loaded and machine.host.environment != "container":
        assert not proven & {"driver.loaded", "driver.switched-off"}
    if "driver.lost" in proven and machine.nvml.code != 15:
        assert log is not None
        assert [xid.code for xid in log.xids if xid.code != 154][:1] == [79]
    if "driver.nouveau" in proven:
        assert machine.cards[0].driver in ("nouveau", "NovaCore")
    if machine.cards[0].driver == "vfio-pci" and machine.cards[0].device_id != 0x128B:
        assert found[0].id == "driver.passthrough"
    if "driver.bar-space" in proven:
        assert any("BAR1 is 0M" in line for line in lines)
    for suspect in causes:
        assert not any(line in text for line in NOISE for text in suspect.evidence), suspect
        assert suspect.evidence
        assert suspect.settle


@settings(max_examples=400, deadline=None)
@given(machines())
def test_each_remedy_fits_the_installation(machine: Machine) -> None:
    situation = Situation(machine, machine.cards[0])
    for text in [text for explanation in explain(machine) for text in everything(explanation)]:
        assert text
        if situation.kind != "dkms":
            assert "dkms " not in text, text
        if situation.environment in ("container", "wsl2"):
            for wrong in (
                "apt install",
                "dlbox provision",
                "sudo reboot",
                "modprobe",
                "initramfs",
                "mokutil",
            ):
                assert wrong not in text, text
        if situation.environment == "virtual-machine":
            assert "reseat" not in text
            assert not re.search(r"\bBIOS\b", text), text
        if situation.kind == "prebuilt":
            assert "linux-headers" not in text, text
        if situation.kind == "runfile":
            assert "linux-modules-nvidia" not in text, text
        if machine.host.distribution.id == "debian":
            assert "linux-modules-nvidia" not in text, text


@settings(max_examples=100, deadline=None)
@given(machines())
def test_one_finding_of_the_theme_fails_for_one_card(machine: Machine) -> None:
    findings = [f for f in health.run(machine, only=("driver",)) if f.status is Status.FAIL]
    assert len(findings) == 1
    assert findings[0].id in (*IDS, "driver.unusable")


def test_every_cause_that_can_be_proven_has_a_check() -> None:
    provable = {hypothesis.id for hypothesis in HYPOTHESES if hypothesis.proves}
    assert provable <= set(health.REGISTER)
    assert "driver.unusable" in health.REGISTER


@pytest.mark.parametrize(
    ("release", "package"),
    [
        ("6.8.0-79-generic", "linux-headers-6.8.0-79-generic"),
        ("6.12.73+deb13-amd64", "linux-headers-6.12.73+deb13-amd64"),
        ("6.17.13-2-pve", "proxmox-headers-6.17.13-2-pve"),
        ("5.15.158-1-pve", "pve-headers-5.15.158-1-pve"),
    ],
)
def test_the_package_of_a_kernels_headers(release: str, package: str) -> None:
    assert remedies.headers(release) == package


@pytest.mark.parametrize(
    ("release", "foreign"),
    [
        ("6.8.0-79-generic", False), ("6.17.0-14-generic", False), ("6.8.0-79-lowlatency", False),
        ("6.14.0-1010-oem", False), ("6.8.0-1030-aws", False), ("6.13.7-061307-generic", True),
        ("6.15.0-061500rc3-generic", True), ("6.12.10-76061203-generic", True), ("6.14.11-4-pve", True),
        ("6.12.9-x64v3-xanmod1", True), ("6.12.8-2-liquorix-amd64", True), ("6.9.3", True),
    ],
)  # fmt: skip
def test_kernels_without_prebuilt_modules_are_recognised(release: str, foreign: bool) -> None:
    assert bool(remedies.foreign_kernel(release)) is foreign


def test_a_message_of_several_lines_belongs_to_the_card_of_its_first(tmp_path: Path) -> None:
    """The log rejects one of two cards: the other card must not get this cause."""
    machine = scenario.load("two_cards_one_legacy_in_the_log").machine(tmp_path)
    by_card = {e.card.address: e for e in explain(machine) if e.card}
    assert by_card["0000:02:00.0"].id == "driver.flavour"
    newer = suspects(Situation(machine, by_card["0000:01:00.0"].card))
    assert "driver.flavour" not in {suspect.id for suspect in newer}


def test_the_order_of_candidates_is_that_of_their_evidence(tmp_path: Path) -> None:
    machine = scenario.load("modified_memory").machine(tmp_path)
    (explanation,) = explain(machine)
    scores = [len(s.evidence) - len(s.against) for s in explanation.causes]
    assert not explanation.proven
    assert scores == sorted(scores, reverse=True)
    assert re.match("driver.modified-card", explanation.causes[0].id)


@pytest.mark.parametrize(
    ("name", "found"), [("rtx3060_idle", []), ("lost_then_consequences", ["driver.lost"])]
)
def test_a_report_without_an_answer_of_nvml_has_only_proven_causes(
    name: str, found: list[str], tmp_path: Path
) -> None:
    machine = scenario.load(name).machine(tmp_path)
    unread: Reading[Any] = Reading(state="not-in-source")  # type: ignore[arg-type]
    driver = msgspec.structs.replace(machine.driver, module_version=unread, modules=())
    report = msgspec.structs.replace(machine, nvml=unread, gpus=(), driver=driver)
    assert [e.id for e in explain(report)] == found


def test_a_report_without_files_of_the_driver_does_not_say_that_no_driver_is_installed(
    tmp_path: Path,
) -> None:
    machine = scenario.load("no_driver").machine(tmp_path)
    assert [e.id for e in explain(machine)] == ["driver.loaded"]
    bare = msgspec.structs.replace(machine, installation=Installation())
    assert [e.id for e in explain(bare)] == ["driver.unusable"]


@pytest.mark.parametrize(
    "trouble", ["its process crashed (SIGILL)", "jaxlib was built using AVX instructions"]
)
def test_a_processor_without_avx_is_named_with_the_framework_that_runs(trouble: str, tmp_path: Path) -> None:
    machine = scenario.load("rtx3060_idle").machine(tmp_path)
    report = FrameworkReport(framework="tensorflow", version="2.21.0", trouble=trouble)
    finding = health.REGISTER["frameworks.tensorflow"].apply(report, machine)
    assert finding.status is Status.FAIL
    assert "AVX" in finding.message
    assert "torch" in str(finding.remedy)


FRAGMENTS = st.lists(
    st.sampled_from(
        ["NVRM: ", "RmInitAdapter failed! ", "(0x62:0x40:1)", "(0x", "0000:01:00.0", "BAR 1 ", "BAR1 is 0M", "nvidia: ",
         "version magic", "blacklist nvidia", "alias ", "10de:2503", "-open", ".ko", "linux-modules-nvidia-", "580",
         ": ", "got version", "Xid (PCI:0000:01:00): 79, ", "6.8.0", "\x00", "\u202e", "é", " "]
    ),
    max_size=8,
).map("".join)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(machines(), st.lists(FRAGMENTS, max_size=6), FRAGMENTS, FRAGMENTS)
def test_any_text_in_the_evidence_gives_an_explanation(
    machine: Machine, lines: list[str], name: str, release: str
) -> None:
    log = kernel_log.parse(lines, "test", ("0000:01:00.0",))
    kernel = InstalledKernel(
        release=release, has_headers=False, has_nvidia_module=True, nvidia_modules=(name,)
    )
    installation = msgspec.structs.replace(
        machine.installation,
        kernels=Reading.of((kernel,)),
        packages=Reading.of((Package(name=name, version=release),)),
        settings=Reading.of(tuple(ConfigLine(path="/etc/modprobe.d/x.conf", text=line) for line in lines)),
        build_errors=Reading.of(tuple(ConfigLine(path="/x", text=line) for line in lines)),
        kernel_packages=Reading.of((name,)),
        dkms=Reading.of((DkmsModule(version=release, name=name),)),
    )
    host = msgspec.structs.replace(machine.host, kernel=release)
    odd = msgspec.structs.replace(machine, installation=installation, kernel_log=Reading.of(log), host=host)
    (explanation,) = explain(odd)
    assert all(everything(explanation))
