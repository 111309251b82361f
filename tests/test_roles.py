"""The roles' promises that can be kept without a box: every option described, wrong values refused, lint clean."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision import PROVISION_DIR
from provision.ansible import playbook
from provision.ansible.playbook import PlaybookJob
from tests.conftest import ROOT
from tests.test_playbook import RecordingProgress, only

ROLES = PROVISION_DIR / "roles"
OWN = (
    "record",
    "environment",
    "frameworks",
    "dlbox_app",
    "jupyter",
    "python",
    "cuda",
    "cudnn",
    "network",
    "bundle",
    "preflight",
    "nvidia_driver",
    "distribution",
)
SPECS: dict[str, dict[str, Any]] = {
    role: yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    for role in OWN
}
ENTRIES = [(role, entry) for role in OWN for entry in SPECS[role]]


@pytest.mark.parametrize(("role", "entry"), ENTRIES)
def test_every_option_is_described_and_defaults_agree(role: str, entry: str) -> None:
    defaults = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text())
    for name, option in SPECS[role][entry]["options"].items():
        assert name.startswith(f"{role}_")
        assert option["description"].endswith("."), name
        assert ("default" in option) is not option.get("required", False), name
        if "default" in option:
            assert option["default"] == defaults[name], name


@pytest.mark.parametrize("role", OWN)
def test_no_default_is_without_an_option(role: str) -> None:
    defaults = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text())
    assert set(defaults) <= {name for entry in SPECS[role].values() for name in entry["options"]}


@pytest.mark.parametrize(
    ("role", "entry", "wrong", "word"),
    [
        ("environment", "main", {}, "environment_name"),
        ("environment", "main", {"environment_name": "a", "environment_lock": "b", "environment_pip_retries": "x"},
         "environment_pip_retries"),
        ("environment", "main", {"environment_name": "a", "environment_lock": "b", "environment_wheel": {"url": "c"}},
         "environment_wheel"),
        ("frameworks", "main", {"frameworks_environments": [{"name": "tensorflow"}], "frameworks_python_packages": []},
         "lock"),
        ("dlbox_app", "main", {"dlbox_app_lock": "a"}, "dlbox_app_wheel"),
        ("python", "main", {"python_version": "3.12", "python_packages": []}, "python_uv_lock"),
        ("record", "files", {"record_files": {"a": 1}}, "record_files"),
        ("cuda", "main", {"cuda_version": "12.9.1", "cuda_packages": []}, "cuda_capabilities"),
        ("network", "main", {"network_lock_timeout_s": "x"}, "network_lock_timeout_s"),
        ("cudnn", "main", {"cudnn_environments": ["torch"]}, "cudnn_environments"),
        ("nvidia_driver", "repository", {"nvidia_driver_repository": {"url": "a"}}, "nvidia_driver_repository"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_before_anything_is_done(
    tmp_path: Path, role: str, entry: str, wrong: dict[str, Any], word: str
) -> None:
    include = {"name": role, "tasks_from": entry}
    task = {"name": "The role is run", "ansible.builtin.include_role": include}
    path = tmp_path / "wrong.yml"
    path.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    outcome = playbook.run(
        PlaybookJob(playbook=path, check=True, variables={"localhost": wrong}),
        RecordingProgress(),
        tmp_path / "logs",
    )
    host = only(outcome)
    assert host.status == "failed"
    assert host.changed == ()
    assert word in (host.message or ""), host
    assert "Validating arguments" in (host.task or "")


@pytest.mark.parametrize("name", ["site.yml", "verify.yml", "rollback.yml", "preflight.yml"])
def test_a_playbook_is_syntactically_sound(name: str) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "--syntax-check",
         str(PROVISION_DIR / "playbooks" / name)],
        capture_output=True, text=True, check=False,
        env={"ANSIBLE_ROLES_PATH": str(ROLES), "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(Path("/usr/local/bin/dlbox").exists(), reason="this machine was provisioned")
def test_a_box_without_dlbox_is_told_so(tmp_path: Path) -> None:
    host = only(
        playbook.run(PlaybookJob(playbook=Path("verify.yml")), RecordingProgress(), tmp_path / "logs")
    )
    assert (host.status, host.verdict) == ("failed", "unknown")
    assert host.message == "dlbox is not installed on the box yet: run the same command without --tags."


@pytest.mark.slow
def test_roles_and_playbooks_are_clean_at_the_production_profile() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-lint")), "--profile", "production", "--offline", "--nocolor",
         "provision/playbooks", "provision/roles"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={"ANSIBLE_ROLES_PATH": str(ROLES), "LC_ALL": "C.UTF-8", "HOME": str(Path.home()),
             "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
