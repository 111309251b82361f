"""A reboot that `--reboot` allows: the need for it is read again after the boot, and the verdict is judged then.

The role's and the playbook's own tasks run on this machine; /proc and the reboot are replaced by files and a command.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from provision import PROVISION_DIR
from provision.ansible import playbook
from provision.ansible.outcome import HostOutcome
from provision.ansible.playbook import PlaybookJob
from provision.commands.provision import is_success
from tests.test_playbook import RecordingProgress, only

LOADED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025\n"
SITE = """
- hosts: all
  gather_facts: false
  vars:
    nvidia_driver_branch: 580
    nvidia_driver_reboot: {reboot}
    ansible_become: false
    __nvidia_driver_kernels: [6.12.1]
    __nvidia_driver_earlier: {{}}
    __nvidia_driver_this_boot: now
    __nvidia_driver_installed: {{changed: true}}
  tasks:
    - name: The machine runs the driver, or its need for a reboot is known
      ansible.builtin.include_tasks: {tasks}/reboot.yml
- import_playbook: verify.yml
"""


def play(folder: Path, *, reboot: bool, after_boot: str, before: dict[str, str] | None = None) -> HostOutcome:
    """Run the reboot and the verdict on a simulated machine, whose boot runs the shell script ``after_boot``."""
    shutil.copytree(PROVISION_DIR / "roles/nvidia_driver/tasks", folder / "tasks")
    proc = folder / "proc"
    proc.mkdir()
    for name, text in (before or {"modules": "nouveau 1 0 - Live 0x0\n"}).items():
        (proc / name).write_text(text)
    boot = folder / "boot.sh"
    boot.write_text(f"set -e\ncd {proc}\ntouch booted\n{after_boot}\n")
    box = folder / "dlbox"
    box.write_text(
        f"#!/bin/sh\nif [ -e {proc}/version ]; then v=ready; else v=not-ready; fi\n"
        'echo "{\\"verdict\\": \\"$v\\", '
        '\\"findings\\": [{\\"status\\": \\"fail\\", \\"message\\": \\"no driver\\"}]}"\n'
    )
    box.chmod(0o755)
    for path in (folder / "tasks").glob("reboot*.yml"):
        text = path.read_text()
        text = text.replace("/proc/driver/nvidia/version", str(proc / "version"))
        text = text.replace("/proc/modules", str(proc / "modules"))
        hold = "ansible.builtin.include_role:\n        name: preflight\n        tasks_from: hold"
        assert ("reboot_needed" in path.name) or hold in text
        text = text.replace(hold, "ansible.builtin.command:\n        cmd: 'true'")
        text = text.replace("ansible_connection | default('ssh') != 'local'", "true")
        text = text.replace(
            "ansible.builtin.reboot:\n        reboot_timeout: 900",
            f"ansible.builtin.command:\n        cmd: sh {boot}",
        )
        path.write_text(text)
    verify = (PROVISION_DIR / "playbooks/verify.yml").read_text()
    verify = verify.replace("/usr/local/bin/dlbox", str(box)).replace("/opt/dlbox/venv/dlbox", str(folder))
    (folder / "verify.yml").write_text(verify.replace("  vars:\n", "  vars:\n    ansible_become: false\n", 1))
    shutil.copytree(PROVISION_DIR / "playbooks/files", folder / "files")
    (folder / "site.yml").write_text(SITE.format(reboot=json.dumps(reboot), tasks=folder / "tasks"))
    outcome = playbook.run(PlaybookJob(playbook=folder / "site.yml"), RecordingProgress(), folder / "logs")
    return only(outcome)


def succeeded(host: HostOutcome) -> bool:
    return is_success(playbook.PlaybookOutcome(playbook="site", check=False, seconds=1, hosts=(host,)))


def test_a_box_that_is_ready_after_its_reboot_is_a_success(tmp_path: Path) -> None:
    host = play(tmp_path, reboot=True, after_boot=f"echo 'nvidia 1' > modules; echo '{LOADED}' > version")
    assert (host.status, host.verdict, host.reboot_needed) == ("changed", "ready", False), host
    assert succeeded(host)


def test_a_box_that_is_not_ready_after_its_reboot_is_a_failure_with_the_reason(tmp_path: Path) -> None:
    """Another boot would change nothing, so the box does not ask for one."""
    host = play(tmp_path, reboot=True, after_boot="true")
    assert (host.status, host.verdict, host.reboot_needed) == ("failed", "not-ready", False), host
    assert "no driver" in (host.message or "")
    assert not succeeded(host)


def test_without_leave_to_reboot_the_pending_reboot_is_reported(tmp_path: Path) -> None:
    host = play(tmp_path, reboot=False, after_boot="exit 1")
    assert (host.status, host.verdict, host.reboot_needed) == ("ok", "not-ready", True), host
    assert host.notes == ("The new driver runs after a reboot; until then the box is not ready.",)
    assert not (tmp_path / "proc/booted").exists()
    assert not succeeded(host)


def test_a_running_driver_of_the_branch_needs_no_reboot(tmp_path: Path) -> None:
    host = play(
        tmp_path, reboot=True, after_boot="exit 1", before={"modules": "nvidia 1 0\n", "version": LOADED}
    )
    assert (host.verdict, host.reboot_needed) == ("ready", False), host
    assert succeeded(host)


VERDICTS: list[tuple[str, bool, bool]] = [
    ("ready", False, True), ("cpu-only", False, True), ("not-ready", False, False), ("not-ready", True, True),
    ("uncertain", False, False), ("uncertain", True, False), ("unknown", True, False), ("sound", True, False),
]  # fmt: skip


@pytest.mark.parametrize(("verdict", "pending", "accepted"), VERDICTS)
def test_verify_accepts_no_other_verdict(tmp_path: Path, verdict: str, pending: bool, accepted: bool) -> None:
    box = tmp_path / "dlbox"
    document: dict[str, Any] = {"verdict": verdict, "findings": []}
    box.write_text(f"#!/bin/sh\necho '{json.dumps(document)}'\n")
    box.chmod(0o755)
    text = (PROVISION_DIR / "playbooks/verify.yml").read_text()
    text = text.replace("/usr/local/bin/dlbox", str(box)).replace("/opt/dlbox/venv/dlbox", str(tmp_path))
    path = tmp_path / "verify.yml"
    path.write_text(text.replace("  vars:\n", "  vars:\n    ansible_become: false\n", 1))
    shutil.copytree(PROVISION_DIR / "playbooks/files", tmp_path / "files")
    job = PlaybookJob(playbook=path, variables={"localhost": {"nvidia_driver_reboot_needed": pending}})
    host = only(playbook.run(job, RecordingProgress(), tmp_path / "logs"))
    assert (host.status != "failed") is accepted, host
    assert host.verdict == verdict
