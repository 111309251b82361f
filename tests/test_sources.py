"""Reports about another computer: every format gives the same Machine, and nothing that they lack passes."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import reports
import scenario

from bench import health
from bench.finding import Finding, Status, verdict
from bench.health import source_needs
from bench.health.source_needs import NOT_IN_SOURCE
from inventory.machine.reading import Reading
from inventory.machine.records import Machine, MachineSource
from inventory.sources import contents, read
from inventory.sources.contents import ReportError

KERNEL = "6.8.0-60-generic"
UBUNTU = 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\nID=ubuntu\nVERSION_ID="24.04"\n'
MODULES = (
    "nvidia 60710912 1 nvidia_modeset, Live 0x0\nnvidia_uvm 2097152 0 - Live 0x0\nvideo 77824 0 - Live 0x0\n"
)
NVRM = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 07:16:42 UTC 2025\nGCC version: gcc 13.3\n"  # noqa: E501


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Machine]:
    names = ("rtx3060_idle", "gtx1060_idle", "h200_idle", "xid_79", "two_of_four")
    return {name: scenario.load(name).machine(tmp_path_factory.mktemp(name)) for name in names}


def source(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder if len(files) != 1 else folder / next(iter(files))


def by_id(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.id: finding for finding in findings}


def readings(record: Any, at: str = "") -> Iterator[tuple[str, Reading[Any]]]:
    for name in record.__struct_fields__:
        entry = getattr(record, name)
        if isinstance(entry, Reading):
            yield f"{at}{name}", entry
        elif isinstance(entry, msgspec.Struct):
            yield from readings(entry, f"{at}{name}.")


def test_the_xml_of_a_card_gives_the_readings_of_nvml(machines: dict[str, Machine], tmp_path: Path) -> None:
    for name in ("rtx3060_idle", "gtx1060_idle", "h200_idle"):
        live = machines[name]
        found = read.machine(source(tmp_path / name, {"q.xml": reports.smi_xml(live)}))
        assert len(found.gpus) == len(live.gpus)
        for there, here in zip(live.gpus, found.gpus, strict=True):
            theirs = dict(readings(there))
            for place, reading in readings(here):
                if reading.state == "not-in-source" or place in (
                    "handle",
                    "fan_percent",
                    "errors.inforom_valid",
                ):
                    continue
                if theirs[place].ok and isinstance(reading.value, int) and place.startswith("memory"):
                    assert reading.value >> 20 == theirs[place].value >> 20
                elif theirs[place].ok:
                    assert (
                        reading.value == pytest.approx(theirs[place].value, abs=0.01)
                        or reading == theirs[place]
                    ), place


def test_what_a_source_lacks_never_passes_and_does_not_fail_the_verdict(
    machines: dict[str, Machine], tmp_path: Path
) -> None:
    live = machines["rtx3060_idle"]
    found = read.machine(source(tmp_path, {"q.xml": reports.smi_xml(live)}))
    there, here = by_id(health.run(live)), by_id(health.run(found))
    assert verdict(here.values(), has_gpu=found.has_gpu) == "ready"
    for id_, finding in here.items():
        if finding.message.startswith(NOT_IN_SOURCE):
            assert finding.status is Status.SKIP
        elif finding.status is Status.PASS:
            assert there[id_].status is Status.PASS, finding
    for id_ in (
        "host.memory",
        "host.swap",
        "host.disk",
        "host.variables",
        "host.environment",
        "host.load",
        "errors.xid",
        "driver.secure-boot",
        "driver.module-built",
        "driver.nouveau",
        "driver.next-boot",
        "driver.packages",
        "driver.device-nodes",
        "driver.permission",
        "pcie.errors",
        "driver.lost",
    ):
        if id_ in here:
            assert here[id_].message.startswith(NOT_IN_SOURCE), here[id_]


def test_the_fields_that_checks_need_from_a_report_exist() -> None:
    ids = {check.id for check in health.checks()}
    assert set(source_needs.FIELDS) | set(source_needs.FIELDS_FOR_A_PASS) <= ids
    named = {
        field
        for table in (source_needs.FIELDS, source_needs.FIELDS_FOR_A_PASS)
        for fields in table.values()
        for field in fields
    }
    assert named <= set(source_needs.NAMES)


def test_no_check_passes_without_a_field_of_the_report(machines: dict[str, Machine]) -> None:
    live = machines["rtx3060_idle"]
    for table in (source_needs.FIELDS, source_needs.FIELDS_FOR_A_PASS):
        for id_, fields in table.items():
            for field in fields:
                lacking = msgspec.structs.replace(live, source=MachineSource(name="x", missing=(field,)))
                found = by_id(health.run(lacking))[id_]
                assert found.status is not Status.PASS, (id_, field)


def test_no_reading_of_this_computer_reaches_the_machine_of_a_report(tmp_path: Path) -> None:
    found = read.machine(source(tmp_path, {"os-release": UBUNTU}))
    host = found.host
    assert (host.hostname, host.memory_bytes, host.cpu_model, host.kernel, host.variables) == (
        "",
        0,
        "",
        "",
        {},
    )
    assert host.distribution.id == "ubuntu"
    for place, reading in readings(found):
        assert not reading.ok, place
        assert reading.state == "not-in-source", place


TEXT_OUTPUT = """\

==============NVSMI LOG==============

Timestamp                                 : Fri Jun 26 11:59:44 2026
Driver Version                            : 580.65.06
CUDA Version                              : 13.0

Attached GPUs                             : 2
GPU 00000000:01:00.0
    Product Name                          : NVIDIA GeForce RTX 3060
    Display Mode                          : Requested functionality has been deprecated
    Display Active                        : Enabled
    Persistence Mode                      : Disabled
    MIG Mode
        Current                           : N/A
        Pending                           : N/A
    GPU UUID                              : GPU-00000000-0000-0000-0000-000000000001
    VBIOS Version                         : 94.06.14.00.0A
    PCI
        Device Id                         : 0x250310DE
        Bus Id                            : 00000000:01:00.0
        GPU Link Info
            PCIe Generation
                Max                       : 4
                Current                   : 1
            Link Width
                Max                       : 16x
                Current                   : 16x
    Fan Speed                             : ERR!
    Performance State                     : P8
    Clocks Event Reasons
        Idle                              : Active
        HW Slowdown                       : Not Active
            HW Thermal Slowdown           : Not Active
        SW Thermal Slowdown               : Not Active
    FB Memory Usage
        Total                             : 12288 MiB
        Reserved                          : 240 MiB
        Used                              : 11 MiB
    Compute Mode                          : Default
    Utilization
        GPU                               : 0 %
    Temperature
        GPU Current Temp                  : 38 C
        GPU Shutdown Temp                 : 98 C
        GPU Slowdown Temp                 : 95 C
        GPU Max Operating Temp            : 93 C
    Power Readings
        Power Draw                        : [Unknown Error]
        Power Limit                       : 170.00 W
    Processes
        GPU instance ID                   : N/A
        Process ID                        : 1234
            Type                          : C+G
            Name                          : /usr/bin/firefox
            Used GPU Memory               : 120 MiB
        Process ID                        : 2345
            Type                          : C
            Name                          : python
            Used GPU Memory               : 300 MiB
GPU 00000000:02:00.0
    Product Name                          : NVIDIA GeForce GTX 1060 6GB
    PCI
        Device Id                         : 0x1C0310DE
        Bus Id                            : 00000000:02:00.0
    FB Memory Usage
        Total                             : 6144 MiB
    Processes                             : None

"""


@pytest.mark.parametrize("change", ["plain", "crlf", "utf-16", "utf-16-bare", "bom", "latin-1", "escapes"])
def test_the_text_of_several_cards_is_read_in_every_encoding(change: str, tmp_path: Path) -> None:
    text = "Données du système : été\n$ nvidia-smi -q\n" + TEXT_OUTPUT + "$ \n"
    data = {
        "plain": text.encode(),
        "crlf": text.replace("\n", "\r\n").encode(),
        "utf-16": text.encode("utf-16"),
        "utf-16-bare": text.encode("utf-16-le"),
        "bom": text.encode("utf-8-sig"),
        "latin-1": text.encode("latin-1"),
        "escapes": ("\x1b[0;31m" + text.replace("GPU ", "\x1b[1mGPU \x1b[0m")).encode(),
    }[change]
    found = read.machine(source(tmp_path, {"out.txt": data}))
    first, second = found.gpus
    assert (first.name.value, second.name.value) == ("NVIDIA GeForce RTX 3060", "NVIDIA GeForce GTX 1060 6GB")
    assert (first.pci_address.value, first.pci_device_id.value) == ("0000:01:00.0", 0x2503)
    assert (first.memory_total_bytes.value, first.temperatures.gpu_c.value) == (12288 << 20, 38)
    assert (
        first.clocks.event_reasons.value,
        first.link.width.value,
        first.clocks.performance_state.value,
    ) == (1, 16, 8)
    assert (first.fan_percent.state, first.fan_percent.code) == ("failed", 999)
    assert first.power.draw_w.state == "failed"
    assert first.mig.state == "not-supported"
    assert second.temperatures.gpu_c.state == "not-in-source"
    assert [(p.pid, p.kind, p.draws) for p in first.processes.value or ()] == [
        (1234, "compute", True),
        (2345, "compute", False),
    ]
    assert second.processes.value == ()


TABLE = """\
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 595.71.05              Driver Version: 595.71.05      CUDA Version: 13.2     |
+-----------------------------------------+------------------------+----------------------+
| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |
| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |
|                                         |                        |               MIG M. |
|=========================================+========================+======================|
|   0  NVIDIA GeForce RTX 3060        Off |   00000000:01:00.0  On |                  N/A |
|  0%   43C    P8             25W /  170W |     596MiB /  12288MiB |      0%      Default |
|                                         |                        |                  N/A |
+-----------------------------------------+------------------------+----------------------+
|   1  NVIDIA GeForce GTX 1060 6GB    Off |   00000000:02:00.0 Off |                  N/A |
|ERR!  ERR! ERR!             N/A  /  N/A  |      10MiB /   6144MiB |     N/A      Default |
+-----------------------------------------+------------------------+----------------------+
"""


def test_the_table_is_read(tmp_path: Path) -> None:
    first, second = read.machine(source(tmp_path, {"a": TABLE})).gpus
    assert (first.name.value, first.temperatures.gpu_c.value, first.power.limit_w.value) == (
        "NVIDIA GeForce RTX 3060",
        43,
        170,
    )
    assert (first.memory_total_bytes.value, first.clocks.performance_state.value) == (12288 << 20, 8)
    assert second.temperatures.gpu_c.state == "failed"
    assert second.power.draw_w.state == "not-supported"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95\n", 18),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure ...", 9),
        ("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.", 12),
        ("Failed to initialize NVML: Unknown Error", 999),
        ("Failed to initialize NVML: Insufficient Permissions", 4),
    ],
)
def test_a_message_of_nvidia_smi_is_the_code_of_nvml(text: str, code: int, tmp_path: Path) -> None:
    assert read.machine(source(tmp_path, {"smi.txt": text})).nvml.code == code


def test_a_lost_card_is_named(machines: dict[str, Machine], tmp_path: Path) -> None:
    text = "Unable to determine the device handle for GPU0: 0000:01:00.0: GPU is lost.  Reboot the system to recover this GPU\n"  # noqa: E501
    found = read.machine(source(tmp_path, {"smi.txt": text}))
    (gpu,) = found.gpus
    assert (gpu.handle.code, gpu.pci_address.value) == (15, "0000:01:00.0")
    assert by_id(health.run(found))["gpu.responds"].status is Status.FAIL


def archived(files: dict[str, str], kind: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    pack = {"tar": bytes, "gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}[kind]
    return pack(stream.getvalue())


@pytest.mark.parametrize("kind", ["folder", "tar", "gz", "xz", "bz2", "one file"])
def test_folder_archive_and_one_text_give_the_same_machine(
    kind: str, tmp_path: Path, machines: dict[str, Machine]
) -> None:
    live = machines["rtx3060_idle"]
    files = {
        "smi.txt": reports.smi_xml(live),
        "bus.txt": reports.lspci(live),
        "loaded.txt": "Module Size  Used by\nnvidia 60710912 1\n",
        "a/uname.txt": f"Linux box {KERNEL} #63-Ubuntu SMP x86_64 x86_64 x86_64 GNU/Linux\n",
        "rel.txt": UBUNTU,
        "dkms.txt": f"nvidia/580.65.06, {KERNEL}, x86_64: installed\n",
        "boot.txt": "SecureBoot disabled\n",
        "dpkg.txt": f"ii  linux-image-{KERNEL} 6.8.0-60.63 amd64 kernel\nhi  nvidia-dkms-580 580.65.06-0ubuntu1 amd64 x\n"  # noqa: E501
        f"ii  linux-headers-{KERNEL} 6.8.0-60.63 amd64 headers\n",
        "version": NVRM,
        "log": reports.kernel_lines(["NVRM: loading NVIDIA UNIX x86_64 Kernel Module  580.65.06"]),
    }
    if kind == "folder":
        where = source(tmp_path, dict(files))
    elif kind == "one file":
        where = source(tmp_path, {"all.txt": "\n\n".join(files.values())})
    else:
        where = source(tmp_path, {"box": archived(files, kind)})
    found = read.machine(where)
    assert found.host.kernel == KERNEL
    assert found.host.distribution.version == "24.04"
    assert found.host.secure_boot.value is False
    assert [card.driver for card in found.cards] == [card.driver for card in live.cards]
    assert found.driver.module_version.value == "580.65.06"
    (kernel,) = found.installation.kernels.value or ()
    assert (kernel.release, kernel.has_headers, kernel.has_nvidia_module) == (KERNEL, True, True)
    assert [(p.name, p.held) for p in found.installation.packages.value or ()] == [("nvidia-dkms-580", True)]
    assert found.kernel_log.ok
    assert len(found.gpus) == 1


def judged(text: str, folder: Path) -> dict[str, Finding]:
    found = read.machine(source(folder, {"nvidia-bug-report.log.gz": gzip.compress(text.encode())}))
    return by_id(health.run(found))


BUS = "pci 0000:01:00.0: [10de:2503] type 00 class 0x030000 PCIe Legacy Endpoint"


def broken(machines: dict[str, Machine], driver: str | None, code: int) -> Machine:
    """A computer with one RTX 3060 whose NVML answers ``code``."""
    live = machines["rtx3060_idle"]
    cards = tuple(msgspec.structs.replace(card, driver=driver) for card in live.cards)
    host = msgspec.structs.replace(live.host, kernel=KERNEL)
    return msgspec.structs.replace(live, cards=cards, host=host, nvml=Reading.failed("x", code), gpus=())


def test_a_bug_report_of_a_sound_computer_has_no_fault(machines: dict[str, Machine], tmp_path: Path) -> None:
    live = msgspec.structs.replace(
        machines["rtx3060_idle"], host=msgspec.structs.replace(machines["rtx3060_idle"].host, kernel=KERNEL)
    )
    log = reports.kernel_lines(
        [
            BUS,
            "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27",
            "nvidia-modeset: Loading",
        ]
    )
    text = reports.bug_report(
        live,
        files={"etc/os-release": UBUNTU, "proc/driver/nvidia/./version": NVRM, "proc/modules": MODULES},
        dmesg=log,
    )
    found = judged(text, tmp_path)
    assert not [f for f in found.values() if f.status in (Status.FAIL, Status.UNKNOWN)], found


@pytest.mark.parametrize("case", ["nouveau", "mismatch", "secure boot", "lost"])
def test_a_bug_report_of_a_planted_fault_names_it(
    case: str, machines: dict[str, Machine], tmp_path: Path
) -> None:
    files = {"etc/os-release": UBUNTU, "proc/modules": MODULES, "proc/driver/nvidia/./version": NVRM}
    if case == "nouveau":
        machine = broken(machines, "nouveau", 9)
        files = {"etc/os-release": UBUNTU, "proc/modules": "nouveau 3096576 1 - Live 0x0\n"}
        lines, says = [BUS, "nouveau 0000:01:00.0: NVIDIA GA106 (b76000a1)"], "nouveau"
    elif case == "mismatch":
        machine = broken(machines, "nvidia", 18)
        lines = [
            BUS,
            "NVRM: API mismatch: the client has the version 580.95.05, but",
            "NVRM: this kernel module has the version 580.65.06.",
        ]
        says = "different versions"
    elif case == "secure boot":
        machine = broken(machines, None, 9)
        files = {"etc/os-release": UBUNTU, "proc/modules": "video 77824 0 - Live 0x0\n"}
        lines, says = (
            [
                BUS,
                "secureboot: Secure boot enabled",
                "Loading of module with unavailable key is rejected",
                "nvidia: Key was rejected by service",
            ],
            "Secure Boot",
        )
    else:
        machine = broken(machines, "nvidia", 15)
        lines = [
            BUS,
            "NVRM: Xid (PCI:0000:01:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
        ]
        says = "bus"
    found = judged(reports.bug_report(machine, files=files, dmesg=reports.kernel_lines(lines)), tmp_path)
    failed = [f for f in found.values() if f.status is Status.FAIL]
    assert failed
    assert any(says.lower() in f"{f.title} {f.message}".lower() for f in failed), failed


def test_prebuilt_modules_that_stayed_behind_are_named(machines: dict[str, Machine], tmp_path: Path) -> None:
    old, new = "6.8.0-60-generic", "6.8.0-63-generic"
    machine = broken(machines, None, 9)
    machine = msgspec.structs.replace(machine, host=msgspec.structs.replace(machine.host, kernel=new))
    dpkg = "".join(
        f"ii  {name} {version} amd64 x\n"
        for name, version in (
            (f"linux-image-{old}", "6.8.0-60.63"),
            (f"linux-image-{new}", "6.8.0-63.66"),
            (f"linux-modules-nvidia-580-open-{old}", "6.8.0-60.63"),
            ("nvidia-driver-580-open", "580.65.06-0ubuntu0.24.04.1"),
            ("linux-modules-nvidia-580-open-generic", "6.8.0-60.63"),
        )
    )
    log = reports.kernel_lines([BUS], new)
    box = source(
        tmp_path,
        {
            "smi.txt": reports.smi_xml(machine),
            "bus.txt": reports.lspci(machine),
            "rel.txt": UBUNTU,
            "dpkg.txt": dpkg,
            "dmesg.txt": log,
            "uname.txt": f"Linux box {new} #66-Ubuntu SMP x86_64 x86_64 x86_64 GNU/Linux\n",
            "lsmod.txt": "Module  Size  Used by\nvideo 1 0\n",
        },
    )
    failed = [f for f in health.run(read.machine(box)) if f.status is Status.FAIL]
    assert len(failed) == 1
    assert f"linux-modules-nvidia-580-open-{new}" in (failed[0].remedy or ""), failed
    assert "dkms" not in (failed[0].remedy or "")


def test_a_card_without_address_space_is_named(machines: dict[str, Machine], tmp_path: Path) -> None:
    machine = broken(machines, "nvidia", 6)
    lines = [
        BUS,
        "pci 0000:01:00.0: BAR 1 [mem size 0x400000000 64bit pref]: can't assign; no space",
        "NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:",
        "NVRM: BAR1 is 0M @ 0x0 (PCI:0000:01:00.0)",
        "nvidia: probe of 0000:01:00.0 failed with error -1",
        "NVRM: None of the NVIDIA devices were initialized.",
    ]
    text = reports.bug_report(
        machine,
        files={"etc/os-release": UBUNTU, "proc/modules": MODULES, "proc/driver/nvidia/./version": NVRM},
        dmesg=reports.kernel_lines(lines),
    )
    text = text.replace("Failed to initialize NVML: Unknown Error", "No devices were found")
    failed = [f for f in judged(text, tmp_path).values() if f.status is Status.FAIL]
    assert any(
        "address space" in f"{f.title} {f.message} {f.remedy}" or "4G" in (f.remedy or "") for f in failed
    ), failed


def test_messages_of_an_earlier_boot_do_not_count(machines: dict[str, Machine], tmp_path: Path) -> None:
    old = reports.kernel_lines(
        ["NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus."], "6.8.0-59-generic"
    )
    new = reports.kernel_lines([BUS, "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  580.65.06"])
    found = read.machine(source(tmp_path, {"kern.log": old + new}))
    assert found.kernel_log.value is not None
    assert found.kernel_log.value.xids == ()


def test_a_library_that_is_newer_than_the_module_is_found_without_nvidia_smi(tmp_path: Path) -> None:
    found = read.machine(
        source(
            tmp_path,
            {
                "lspci.txt": "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GA106 [10de:2503] (rev a1)\n\tKernel driver in use: nvidia\n",  # noqa: E501
                "version": NVRM,
                "dpkg.txt": "ii  libnvidia-compute-580:amd64 580.95.05-0ubuntu1 amd64 x\nii  nvidia-utils-580 580.95.05-0ubuntu1 amd64 x\n",  # noqa: E501
            },
        )
    )
    assert by_id(health.run(found))["driver.mismatch"].status is Status.FAIL


# --- hostile and damaged reports -------------------------------------------------------------------------------------


def test_entities_are_never_expanded(tmp_path: Path) -> None:
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    text = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">{laughs}<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    text += "<nvidia_smi_log><driver_version>580.1</driver_version><gpu id='0000:01:00.0'><product_name>&a11;&f;</product_name></gpu></nvidia_smi_log>"  # noqa: E501
    (gpu,) = read.machine(source(tmp_path, {"x.xml": text})).gpus
    assert gpu.name.value is None or len(gpu.name.value) < 100
    assert "root:" not in str(gpu)


def test_links_and_paths_of_an_archive_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:

        def add(name: str, text: str, **more: Any) -> None:
            member = tarfile.TarInfo(name)
            for key, value in more.items():
                setattr(member, key, value)
            member.size = len(text) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(text.encode()) if member.isreg() else None)

        add(
            "d/files.txt",
            "\n".join(
                (
                    "# dlbox collect 1",
                    f"L etc/os-release -> {outside}",
                    "L a -> ../../../../../../etc",
                    f"L b -> {'../' * 9}{outside}",
                    "F ../../evil",
                    "LD c -> /",
                    "L c/d/e -> ../../../x",
                    "D etc",
                )
            ),
        )
        add("d/root/../../../../../../tmp/dlbox-evil", "x")
        add("d/root/etc/os-release", UBUNTU)
        add("d/root/a/hostname", "x")
        add(f"d/root{outside}", "overwritten")
        add("link", "", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add("fifo", "", type=tarfile.FIFOTYPE)
    found = read.machine(source(tmp_path, {"box.tgz": stream.getvalue()}))
    assert outside.read_text() == "mine"
    assert not Path("/tmp/dlbox-evil").exists()
    assert "mine" not in json.dumps(msgspec.to_builtins(found))


def test_a_folder_is_read_without_links_and_pipes(tmp_path: Path) -> None:
    import os

    (tmp_path / "box").mkdir()
    (tmp_path / "secret").write_text(UBUNTU)
    (tmp_path / "box/link.txt").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "box/pipe")
    (tmp_path / "box/smi.txt").write_text(TABLE)
    found = read.machine(tmp_path / "box")
    assert found.host.distribution.id == "unknown"
    assert len(found.gpus) == 2


def test_a_compressed_file_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "MOST_BYTES", 1 << 20)
    for pack in (gzip.compress, lzma.compress, bz2.compress):
        with pytest.raises(ReportError, match="limit"):
            read.machine(source(tmp_path, {"bomb": pack(bytes(8 << 20))}))
    many = archived({f"f{n}": "x" for n in range(60)}, "gz")
    monkeypatch.setattr(contents, "MOST_FILES", 50)
    with pytest.raises(ReportError, match="50 files"):
        read.machine(source(tmp_path, {"many": many}))


def outcome(path: Path) -> str:
    """The sentence that refuses the report, or "read"."""
    try:
        read.machine(path)
    except ReportError as error:
        return str(error)
    return "read"


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", "tar"])
def test_a_cut_archive_is_one_sentence(kind: str, tmp_path: Path) -> None:
    data = archived({"smi.txt": TEXT_OUTPUT * 20, "b.txt": UBUNTU}, kind)
    for share in (0.2, 0.5, 0.9):
        path = source(tmp_path, {"box": data[: int(len(data) * share)]})
        assert re.fullmatch(r"read|[^\n]{10,300}", outcome(path))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no text"),
        (b"hello\n", "nothing that dlbox can read"),
        (b"PK\x03\x04zip", "ZIP"),
        (b"\x28\xb5\x2f\xfd1234", "zst"),
        (b"\x1f\x8b1234", "damaged"),
    ],
)
def test_a_file_that_is_no_report_is_refused_with_a_reason(data: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=says):
        read.machine(source(tmp_path, {"file": data}))


# --- the commands ----------------------------------------------------------------------------------------------------


def dlbox(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dlbox", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        input=stdin,
    )


def test_check_from_says_how_many_checks_could_be_made(machines: dict[str, Machine], tmp_path: Path) -> None:
    text = reports.smi_xml(machines["rtx3060_idle"])
    done = dlbox(
        "check",
        "--from",
        "-",
        "--json",
        "--junit",
        str(tmp_path / "j.xml"),
        "--prometheus",
        str(tmp_path / "p"),
        stdin=text,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    made = sum(1 for finding in document["findings"] if finding["status"] != "skip")
    sentence = f"judged from nvidia-smi -q -x alone: {made} checks could be made"
    assert document["judged_from"] == sentence
    assert document["machine"]["source"]["name"] == "nvidia-smi -q -x"
    assert sentence in (tmp_path / "j.xml").read_text()
    assert 'dlbox_source_info{source="nvidia-smi -q -x"} 1' in (tmp_path / "p").read_text()
    shown = dlbox("check", "--from", str(source(tmp_path, {"smi.xml": text})))
    assert sentence in " ".join(shown.stdout.split())
    only = dlbox("check", "--from", str(tmp_path / "smi.xml"), "--only", "thermal")
    assert only.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("check", "--from", "/nonexistent"), "cannot be read"),
        (("check", "--from", "X", "--stress", "1"), "--stress needs the computer itself"),
        (("check", "--from", "X", "--frameworks"), "--frameworks needs"),
        (("plan", "--from", "X"), "--distro"),
        (("plan", "--from", "X", "--host", "a"), "leave out --host"),
    ],
)
def test_options_that_do_not_fit_a_report_are_refused(
    arguments: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    path = source(tmp_path, {"smi.txt": TABLE})
    done = dlbox(*(str(path) if a == "X" else a for a in arguments))
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_report_without_cards_is_refused(tmp_path: Path) -> None:
    done = dlbox("check", "--from", str(source(tmp_path, {"os-release": UBUNTU})))
    assert done.returncode == 2
    assert "does not show whether the computer has an NVIDIA card" in done.stderr


def test_plan_from_a_report_uses_its_distribution_kernel_and_cards(tmp_path: Path) -> None:
    box = source(
        tmp_path / "box",
        {
            "a": UBUNTU,
            "b": f"Linux box {KERNEL} #63-Ubuntu SMP x86_64 GNU/Linux\n",
            "c": "SecureBoot enabled\n",
            "d": "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GA106 [10de:2503] (rev a1)\n",
        },
    )
    done = dlbox("plan", "--from", str(box), "--json")
    assert done.returncode == 0, done.stderr
    described = dlbox(
        "plan",
        "--card",
        "10de:2503",
        "--distro",
        "ubuntu-24.04",
        "--kernel",
        KERNEL,
        "--secure-boot",
        "--json",
    )
    theirs, mine = json.loads(described.stdout), json.loads(done.stdout)
    assert mine["driver"] == theirs["driver"] if "driver" in mine else mine.keys() == theirs.keys()
    smi = source(tmp_path / "smi", {"smi.txt": TEXT_OUTPUT})
    assert dlbox("plan", "--from", str(smi), "--distro", "ubuntu-24.04").returncode == 0
    no_card = dlbox("plan", "--from", str(source(tmp_path / "none", {"os-release": UBUNTU})))
    assert no_card.returncode == 2
    assert "--card" in no_card.stderr


@pytest.mark.parametrize(
    ("letters", "configured"), [("ii", True), ("hi", True), ("iF", False), ("iU", False), ("rc", None)]
)
def test_a_list_of_packages_says_which_are_not_configured(
    letters: str, configured: bool | None, tmp_path: Path
) -> None:
    listed = (
        "||/ Name                  Version                     Architecture Description\n"
        "+++-=====================-===========================-============-===========\n"
        f"{letters}  nvidia-dkms-580-open  580.95.05-0ubuntu0.24.04.2  amd64        NVIDIA DKMS package\n"
        "ii  bash                  5.2.21-2ubuntu4             amd64        shell\n"
    )
    packages = read.machine(source(tmp_path, {"dpkg.txt": listed})).installation.packages.value or ()
    assert [package.configured for package in packages] == ([] if configured is None else [configured])
