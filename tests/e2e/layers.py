"""What takes long to install and no test looks at: installed once on a bed, kept as a layer over the base."""

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
from tests.e2e.bed import Bed

DISTROS = {"bookworm": "debian-12", "trixie": "debian-13"}
MINUTES_TO_BUILD = 60


def plan(suite: str, card: str, *frameworks: str, cuda_toolkit: bool = False) -> Stack:
    """What the resolver says for a card on a suite."""
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
    """The plan's driver for a GTX 1060 by bare apt, its module compiled for the installed kernel: about 6 CPU-minutes.

    The role then finds its packages there, and does everything else itself: sources, blacklist, holds, record.
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
    """What a script of root writes over the base of a suite, from the cache or now."""
    recipe = hashlib.sha256(f"{base.recipe(suite)}\n{script}".encode()).hexdigest()[:12]
    place = base.cache() / f"{suite}-{name}-{recipe}"
    base.build(suite)
    with (place.parent / f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            with Bed(f"layer-{name}", suite=suite) as bed:
                (bed.root / "root/layer.sh").write_text(script)
                done = bed.run("sudo sh /root/layer.sh", timeout_s=60 * MINUTES_TO_BUILD)
                place.with_name(f"{place.name}.log").write_text(done.stdout + done.stderr)
                assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
                (bed.root / "root/layer.sh").unlink()
                bed.halt()
                for own in ("etc/ssh/sshd_config.d/bed.conf", "etc/resolv.conf"):
                    (bed.written / own).unlink(missing_ok=True)
                shutil.move(bed.written, place)
    return place
