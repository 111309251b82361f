"""Cached overlay layers with packages that take long to install and that no test is about."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from pathlib import Path

from provision.commands.plan_requests import PlanOptions, request
from provision.resolve.load import load
from provision.resolve.model import DriverPlan, Stack
from provision.resolve.stack import resolve
from tests.e2e import base
from tests.e2e.container import Container

DISTROS = {"bookworm": "debian-12", "trixie": "debian-13"}
MINUTES_TO_BUILD = 60


def plan(suite: str, card: str, *frameworks: str, cuda_toolkit: bool = False) -> Stack:
    """The plan for a card on a suite."""
    data = load()
    wanted = PlanOptions(
        cards=(card,),
        distro=DISTROS[suite],
        frameworks=frameworks or ("tensorflow",),  # type: ignore[arg-type]
        cuda_toolkit=cuda_toolkit,
    )
    stack = resolve(request(wanted, data), data)
    assert isinstance(stack, Stack), stack
    return stack


def driver(suite: str) -> Path:
    """A layer with the planned driver for a GTX 1060, installed by apt, with its compiled module: about 6 CPU-minutes.

    The role finds the packages installed and still does the rest: sources, blacklist, holds, record.
    """
    found = plan(suite, "GTX 1060").driver
    assert isinstance(found, DriverPlan)
    assert found.source == "distribution"
    components = " ".join(("main", *found.components))
    script = f"""set -eu
. /etc/os-release
echo "deb http://deb.debian.org/debian $VERSION_CODENAME {components}" > /etc/apt/sources.list.d/layer.list
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -q -y {" ".join(found.packages)} mokutil
apt-get clean
rm /etc/apt/sources.list.d/layer.list
"""
    return layer(suite, "driver", script)


def layer(suite: str, name: str, script: str) -> Path:
    """The layer that a script, run as root on the base of a suite, writes; from the cache or made now."""
    recipe = hashlib.sha256(f"{base.recipe(suite)}\n{script}".encode()).hexdigest()[:12]
    place = base.cache() / f"{suite}-{name}-{recipe}"
    base.build(suite)
    with (place.parent / f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            with Container(f"layer-{name}", suite=suite) as container:
                (container.root / "root/layer.sh").write_text(script)
                done = container.run("sudo sh /root/layer.sh", timeout_s=60 * MINUTES_TO_BUILD)
                place.with_name(f"{place.name}.log").write_text(done.stdout + done.stderr)
                assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
                (container.root / "root/layer.sh").unlink()
                container.halt()
                for name in ("etc/ssh/sshd_config.d/dlbox-test.conf", "etc/resolv.conf"):
                    (container.written / name).unlink(missing_ok=True)
                shutil.move(container.written, place)
    return place
