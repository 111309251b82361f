"""Read the files of a computer: bus, kernel log, installation, host; and end child processes."""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path

import pytest

from common.processes.child import Child
from inventory import gather
from inventory.machine import driver_files, host, kernel_log, module_settings, pci
from inventory.machine.records import Machine


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def card(address: str = "0000:01:00.0", **files: str) -> dict[str, str]:
    there = {"vendor": "0x10de", "device": "0x2503", "class": "0x030000", **files}
    return {f"sys/bus/pci/devices/{address}/{name}": text for name, text in there.items()}


def test_only_nvidia_display_functions_are_cards(tmp_path: Path) -> None:
    write(tmp_path, card() | card("0000:01:00.1", **{"class": "0x040300"}) | card("0000:00:02.0", vendor="0x8086")
          | card("0000:02:00.0", **{"class": "0x030200"}) | card("0000:03:00.0", device="garbage"))  # fmt: skip
    assert [c.address for c in pci.cards(tmp_path)] == ["0000:01:00.0", "0000:02:00.0"]
    assert pci.cards(tmp_path)[0].pci_id == "10de:2503"


def test_a_copy_of_sysfs_without_links_is_read_too(tmp_path: Path) -> None:
    """Test machines and containers bind a folder over /sys/bus/pci/devices: no links, few files."""
    found = pci.cards(write(tmp_path, card()))[0]
    assert found.driver is None
    assert found.link_width.state == found.slot_width_max.state == "not-supported"


@pytest.mark.parametrize(("text", "lanes"), [("16", 16), ("0", None), ("255", None), ("x", None), ("", None)])
def test_impossible_link_widths_are_not_reported(tmp_path: Path, text: str, lanes: int | None) -> None:
    write(tmp_path, card(current_link_width=text, current_link_speed="Unknown"))
    assert pci.cards(tmp_path)[0].link_width.value == lanes
    assert pci.cards(tmp_path)[0].link_generation.value is None


XID = "NVRM: Xid (PCI:0000:01:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


def test_xids_are_found_in_the_kernel_log() -> None:
    log = kernel_log.parse(["usb 1-1: new device", XID, "nouveau 0000:01:00.0: NVIDIA GP106"], "test")
    assert [(x.code, x.address) for x in log.xids] == [(79, "0000:01:00")]
    assert log.xids[0].message.startswith("pid=")
    assert log.nvidia == ("nouveau 0000:01:00.0: NVIDIA GP106",)


def test_a_long_log_is_shortened() -> None:
    log = kernel_log.parse([XID] * 5000 + ["NVRM: x" * 1000] * 500, "test")
    assert len(log.xids) == 1000
    assert (len(log.nvidia), log.dropped) == (200, 300)
    assert max(map(len, log.nvidia)) <= 300


def test_the_first_messages_of_a_long_log_are_not_lost() -> None:
    """The cause at boot is followed by any number of lines about its consequences."""
    lines = [
        "NVRM: Xid (PCI:0000:01:00): 48, DBE",
        "NVRM: BAR1 is 0M @ 0x0 (PCI:0000:01:00.0)",
        *[f"NVRM: rpcSendMessage failed for fn {n}" for n in range(5000)],
        *["NVRM: Xid (PCI:0000:01:00): 154, recovery action changed"] * 3000,
        "NVRM: the last line",
    ]
    log = kernel_log.parse(lines, "test")
    assert log.nvidia[0] == "NVRM: BAR1 is 0M @ 0x0 (PCI:0000:01:00.0)"
    assert log.nvidia[-1] == "NVRM: the last line"
    assert log.xids[0].code == 48
    assert len(log.nvidia) + log.dropped == 5002


def test_messages_of_the_bus_count_if_they_name_a_card_or_its_bridge() -> None:
    lines = [
        "pci 0000:01:00.0: BAR 1 [mem size 0x800000000 64bit pref]: can't assign; no space",
        "pci 0000:05:00.0: BAR 1 [mem size 0x1000]: can't assign; no space",
        "pcieport 0000:00:01.1: pciehp: Slot(0): Card not present",
        "pcieport 0000:00:1c.0: pciehp: Slot(3): Card not present",
        "pcieport 0000:00:01.1: AER: Correctable error message received from 0000:01:00.0",
        "pcieport 0000:00:1c.0: AER: Correctable error message received from 0000:05:00.0",
        "nvidia 0000:01:00.0: Unable to change power state from D3cold to D0, device inaccessible",
    ]
    log = kernel_log.parse(lines, "test", ("0000:01:00.0", "0000:00:01.1"))
    assert log.nvidia == (lines[0], lines[2], lines[4], lines[6])


def test_memory_regions_without_an_address_have_size_0(tmp_path: Path) -> None:
    zeros = "0x0000000000000000 0x0000000000000000 0x0000000000000000"
    registers = "0x00000000f6000000 0x00000000f6ffffff 0x0000000000040200"
    memory = "0x0000007000000000 0x00000077ffffffff 0x000000000014220c"
    unset = "0x0000000000000000 0x00000007ffffffff 0x000000002014220c"
    for second, size in ((memory, 32 << 30), (zeros, 0), (unset, 0)):
        write(tmp_path, card(resource="\n".join([registers, second, zeros, zeros])))
        assert pci.cards(tmp_path)[0].bar_bytes.value == (16 << 20, size, 0, 0)
    write(tmp_path, card(resource="garbage"))
    assert pci.cards(tmp_path)[0].bar_bytes.state == "failed"


@pytest.mark.parametrize(
    ("line", "module", "blocks"),
    [
        ("blacklist nvidia", "nvidia", True),
        ("blacklist nvidia # because", "nvidia", True),
        ("blacklist nvidiafb", "nvidia", False),
        ("blacklist nvidia-drm", "nvidia", False),
        ("alias nvidia off", "nvidia", True),
        ("alias nvidia nvidia-current", "nvidia", False),
        ("install nvidia /bin/false", "nvidia", True),
        ("install nvidia /usr/bin/true", "nvidia", True),
        ("install nvidia modprobe -i nvidia-current $CMDLINE_OPTS", "nvidia", False),
        ("options nvidia NVreg_EnableGpuFirmware=0", "nvidia", False),
        ("blacklist nouveau", "nouveau", True),
        ("install nouveau /bin/true", "nouveau", True),
    ],
)
def test_settings_that_block_a_module(tmp_path: Path, line: str, module: str, blocks: bool) -> None:
    found = (
        module_settings.read(write(tmp_path, {"usr/lib/modprobe.d/a.conf": f"# nvidia\n{line}\n"})).value
        or ()
    )
    assert [one.path for one in found] == ["/usr/lib/modprobe.d/a.conf"]
    assert module_settings.blocked(found[0], module) is blocks


@pytest.mark.parametrize(
    "word", ["modprobe.blacklist=a,nvidia", "module_blacklist=nvidia", "rd.driver.blacklist=nvidia"]
)
def test_the_kernel_command_line_can_block_a_module(tmp_path: Path, word: str) -> None:
    found = (
        module_settings.read(write(tmp_path, {"proc/cmdline": f"quiet {word} ro nvidia-drm.modeset=1"})).value
        or ()
    )
    assert [one.text for one in found] == [word, "nvidia-drm.modeset=1"]
    assert [module_settings.blocked(one, "nvidia") for one in found] == [True, False]


def test_a_file_in_etc_replaces_the_file_of_the_same_name(tmp_path: Path) -> None:
    write(tmp_path, {"lib/modprobe.d/blacklist-nvidia.conf": "blacklist nvidia\n",
                     "etc/modprobe.d/blacklist-nvidia.conf": "# switched on again\n",
                     "lib/udev/rules.d/50-pm-nvidia.rules": 'ATTR{vendor}=="0x10de", \\\n ATTR{remove}="1"\n',
                     "etc/prime-discrete": "off\n"})  # fmt: skip
    found = module_settings.read(tmp_path).value or ()
    assert [(one.path, one.text) for one in found] == [
        ("/lib/udev/rules.d/50-pm-nvidia.rules", 'ATTR{vendor}=="0x10de", ATTR{remove}="1"'),
        ("/etc/prime-discrete", "off"),
    ]


@pytest.mark.parametrize(
    ("file", "is_module"),
    [
        ("nvidia.ko", True), ("nvidia.ko.zst", True), ("nvidia-current.ko.xz", True), ("nvidia-current-open.ko", True),
        ("nvidia-tesla-470.ko", True), ("nvidia-tesla-535-open.ko.xz", True), ("nvidia-legacy-390xx.ko", True),
        ("nvidia-drm.ko", False), ("nvidia-uvm.ko.zst", False), ("nvidia-current-uvm.ko", False),
        ("nvidiafb.ko", False), ("nvidia-peermem.ko", False), ("nvidia-current-open-modeset.ko", False),
    ],
)  # fmt: skip
def test_the_main_module_is_found_under_all_its_names(tmp_path: Path, file: str, is_module: bool) -> None:
    write(tmp_path, {"lib/modules/6.12.1/modules.dep": f"updates/dkms/{file}: kernel/a.ko\nkernel/a.ko:"})
    kernel = (driver_files.read(tmp_path, "bare-metal", "6.12.1").kernels.value or ())[0]
    assert kernel.nvidia_modules == ((f"updates/dkms/{file}",) if is_module else ())


@pytest.mark.parametrize(
    ("version", "compiler"),
    [
        ("Linux version 6.8.0-79-generic (buildd@lcy02) (x86_64-linux-gnu-gcc-13 (Ubuntu 13.3.0-6ubuntu2) 13.3.0, "
         "GNU ld 2.42) #79-Ubuntu", "gcc 13"),
        ("Linux version 6.12.73+deb13-amd64 (x@debian.org) (x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0, GNU ld "
         "(GNU Binutils for Debian) 2.44)", "gcc 14"),
        ("Linux version 5.4.0 (b@h) (gcc version 9.3.0 (Ubuntu 9.3.0-17ubuntu1~20.04))", "gcc 9"),
        ("Linux version 6.8.0-79-generic", None),
    ],
)  # fmt: skip
def test_the_compiler_of_the_kernel(tmp_path: Path, version: str, compiler: str | None) -> None:
    found = driver_files.read(write(tmp_path, {"proc/version": version}), "bare-metal", "x")
    assert found.kernel_compiler.value == compiler


def test_errors_of_a_failed_build_are_read_for_the_running_kernel(tmp_path: Path) -> None:
    log = ("DKMS make.log for nvidia-580.95.05 for kernel {} (x86_64)\nwarning: the compiler differs from the other\n"
           "  The kernel was built by: gcc-12 12.3.0\n  You are using: cc 11.4.0\n cc -Werror a.c\n"
           "cc: error: unrecognized command-line option '-x'\n")  # fmt: skip
    write(tmp_path, {"var/lib/dkms/nvidia/580.95.05/build/make.log": log.format("6.8.0-79-generic")})
    found = driver_files.read(tmp_path, "bare-metal", "6.8.0-79-generic").build_errors.value or ()
    assert "built by: gcc-12 12.3.0 You are using: cc 11.4.0" in found[0].text
    assert found[1].text == "cc: error: unrecognized command-line option '-x'"
    assert driver_files.read(tmp_path, "bare-metal", "6.8.0-80-generic").build_errors.value == ()


def test_a_container_and_wsl2_have_their_own_packages(tmp_path: Path) -> None:
    write(tmp_path, {"run/systemd/container": "lxc\n", "var/lib/dpkg/status": (
        "Package: libnvidia-compute-580\nStatus: install ok installed\nVersion: 580.65.06-0\n\n"
        "Package: linux-generic-hwe-24.04\nStatus: install ok installed\nVersion: 6.17\n")})  # fmt: skip
    inside = driver_files.read(tmp_path, "container", "x")
    assert (inside.container.value, inside.packages.ok, len(inside.inside_packages.value or ())) == (
        "lxc",
        False,
        1,
    )
    outside = driver_files.read(tmp_path, "bare-metal", "x")
    assert outside.kernel_packages.value == ("linux-generic-hwe-24.04",)


def test_an_unreadable_kernel_log_is_not_an_empty_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"dev/kmsg": ""})

    def refuse(*arguments: object) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "open", refuse)
    assert kernel_log.read(tmp_path, "bare-metal").state == "no-permission"
    assert kernel_log.read(tmp_path, "container").state == "not-supported"


def test_a_ring_buffer_without_its_beginning_is_reported(tmp_path: Path) -> None:
    write(tmp_path, {"dev/kmsg": f"2,500,9,-;{XID}\n"})
    assert kernel_log.read(tmp_path, "bare-metal").value is not None
    ring, complete = kernel_log._ring_buffer(tmp_path / "dev/kmsg")
    assert (ring, complete) == ([XID], False)
    write(tmp_path, {"dev/kmsg": "6,0,0,-;Linux version 6.8.0\n KEY=value\n"})
    assert kernel_log._ring_buffer(tmp_path / "dev/kmsg")[1]


def test_no_kernel_log_at_all_is_not_supported(tmp_path: Path) -> None:
    assert kernel_log.read(tmp_path, "virtual-machine").state == "not-supported"


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"proc/version": "Linux version 5.15.167.4-microsoft-standard-WSL2"}, "wsl2"),
        ({".dockerenv": ""}, "container"),
        ({"run/.containerenv": ""}, "container"),
        ({"proc/1/cgroup": "0::/kubepods/burstable/pod1"}, "container"),
        ({"proc/cpuinfo": "flags\t\t: fpu hypervisor sse"}, "virtual-machine"),
        ({"proc/cpuinfo": "flags\t\t: fpu sse"}, "bare-metal"),
        ({}, "bare-metal"),
    ],
)
def test_the_environment_is_recognised(tmp_path: Path, files: dict[str, str], kind: str) -> None:
    assert host.read(write(tmp_path, files)).environment == kind


def test_library_paths_with_cuda_libraries_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"cuda/libcudnn.so.9": "", "nvml/libnvidia-ml.so.1": ""})
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}/nvml::{tmp_path}/cuda:{tmp_path}/none")
    assert host.read(tmp_path).library_path_clashes == (f"{tmp_path}/cuda",)


def test_module_versions_of_both_kinds(tmp_path: Path) -> None:
    def read(text: str) -> tuple[str | None, str | None]:
        found = driver_files.module(write(tmp_path, {"proc/driver/nvidia/version": text}))
        return found.module_version.value, found.module_flavour.value

    old = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024"
    new = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build"
    assert read(old) == ("535.183.01", "closed")
    assert read(new) == ("580.65.06", "open")
    assert read("garbage") == (None, None)


def test_kernels_are_sorted_by_version(tmp_path: Path) -> None:
    for release in ("6.8.0-100-generic", "6.8.0-99-generic", "6.11.0-9-generic"):
        write(tmp_path, {f"lib/modules/{release}/modules.dep": "", f"boot/vmlinuz-{release}": ""})
    write(tmp_path, {"lib/modules/6.8.0-100-generic/updates/dkms/nvidia.ko.zst": ""})
    write(tmp_path, {"var/lib/dkms/nvidia/580.65.06/6.8.0-99-generic/x86_64/module/nvidia.ko": ""})
    found = driver_files.read(tmp_path, "bare-metal", "6.8.0-99-generic")
    kernels = found.kernels.value or ()
    assert [k.release for k in kernels] == ["6.8.0-99-generic", "6.8.0-100-generic", "6.11.0-9-generic"]
    assert [k.has_nvidia_module for k in kernels] == [False, True, False]
    assert [d.built_for for d in found.dkms.value or ()] == [("6.8.0-99-generic",)]


def test_packages_and_their_holds(tmp_path: Path) -> None:
    write(tmp_path, {"var/lib/dpkg/status": (
        "Package: libnvidia-compute-580\nStatus: install ok installed\nPriority: optional\nVersion: 580.65.06-0\n\n"
        "Package: nvidia-driver-580\nStatus: hold ok installed\nVersion: 580.65.06-0\n\n"
        "Package: nvidia-settings\nStatus: install ok installed\nVersion: 510\n\n"
        "Package: nvidia-kernel-common-550\nStatus: deinstall ok config-files\nVersion: 550\n")})  # fmt: skip
    found = driver_files.read(tmp_path, "bare-metal", "x").packages.value or ()
    assert {p.name: p.held for p in found} == {"libnvidia-compute-580": False, "nvidia-driver-580": True}


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("print('x')", ""),
        ("raise SystemExit(3)", "code 3"),
        ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("import time; time.sleep(60)", "in time"),
        ("import sys\nwhile True: sys.stdout.write('x' * 65536)", "printed too much"),
        ("import os, time; os.close(1); time.sleep(60)", "did not exit"),
    ],
)
def test_every_child_ends_whatever_it_does(code: str, why: str) -> None:
    child = Child((sys.executable, "-c", code))
    ended = child.finish(1.0 if "sleep" in code else 20.0)
    assert why in ended.why
    assert bool(ended.why) == bool(why)
    assert child.process is not None
    assert child.process.poll() is not None


@pytest.mark.parametrize(
    ("code", "limits", "why"),
    [
        ("time.sleep(1.5); print('begun', flush=True); print('answer')", (1.0, 60), ""),
        ("print('begun', flush=True); time.sleep(60)", (0.5, 60), "did not answer in time"),
        (
            "while time.process_time() < 0.5: pass\nprint('begun', flush=True); time.sleep(2); print('answer')",
            (0.5, 60),
            "",
        ),
        ("time.sleep(60)", (60, 0.5), "did not start in time"),
    ],
)
def test_a_slow_start_is_not_a_hang(code: str, limits: tuple[float, float], why: str) -> None:
    ended = Child((sys.executable, "-c", f"import time\n{code}")).finish(limits[0], start_s=limits[1])
    assert why in ended.why
    assert bool(ended.why) == bool(why)
    assert (ended.lines == [b"begun", b"answer"]) == (not why)


def test_the_probe_reports_its_start_before_it_loads_the_library(tmp_path: Path) -> None:
    """Otherwise a slow start of Python would look like a library that hangs."""
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import sys, time; time.sleep(2); from inventory.nvml import probe; sys.exit(probe.main())"
    )
    machine = gather.gather(sysroot=tmp_path, probe=(sys.executable, str(slow)), timeout_s=1.5)
    assert "time" not in (machine.nvml.why or ""), machine.nvml


def test_a_child_that_cannot_be_started_is_reported() -> None:
    assert "could not be started" in Child(("/nonexistent/program",)).finish(1).why


def test_grandchildren_are_killed_too(tmp_path: Path) -> None:
    code = ("import subprocess, sys, time\n"
            "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
            "print(p.pid, flush=True); time.sleep(60)")  # fmt: skip
    ended = Child((sys.executable, "-c", code)).finish(1.5)
    pid = int(ended.lines[0])
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the grandchild lives on")


@pytest.mark.parametrize(
    "output", [b"", b"garbage\n", b'{"opening": 3}\n', b"[" * 100_000 + b"\n", b"\xff\xfe\n"]
)
def test_an_invalid_answer_of_the_probe_is_a_failed_reading(tmp_path: Path, output: bytes) -> None:
    (tmp_path / "out").write_bytes(output)
    machine = gather.gather(sysroot=tmp_path, probe=("cat", str(tmp_path / "out")))
    assert isinstance(machine, Machine)
    assert machine.nvml.state == "failed"
    assert machine.nvml.why


def test_answers_before_the_end_of_a_probe_are_used(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(
        b'{"opening": {"nvml": {"value": true}, "count": 2}}\n{"gpu": {"index": 0}}\n{"gpu": {"ind'
    )
    machine = gather.gather(sysroot=tmp_path, probe=("cat", str(tmp_path / "out")))
    assert [g.handle.ok for g in machine.gpus] == [True, False]
