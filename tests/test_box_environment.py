"""Where a system runs: the reading of this machine and the script on a box agree for every kind of system."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory import gather
from inventory.machine import environment, host
from provision.ansible import variables
from provision.resolve import boxes
from tests.conftest import ROOT
from tests.test_variables import card

VENDOR, PRODUCT = "sys/class/dmi/id/sys_vendor", "sys/class/dmi/id/product_name"
UBUNTU = "Linux version 6.8.0-151-generic (buildd@lcy02) (gcc 13.3.0) #1 SMP"
PLAIN = {
    "proc/version": UBUNTU,
    "proc/cpuinfo": "flags\t\t: fpu sse4_2 avx avx2\n",
    "proc/1/cgroup": "0::/init.scope\n",
}
GUEST = {**PLAIN, "proc/cpuinfo": "flags\t\t: fpu sse4_2 avx hypervisor\n"}
ON_OVERLAY = "1 0 0:1 / / rw,relatime - overlay overlay rw,lowerdir={},upperdir={}\n"
LXCFS = "9 1 0:9 /proc/meminfo /proc/meminfo rw,nosuid - fuse.lxcfs lxcfs rw,user_id=0\n"

SYSTEMS: dict[str, tuple[dict[str, str], str]] = {
    "bare metal": (PLAIN, "bare-metal"),
    "nothing readable": ({}, "bare-metal"),
    "chroot on bare metal": ({**PLAIN, "etc/debian_chroot": "trixie"}, "bare-metal"),
    "live system": ({**PLAIN, "proc/self/mountinfo": ON_OVERLAY.format("/rofs", "/cow/upper")}, "bare-metal"),
    "host of LXC containers": (
        {**PLAIN, "proc/self/mountinfo": "9 1 0:9 / /var/lib/lxcfs rw - fuse.lxcfs lxcfs rw\n"}, "bare-metal",
    ),
    "Surface laptop": (
        {**PLAIN, VENDOR: "Microsoft Corporation", PRODUCT: "Surface Book"},
        "bare-metal",
    ),
    "first domain of Xen": ({**GUEST, "proc/xen/capabilities": "control_d\n"}, "bare-metal"),
    "EC2 bare metal": (
        {**PLAIN, VENDOR: "Amazon EC2", PRODUCT: "g4dn.metal"},
        "bare-metal",
    ),
    "compiled by Microsoft, not under WSL": (
        {**PLAIN, "proc/version": "Linux version 6.6.51 (root@microsoft.com) (gcc 13)"}, "bare-metal",
    ),
    "KVM": (GUEST, "virtual-machine"),
    "KVM that hides": (
        {**PLAIN, VENDOR: "QEMU", PRODUCT: "Standard PC (Q35 + ICH9, 2009)"},
        "virtual-machine",
    ),
    "VMware": (
        {**PLAIN, VENDOR: "VMware, Inc.", PRODUCT: "VMware7,1"},
        "virtual-machine",
    ),
    "Hyper-V": (
        {**PLAIN, VENDOR: "Microsoft Corporation", PRODUCT: "Virtual Machine"},
        "virtual-machine",
    ),
    "Azure": ({**GUEST, "proc/version": "Linux version 6.8.0-1021-azure (buildd@lcy02)"}, "virtual-machine"),
    "EC2": (
        {**PLAIN, VENDOR: "Amazon EC2", PRODUCT: "g5.xlarge"},
        "virtual-machine",
    ),
    "Google Compute Engine": (
        {**PLAIN, VENDOR: "Google", PRODUCT: "Google Compute Engine"},
        "virtual-machine",
    ),
    "Docker": ({**PLAIN, ".dockerenv": ""}, "container"),
    "Docker in a virtual machine": ({**GUEST, ".dockerenv": ""}, "container"),
    "Podman": ({**PLAIN, "run/.containerenv": 'engine="podman-5.0"\n'}, "container"),
    "systemd-nspawn": ({**PLAIN, "run/systemd/container": "systemd-nspawn\n"}, "container"),
    "LXC with systemd": ({**PLAIN, "run/systemd/container": "lxc\n"}, "container"),
    "LXC as root": ({**PLAIN, "proc/1/environ": "PATH=/bin\0container=lxc\0"}, "container"),
    "LXC without systemd": ({**PLAIN, "proc/self/mountinfo": LXCFS}, "container"),
    "LXC, old control groups": ({**PLAIN, "proc/1/cgroup": "4:memory:/lxc/desk\n"}, "container"),
    "Kubernetes": ({**PLAIN, "proc/1/cgroup": "0::/kubepods/burstable/pod1\n"}, "container"),
    "Kubernetes with namespaces": (
        {
            **PLAIN, "proc/1/cgroup": "0::/\n",
            "proc/self/mountinfo": ON_OVERLAY.format("/var/lib/containerd/s/1/fs", "/var/lib/containerd/s/2/fs"),
        },
        "container",
    ),
    "Kubernetes with its account": ({**PLAIN, "run/secrets/kubernetes.io/serviceaccount/token": "x"}, "container"),
    "Apptainer": ({**PLAIN, ".singularity.d/runscript": "#!/bin/sh\n"}, "container"),
    "WSL1": ({"proc/version": "Linux version 4.4.0-19041-Microsoft (Microsoft@Microsoft.com)"}, "wsl2"),
    "WSL2": ({"proc/version": "Linux version 5.15.167.4-microsoft-standard-WSL2 (root@f9c826d3017f)"}, "wsl2"),
    "WSL2 with an own kernel": ({**GUEST, "proc/sys/fs/binfmt_misc/WSLInterop": "enabled\n"}, "wsl2"),
    "WSL2 with an own kernel and systemd": ({**GUEST, "run/systemd/container": "wsl\n"}, "wsl2"),
    "Docker in WSL2": ({"proc/version": "Linux version 6.6.87.2-microsoft-standard-WSL2", ".dockerenv": ""}, "wsl2"),
}  # fmt: skip


@pytest.fixture(scope="module")
def box() -> ModuleType:
    """The script of the role preflight."""
    path = ROOT / "provision" / "roles" / "preflight" / "files" / "box.py"
    spec = importlib.util.spec_from_file_location("preflight_box", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        if not path.exists() and not any(parent.is_file() for parent in path.parents):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize("name", SYSTEMS)
def test_both_readers_recognise_the_environment(tmp_path: Path, box: ModuleType, name: str) -> None:
    files, expected = SYSTEMS[name]
    write(tmp_path, files)
    assert host.read(tmp_path).environment == expected
    document = json.loads(json.dumps(box.read(tmp_path)))
    assert document["environment"] == expected
    flags = host.read(tmp_path).cpu_flags
    assert document["cpu_flags"] == (list(flags.value or ()) if flags.ok else None)


LINES = st.lists(
    st.sampled_from(sorted({text for files, _ in SYSTEMS.values() for text in files.values()}))
    | st.text(alphabet="microsftWSL overlay-/:docker0\n\t", max_size=60),
    max_size=3,
).map("".join)
NAMES = st.sampled_from(sorted({name for files, _ in SYSTEMS.values() for name in files}))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, LINES, max_size=5))
def test_both_readers_agree_on_any_files(
    tmp_path_factory: pytest.TempPathFactory, box: ModuleType, files: dict[str, str]
) -> None:
    root = write(tmp_path_factory.mktemp("root"), files)
    assert box.environment(root) == environment.read(root)


def answer_of_windows(root: Path, text: str) -> None:
    path = root / "usr/lib/wsl/lib/nvidia-smi"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\n", encoding="utf-8")
    path.chmod(0o755)


def test_under_wsl2_the_card_of_windows_is_planned_for(tmp_path: Path, box: ModuleType) -> None:
    write(tmp_path, SYSTEMS["WSL2"][0])
    write(tmp_path, {"etc/os-release": "ID=ubuntu\nVERSION_ID=24.04\n"})
    answer_of_windows(tmp_path, "00000000:01:00.0, 0x250310DE, 560.94\n")
    document = box.read(tmp_path)
    assert document["cards"] == [{"address": "0000:01:00.0", "device_id": 0x2503, "driver": None}]
    assert document["module_version"] == "560.94"
    assert [target.name for target in variables.request(document).targets] == ["GeForce RTX 3060 12GB"]


@pytest.mark.parametrize("answer", ["NVIDIA-SMI has failed\n", "", "[N/A], [N/A], [N/A]\n", "a,b\n\x00\n"])
def test_an_answer_without_a_card_is_no_card(tmp_path: Path, box: ModuleType, answer: str) -> None:
    write(tmp_path, SYSTEMS["WSL2"][0])
    answer_of_windows(tmp_path, answer)
    document = box.read(tmp_path)
    assert (document["cards"], document["module_version"]) == ([], None)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="0123456789abcdefx:., DE\n", max_size=200))
def test_any_answer_of_nvidia_smi_is_parsed(box: ModuleType, text: str) -> None:
    for address, device, _version in box.parse_cards(text):
        assert len(address) == 12
        assert 0 <= device <= 0xFFFF


def test_a_container_counts_the_cards_that_it_was_given(tmp_path: Path, box: ModuleType) -> None:
    """/sys of a container shows all cards of its host."""
    write(tmp_path, SYSTEMS["Docker"][0])
    card(tmp_path, "01:00.0", 0x2503)
    card(tmp_path, "02:00.0", 0x1C03)
    assert (
        len(box.read(tmp_path)["cards"]) == 2
    )  # without device files nothing says which card it will be given
    for minor, slot in enumerate(("01:00.0", "02:00.0")):
        write(
            tmp_path,
            {f"proc/driver/nvidia/gpus/0000:{slot}/information": f"Model: x\nDevice Minor: \t {minor}\n"},
        )
    write(tmp_path, {"dev/nvidia1": ""})
    assert [each["device_id"] for each in box.read(tmp_path)["cards"]] == [0x1C03]


def test_the_request_of_a_box_and_of_its_own_plan_agree(
    tmp_path: Path, box: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`provision` reads a box with the script; `plan` on the box reads it with the inventory."""
    for name, (files, _) in SYSTEMS.items():
        root = write(tmp_path / name, {**files, "etc/os-release": "ID=debian\nVERSION_ID=13\n"})
        if "WSL" not in name:
            card(root, "01:00.0", 0x2503)
            card(root, "02:00.0", 0x128B)
        machine = gather.gather(
            sysroot=root, probe=(sys.executable, "-c", "raise SystemExit(1)"), timeout_s=5
        )
        mine = boxes.of_machine(machine)
        theirs = variables.request(box.read(root))
        assert _of(mine) == _of(theirs), name


def _of(request: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(request)
    # The running kernel against the newest installed one; the type of the machine that runs the test.
    for field in ("kernel", "machine_type"):
        del found[field]
    return found
