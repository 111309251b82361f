"""Which packages of kernels the driver role installs: prebuilt modules that did not follow, and headers."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from provision import PROVISION_DIR

ROLE = PROVISION_DIR / "roles" / "nvidia_driver"
OLD, NEW = "6.8.0-151-generic", "6.17.0-14-generic"


def tasks(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((ROLE / "tasks" / f"{name}.yml").read_text(encoding="utf-8"))
    return found


def rendered(text: str, **values: object) -> Any:
    """A template of the role with the variables of vars/main.yml."""
    own = yaml.safe_load(Path(ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))
    templates = {name: trust_as_template(value) for name, value in own.items() if isinstance(value, str)}
    known = {"nvidia_driver_branch": 580, "nvidia_driver_flavour": "open", "nvidia_driver_source": "prebuilt"}
    templar = Templar(loader=DataLoader(), variables={**own, **templates, **known, **values})
    return templar.template(trust_as_template(text))


def modinfo(versions: dict[str, str | None]) -> dict[str, Any]:
    """The register of modules.yml: kernel -> version of its module, None without a module."""
    return {
        "results": [
            {"item": kernel, "rc": 1, "stdout": ""}
            if version is None
            else {"item": kernel, "rc": 0, "stdout": f"filename: x\nversion:        {version}\nlicense: y"}
            for kernel, version in versions.items()
        ]
    }


@pytest.mark.parametrize(
    ("running", "versions", "wanted"),
    [
        (NEW, {OLD: "580.178.04", NEW: None}, [NEW]),
        (OLD, {OLD: None, NEW: "580.178.04"}, [OLD]),
        (OLD, {OLD: "580.178.04", NEW: None}, [NEW]),
        (NEW, {OLD: "580.178.04", NEW: "535.288.01"}, [NEW]),
        (NEW, {OLD: None, NEW: "580.178.04"}, []),
        (NEW, {OLD: "580.178.04", NEW: "580.178.04"}, []),
        ("6.6.87.2-microsoft-standard-WSL2", {}, []),
    ],
)
def test_the_running_and_the_newest_kernel_get_missing_modules(
    running: str, versions: dict[str, str | None], wanted: list[str]
) -> None:
    (search,) = (task for task in tasks("prebuilt") if "loop" in task)
    found = rendered(
        search["loop"],
        __nvidia_driver_osrelease={"content": base64.b64encode(f"{running}\n".encode()).decode()},
        __nvidia_driver_modules=modinfo(versions),
        __nvidia_driver_kernels=list(versions),
    )
    assert found == wanted


@pytest.mark.parametrize(
    ("flavour", "package"),
    [("open", "linux-modules-nvidia-580-open-"), ("closed", "linux-modules-nvidia-580-")],
)
def test_only_packages_in_the_archive_are_installed(flavour: str, package: str) -> None:
    install = tasks("prebuilt")[-1]
    results = {"results": [{"item": OLD, "rc": 100}, {"item": NEW, "rc": 0}]}
    names = rendered(
        install["ansible.builtin.apt"]["name"],
        nvidia_driver_flavour=flavour,
        __nvidia_driver_prebuilt_found=results,
        __nvidia_driver_offered=trust_as_template(install["vars"]["__nvidia_driver_offered"]),
    )
    assert names == [package + NEW]


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("prebuilt", f"sudo apt install linux-modules-nvidia-580-open-{NEW}"),
        ("dkms", "/var/lib/dkms/nvidia*/*/build/make.log"),
    ],
)
def test_the_remedy_for_a_missing_module_fits_the_installation(source: str, remedy: str) -> None:
    message = tasks("verify")[-1]["ansible.builtin.assert"]["fail_msg"]
    module = {"item": NEW, "rc": 1, "stdout": "", "stdout_lines": [], "stderr": "Module nvidia not found."}
    text = rendered(message, nvidia_driver_source=source, __nvidia_driver_module=module)
    assert remedy in text
    assert ("dkms" in text) is (source == "dkms")


def test_headers_are_installed_under_the_names_that_apt_knows() -> None:
    shown = [
        "Package: linux-headers-6.12.48+deb13-amd64\nVersion: 1\nDepends: a\n",
        "Package: proxmox-headers-6.17.13-2-pve\nVersion: 2\n",
        "",
    ]
    (install,) = (task for task in tasks("headers") if "ansible.builtin.apt" in task)
    headers = {"results": [{"stdout": text, "rc": 100} for text in shown]}
    names = rendered(install["ansible.builtin.apt"]["name"], __nvidia_driver_headers=headers)
    assert names == ["linux-headers-6.12.48+deb13-amd64", "proxmox-headers-6.17.13-2-pve"]
