"""What a bare box says of itself, and what the roles get told: the two ends of the resolver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from inventory.cards import cards
from provision.ansible import variables
from provision.resolve.load import load
from provision.resolve.rows import StackData
from provision.resolve.stack import NoStack, Request, Stack, Target, resolve
from tests.conftest import ROOT

ROLES = ROOT / "provision" / "roles"
DATA = load()
FILES = {
    "etc/os-release": 'ID=ubuntu\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n',
    "lib/modules/6.8.0-151-generic/modules.order": "",
    "lib/modules/7.0.0-43-generic/modules.order": "",
    "lib/modules/7.0.0-9-generic/modules.order": "",
    "lib/modules/gone-by/left.over": "",
    "proc/modules": "nvidia_uvm 1 0 - Live 0x0\nnouveau 2 0 - Live 0x0\next4 3 1 - Live 0x0\n",
    "proc/locks": "1: POSIX  ADVISORY  WRITE 77 00:1b:INODE 0 EOF\n",
    "proc/77/comm": "unattended-upgr\n",
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.178.04  Mon\n",
    "var/lib/dpkg/lock-frontend": "",
    "var/lib/dpkg/status": (
        "Package: nvidia-driver-580\nStatus: install ok installed\nVersion: 580.178.04-0ubuntu1\n\n"
        "Package: libcuda1\nStatus: deinstall ok config-files\nVersion: 535.1\n\n"
        "Package: bash\nStatus: install ok installed\nVersion: 5.2\n"
    ),
    "etc/apt/sources.list": "deb http://archive.ubuntu.com/ubuntu noble main\n",
    "etc/apt/sources.list.d/cuda.list": (
        "# deb https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/ /\n"
        "deb https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64/ /\n"
    ),
    "etc/apt/sources.list.d/cuda.list.save": "deb https://developer.download.nvidia.com/compute/x /\n",
    "usr/bin/nvidia-uninstall": "",
}


def card(root: Path, slot: str, device: int, kind: int = 0x030000, vendor: int = 0x10DE) -> None:
    folder = root / f"sys/bus/pci/devices/0000:{slot}"
    folder.mkdir(parents=True)
    for name, value in {"vendor": vendor, "device": device, "class": kind}.items():
        (folder / name).write_text(f"0x{value:04x}\n", encoding="ascii")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    inode = (tmp_path / "var/lib/dpkg/lock-frontend").stat().st_ino
    locks = tmp_path / "proc/locks"
    locks.write_text(locks.read_text(encoding="utf-8").replace("INODE", str(inode)), encoding="utf-8")
    variable = tmp_path / "sys/firmware/efi/efivars/SecureBoot-8be4df61"
    variable.parent.mkdir(parents=True)
    variable.write_bytes(b"\x06\x00\x00\x00\x01")
    card(tmp_path, "01:00.0", 0x2503)
    card(tmp_path, "01:00.1", 0x1AEF, kind=0x040300)
    card(tmp_path, "00:02.0", 0x9BC5, vendor=0x8086)
    (tmp_path / "sys/bus/pci/devices/0000:01:00.0/driver").symlink_to("../drivers/nouveau")
    return tmp_path


def read(root: Path) -> dict[str, Any]:
    """As the role does it: a process of its own, with nothing but the standard library."""
    script = ROLES / "preflight" / "files" / "box.py"
    done = subprocess.run(
        [sys.executable, "-I", str(script), str(root)], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_box_says_what_it_is(root: Path) -> None:
    box = read(root)
    assert box["cards"] == [{"address": "0000:01:00.0", "device_id": 0x2503, "driver": "nouveau"}]
    assert box["distribution"] == {"id": "ubuntu", "version": "24.04", "codename": "noble"}
    assert box["kernels"] == ["6.8.0-151-generic", "7.0.0-9-generic", "7.0.0-43-generic"]
    assert box["secure_boot"] is True
    assert box["modules"] == ["nouveau", "nvidia_uvm"]
    assert box["module_version"] == "580.178.04"
    assert box["packages"] == {"nvidia-driver-580": "580.178.04-0ubuntu1"}
    assert [entry["file"] for entry in box["repositories"]] == ["/etc/apt/sources.list.d/cuda.list"]
    assert box["runfile"] == ["/usr/bin/nvidia-uninstall"]
    assert box["locks"] == [{"file": "/var/lib/dpkg/lock-frontend", "pid": 77, "name": "unattended-upgr"}]
    assert box["interrupted"] is False
    assert box["free_bytes"]["/opt"] > 0


@pytest.mark.parametrize("status", ["half-configured", "unpacked", "half-installed", "triggers-pending"])
def test_an_interrupted_dpkg_is_seen(root: Path, status: str) -> None:
    path = root / "var/lib/dpkg/status"
    path.write_text(
        path.read_text(encoding="utf-8").replace("ok installed", f"ok {status}", 1), encoding="utf-8"
    )
    assert read(root)["interrupted"] is True


def test_a_box_with_nothing_to_read_is_read(tmp_path: Path) -> None:
    box = read(tmp_path)
    assert box["cards"] == []
    assert box["secure_boot"] is False
    assert variables.request(box).targets == ()


def test_the_box_becomes_a_request_for_the_kernel_that_boots_next(root: Path) -> None:
    found = variables.request(read(root))
    assert found.distribution == "ubuntu-24.04"
    assert [target.name for target in found.targets] == ["GeForce RTX 3060 12GB"]
    assert found.kernel == "7.0.0-43-generic"
    assert found.secure_boot is True


def options(role: str, entry: str = "main") -> dict[str, Any]:
    text = (ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)["argument_specs"][entry]["options"]
    return found


@pytest.mark.parametrize("role", ["preflight", "nvidia_driver"])
def test_every_option_is_described_and_defaults_agree(role: str) -> None:
    defaults = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text(encoding="utf-8"))
    specified = options(role)
    assert {name for name, option in specified.items() if not option.get("required")} == set(defaults)
    for name, option in specified.items():
        assert name.startswith(f"{role}_")
        assert option["description"].endswith(".")
        assert option.get("default", {}) == defaults.get(name, {}), name


@pytest.mark.parametrize("on", [row.id for row in DATA.distributions])
@pytest.mark.parametrize("name", ["GTX 1060", "RTX 3060", "RTX 5060"])
def test_a_stack_becomes_exactly_what_the_role_takes(name: str, on: str) -> None:
    found = cards.find(name)
    target = Target(name=found.name, architecture=found.architecture, capability=found.compute_capability)
    stack = resolve(Request(distribution=on, targets=(target,), secure_boot=True), DATA, DATA.date)
    assert isinstance(stack, Stack)
    told = variables.driver(stack)
    specified = options("nvidia_driver")
    assert set(told) <= set(specified)
    assert {key for key, option in specified.items() if option.get("required")} <= set(told)
    for key in ("nvidia_driver_flavour", "nvidia_driver_source"):
        assert told[key] in specified[key]["choices"]
    if "nvidia_driver_repository" in told:
        assert set(told["nvidia_driver_repository"]) == set(specified["nvidia_driver_repository"]["options"])
    assert told["nvidia_driver_needs_mok"] is (told["nvidia_driver_source"] != "prebuilt")


def test_without_a_card_there_is_no_driver_to_install() -> None:
    stack = resolve(Request(distribution="debian-12"), DATA, DATA.date)
    assert isinstance(stack, Stack)
    assert variables.driver(stack) == {}


@pytest.mark.parametrize("on", [row.id for row in DATA.distributions])
@pytest.mark.parametrize("name", ["GTX 1060", "RTX 3060", "RTX 5060"])
def test_a_toolkit_becomes_exactly_what_the_role_takes(name: str, on: str) -> None:
    found = cards.find(name)
    target = Target(name=found.name, architecture=found.architecture, capability=found.compute_capability)
    stack = resolve(Request(distribution=on, targets=(target,), cuda_toolkit=True), DATA, DATA.date)
    assert isinstance(stack, Stack)
    told = variables.toolkit(stack)
    specified = options("cuda")
    assert set(told) <= set(specified)
    assert {key for key, option in specified.items() if option.get("required")} <= set(told)
    assert told["cuda_capabilities"] == [found.compute_capability]
    assert set(told["cuda_components"]) >= set(variables.driver(stack)["nvidia_driver_components"])
    assert ("cuda_repository" in told) is told["cuda_packages"][0].startswith("cuda-toolkit-")
    if "cuda_repository" in told:
        assert told["cuda_pin"] is ("nvidia_driver_repository" not in variables.driver(stack))
    plain = resolve(Request(distribution=on, targets=(target,)), DATA, DATA.date)
    assert isinstance(plain, Stack)
    assert variables.toolkit(plain) == {}
    assert variables.cudnn(plain) == {"cudnn_environments": plain.cudnn.versions if plain.cudnn else {}}


FAMILIES = (
    "GTX 970",
    "GTX 1060",
    "TITAN V",
    "GTX 1660 SUPER",
    "RTX 2060",
    "RTX 3060",
    "RTX 4060",
    "RTX 5060",
)


def planned(on: str, name: str, data: StackData = DATA, **wishes: bool) -> Stack | NoStack:
    found = cards.find(name)
    target = Target(name=found.name, architecture=found.architecture, capability=found.compute_capability)
    return resolve(Request(distribution=on, targets=(target,), **wishes), data, data.date)


def toolkit(on: str, name: str) -> str:
    """The toolkit's packages and sources, or why there is none."""
    stack = planned(on, name, cuda_toolkit=True)
    if isinstance(stack, NoStack):
        return f"{name} on {on}: none: {stack.error}\n"
    told = variables.toolkit(stack)
    source = told.get("cuda_repository", {"uri": "the distribution's archive"})["uri"]
    below = ", nothing else from there" if told.get("cuda_pin") else ""
    components = " ".join(told["cuda_components"])
    return (
        f"{name} on {on}: {' '.join(told['cuda_packages'])} from {source}{below}; components: {components}\n"
    )


def test_the_toolkits_sources_are_exactly_these() -> None:
    """UPDATE_GOLDEN=1 writes the file again."""
    text = "".join(toolkit(row.id, name) for row in DATA.distributions for name in FAMILIES)
    golden = ROOT / "tests" / "golden" / "toolkit.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def rendered(on: str, name: str, data: StackData = DATA) -> str:
    """Packages, apt sources, pins and holds that one box gets, as the role writes them."""
    stack, secured = planned(on, name, data), planned(on, name, data, secure_boot=True)
    if isinstance(stack, NoStack):
        return f"=== {name} on {on}\nnone: {stack.error}\n"
    assert isinstance(secured, Stack)
    assert secured.driver is not None
    role = ROLES / "nvidia_driver"
    told = variables.driver(stack)
    values: dict[str, Any] = {"ansible_managed": "managed", "nvidia_driver_apt_mirror": ""}
    values |= yaml.safe_load((role / "vars" / "main.yml").read_text(encoding="utf-8"))
    values["distribution_release"] = yaml.safe_load((data.folder / f"{on}.yml").read_text(encoding="utf-8"))
    values |= {**told, "__nvidia_driver_missing": told["nvidia_driver_components"]}
    templates = jinja2.Environment(  # noqa: S701 - files of apt, not HTML
        loader=jinja2.FileSystemLoader(role / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    wanted = ["components.sources", "unattended"]
    if "nvidia_driver_repository" in told:
        wanted += ["repository.sources"]
    if told["nvidia_driver_source"] in ("nvidia-repository", "prebuilt"):
        wanted += ["pin"]
    parts = [f"=== {name} on {on}\n{' '.join(told['nvidia_driver_packages'])}\n"]
    own = "a key of this box's own" if secured.driver.needs_mok else "modules that are signed already"
    if secured.driver.needs_mok:
        own += f", {values['distribution_release']['dkms_certificate']}"
    parts += [f"Secure Boot: {own}, {' '.join(secured.driver.packages)}\n"]
    parts += [f"--- {file}\n{templates.get_template(f'{file}.j2').render(values)}" for file in wanted]
    return "".join(parts)


def test_apt_is_told_exactly_this() -> None:
    """UPDATE_GOLDEN=1 writes the file again."""
    text = "\n".join(rendered(row.id, name) for row in DATA.distributions for name in FAMILIES)
    golden = ROOT / "tests" / "golden" / "apt.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_roles_are_clean_at_the_production_profile() -> None:
    lint = Path(sys.executable).with_name("ansible-lint")
    done = subprocess.run(
        [str(lint), "--profile", "production", "--offline", "--nocolor", "provision/roles"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
