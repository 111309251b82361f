"""Time of `dlbox provision`, compared with apt and pip installing the same packages on an equal test machine.

    sudo .venv/bin/python tests/benchmarks/provisioning.py                      # Debian 12, no card: no driver
    sudo .venv/bin/python tests/benchmarks/provisioning.py trixie "RTX 3060"    # Debian 13, with the real driver

Both start on a fresh container with new package lists, and use the same lock files, packages and certificates.
apt and pip alone make no lock files, check nothing and record nothing. The time for the box's own verdict is reported
separately (``verify``), since they have no such step.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from provision import PROVISION_DIR
from provision.ansible.eta import TRAINING_TASK
from provision.artifacts import environments, own_wheel
from provision.commands.plan_requests import PlanOptions, request
from provision.resolve.load import load
from provision.resolve.model import Stack
from provision.resolve.stack import resolve
from tests.e2e.container import Container

DISTRIBUTIONS = {"bookworm": ("debian-12", 12), "trixie": ("debian-13", 13)}
JUDGING = ("The hardware of the box is checked", TRAINING_TASK)
LIMIT_S = 3600.0


def main(suite: str, *cards: str) -> None:
    """Prints one JSON document: seconds of each, and the ratio."""
    distribution, major = DISTRIBUTIONS[suite]
    data = load()
    stack = resolve(
        request(PlanOptions(cards=cards, distro=distribution, frameworks=("tensorflow",)), data), data
    )
    assert isinstance(stack, Stack), stack
    figures: dict[str, Any] = {"suite": suite, "cards": list(cards)}
    with (
        tempfile.TemporaryDirectory() as temporary,
        Container("bench", suite=suite, cards=cards) as container,
    ):
        folder = Path(temporary)
        container.output("sudo apt-get update -q", timeout_s=300)
        figures["first"], figures["verify"], figures["verdict"] = provision(container, folder)
        figures["second"], figures["second_verify"], _ = provision(container, folder)
        container.reset()
        container.output("sudo apt-get update -q", timeout_s=300)
        role_vars = environments.role_variables(stack, folder / "locks", own_wheel.build(folder))
        (container.root / "root/bare.sh").write_text(bare(role_vars, major))
        put(container, [Path(e["lock"]) for e in role_vars["frameworks_environments"]], role_vars)
        began = time.monotonic()
        container.output("sudo sh /root/bare.sh", timeout_s=LIMIT_S)
        figures["bare"] = round(time.monotonic() - began, 1)
    figures["ratio"] = round((figures["first"] - figures["verify"]) / figures["bare"], 3)
    json.dump(figures, sys.stdout, indent=2)
    sys.stdout.write("\n")


def provision(container: Container, folder: Path) -> tuple[float, float, str | None]:
    """The whole command from the shell: its seconds, those of the verdict, and the verdict."""
    bundle = os.environ.get("SSL_CERT_FILE", "")
    place = container.inventory(folder, extra_ca_bundle=bundle, frameworks=["tensorflow"])
    began = time.monotonic()
    ended = subprocess.run(
        [str(Path(sys.executable).with_name("dlbox")), "provision", container.name, "--inventory", str(place),
         "--yes", "--json", "--no-jupyter"],
        capture_output=True, text=True, check=False, env={**os.environ, "XDG_STATE_HOME": str(folder / "state")},
    )  # fmt: skip
    took = round(time.monotonic() - began, 1)
    document = json.loads(ended.stdout)
    (host,) = document["hosts"]
    if host["verdict"] is None:
        raise SystemExit(f"{host['task']}: {host['message']}")
    kept = folder / "state/dlbox/log/provision/site.pace.json"  # of runs that succeeded
    pace = json.loads(kept.read_text()) if ended.returncode == 0 else []
    judging = sum(seconds for task, seconds in pace if task in JUDGING)
    return took, round(judging, 1), host["verdict"]


def put(container: Container, locks: list[Path], role_vars: dict[str, Any]) -> None:
    """What the bare side needs, laid into its /root beforehand."""
    place = container.root / "root"
    for path in (*locks, Path(role_vars["dlbox_app_lock"]), Path(role_vars["dlbox_app_wheel"]["path"])):
        (place / path.name).write_bytes(path.read_bytes())
    bundle = os.environ.get("SSL_CERT_FILE")
    if bundle:
        (place / "ca.pem").write_bytes(Path(bundle).read_bytes())


def bare(role_vars: dict[str, Any], major: int) -> str:
    """The commands a person would type."""
    lines = [
        "set -eu",
        "export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off",
    ]
    if os.environ.get("SSL_CERT_FILE"):
        lines.append("export PIP_CERT=/root/ca.pem")
    lines.append("mkdir -p /opt/bare/tmp; export TMPDIR=/opt/bare/tmp PIP_CACHE_DIR=/opt/bare/cache")
    if role_vars.get("nvidia_driver_packages"):
        archive = yaml.safe_load((PROVISION_DIR / f"distributions/debian-{major}.yml").read_text())["archive"]
        components = " ".join(role_vars["nvidia_driver_components"])
        lines += [
            f"echo 'deb {archive['uri']} {suite} {components}' >> /etc/apt/sources.list.d/bare.list"
            for suite in archive["suites"]
        ]
        lines += [
            "apt-get update -q",
            "apt-get install -q -y $(linux-version list | sed s/^/linux-headers-/)",
            f"apt-get install -q -y {' '.join(role_vars['nvidia_driver_packages'])}",
            "update-initramfs -u -k all",
        ]
    lines.append(
        f"apt-get install -q -y --no-install-recommends {' '.join(role_vars['frameworks_python_packages'])}"
    )
    for environment in role_vars["frameworks_environments"]:
        name = environment["name"]
        lines += [
            f"python3 -m venv /opt/bare/{name}",
            f"/opt/bare/{name}/bin/pip install -q --require-hashes --no-deps -r /root/{Path(environment['lock']).name}",
        ]
    lines += [
        "python3 -m venv /opt/bare/dlbox",
        "/opt/bare/dlbox/bin/pip install -q --require-hashes --no-deps "
        f"-r /root/{Path(role_vars['dlbox_app_lock']).name}",
        f"/opt/bare/dlbox/bin/pip install -q --no-deps /root/{Path(role_vars['dlbox_app_wheel']['path']).name}",
    ]
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["bookworm"]))
