"""Theme "driver", second part: the driver's configuration, and whether it still works after the next boot."""

from __future__ import annotations

import re

from bench.health.causes import remedies
from bench.health.causes.explain import EVIDENCE, blocking
from bench.health.causes.situation import Situation
from bench.health.check import CheckOutcome, Subject, check, passed, skipped, value, warned
from inventory.machine.records import Machine, Package


@check(
    "driver.next-boot",
    title="Driver after the next boot",
    scope="machine",
    looks_at="/lib/modules and DKMS for the newest installed kernel",
    limits="nvidia.ko exists for that kernel",
    source="files of the running system",
    fix="DKMS: sudo apt install linux-headers-KERNEL && sudo dkms autoinstall -k KERNEL; prebuilt: sudo apt install "
    "linux-modules-nvidia-BRANCH-KERNEL",
    needs={"nvml": "NVML", "installation.kernels": "installed kernels"},
    optional=EVIDENCE,
    unread="warn",
)
def next_boot(machine: Machine) -> CheckOutcome:
    """A kernel update takes effect at the next boot. If no module exists for the new kernel, the driver does
    not work after that boot, which may be long after the update."""
    if blocking(machine):
        return skipped("another check of the driver failed")
    kernels = [k for k in value(machine.installation.kernels, "installed kernels") if k.bootable]
    running = next((k for k in kernels if k.release == machine.host.kernel), None)
    if running is None or not running.has_nvidia_module:
        return skipped("the file of the running module is not visible here")
    newest = kernels[-1]
    built = any(newest.release in d.built_for for d in machine.installation.dkms.value or ())
    if newest.has_nvidia_module or built:
        return passed(f"kernel {newest.release} has the module", newest.release)
    situation = Situation(machine)
    compiles = situation.kind in ("dkms", "packages")
    missing = " and no headers to build one" if compiles and not newest.has_headers else ""
    remedy = remedies.build(situation, newest.release, running=False)
    return warned(
        f"kernel {newest.release}, which the next boot starts, has no NVIDIA module{missing}",
        newest.release,
        remedy=remedy.text,
    )


@check(
    "driver.nouveau-blocked",
    title="nouveau blocked",
    scope="machine",
    looks_at="modprobe's configuration and the kernel's command line",
    limits="the check warns if nouveau is not blacklisted",
    source="NVIDIA driver README, chapter on nouveau",
    fix="echo 'blacklist nouveau' | sudo tee /etc/modprobe.d/blacklist-nouveau.conf && sudo update-initramfs -u",
    needs={
        "nvml": "NVML",
        "installation.nouveau_blacklisted": "modprobe's configuration",
        "installation.kernels": "installed kernels",
    },
    optional=EVIDENCE,
    unread="warn",
)
def nouveau_blocked(machine: Machine) -> CheckOutcome:
    """At boot the first driver that is loaded binds the card. NVIDIA's packages blacklist nouveau; a manual
    installation of the driver may not do so."""
    if blocking(machine):
        return skipped("another check of the driver failed")
    blocked = value(machine.installation.nouveau_blacklisted, "modprobe's configuration")
    kernels = value(machine.installation.kernels, "installed kernels")
    if not any(k.has_nvidia_module for k in kernels):
        return skipped("the file of the running module is not visible here")
    return (
        passed("nouveau is blacklisted", True, True)
        if blocked
        else warned("nouveau may bind the card at the next boot", False, True)
    )


_CORE = re.compile(r"libcuda1$|libnvidia-(ml1$|compute-)|nvidia-(driver|kernel|dkms|open)(-|$)")
"""Packages whose version begins with the driver's branch."""


def _branch(package: Package) -> str | None:
    """The driver branch: 535 for 535.261.03-1 and 1:535.261.03-1ubuntu1; None for 1.1.0-2 and 20220217+3."""
    match = re.match(r"(?:\d+:)?(\d{3})\.\d", package.version)
    return match.group(1) if match else None


@check(
    "driver.packages",
    title="Driver packages on hold",
    scope="machine",
    looks_at="dpkg's status of the driver's packages, and unattended upgrades",
    limits="either all packages are on hold or none is",
    applies_to="Debian and Ubuntu",
    source="reports of version mismatches after partial holds and unattended upgrades",
    fix="hold all of them: dlbox provision; or remove all holds: sudo apt-mark unhold NAME",
    needs={"installation.packages": "driver packages"},
    unread="warn",
)
def packages(machine: Machine) -> CheckOutcome:
    """An automatic update of the driver's libraries while the old module runs stops every CUDA program until
    a reboot. Holding only some of the packages is worse: they get different versions.

    Packages with a version of their own (the libraries for Wayland and GBM, Debian's nvidia-support) cannot conflict
    with the module and do not count."""
    found = value(machine.installation.packages, "driver packages")
    if not found:
        return skipped("the driver was not installed from packages")
    branches = {_branch(p) for p in found if _CORE.match(p.name)} - {None}
    installed = [p for p in found if _branch(p) in branches] if branches else list(found)
    on_hold = [p for p in installed if p.held]
    if on_hold and len(on_hold) < len(installed):
        others = [p.name for p in installed if not p.held]
        return warned(
            f"{len(on_hold)} of {len(installed)} driver packages are on hold; not on hold: {', '.join(others[:4])}",
            len(on_hold),
            len(installed),
            remedy=f"sudo apt-mark hold {' '.join(others)}",
        )
    if on_hold:
        return passed(f"all driver packages are on hold ({len(installed)})", len(on_hold))
    note = (
        "; unattended upgrades may replace them while the driver is in use"
        if machine.installation.unattended_upgrades
        else ""
    )
    return passed(f"no driver package is on hold ({len(installed)} installed){note}", 0)


@check(
    "driver.device-nodes",
    title="Device nodes",
    scope="machine",
    looks_at="/dev/nvidia0, /dev/nvidia1 and so on, /dev/nvidiactl, /dev/nvidia-uvm",
    limits="one node for each card, and the two shared nodes",
    source="NVIDIA driver README; compared with the number of cards that NVML lists",
    fix="create them: sudo nvidia-modprobe -c 0 -u",
    needs={"nvml": "NVML"},
    unread="warn",
)
def device_nodes(machine: Machine) -> CheckOutcome:
    """CUDA opens these files. Each of them is passed to a container separately, so a single one may be missing."""
    if not machine.nvml.ok:
        return skipped("another check of the driver failed")
    nodes = {node.path for node in machine.installation.device_nodes}
    if not nodes:
        return skipped("no device nodes of the NVIDIA module are visible here")
    missing = [path for path in ("/dev/nvidiactl", "/dev/nvidia-uvm") if path not in nodes]
    numbered = sum(1 for path in nodes if path.removeprefix("/dev/nvidia").isdigit())
    if numbered < len(machine.gpus):
        missing.append(f"{len(machine.gpus) - numbered} of the nodes /dev/nvidia0, /dev/nvidia1 and so on")
    if missing:
        inside = machine.host.environment == "container"
        remedy = (
            "pass them to the container: docker run --gpus all ..., or list each device" if inside else None
        )
        return warned(f"missing: {', '.join(missing)}", numbered, len(machine.gpus), remedy=remedy)
    return passed(
        f"{numbered} of {len(machine.gpus)} card nodes and the shared nodes exist",
        numbered,
        len(machine.gpus),
    )


@check(
    "driver.persistence",
    title="Persistence mode",
    looks_at="NVML's persistence mode",
    limits="none for desktop cards, where off is the default; on for data-centre cards",
    source="NVIDIA driver persistence documentation",
    fix="sudo systemctl enable --now nvidia-persistenced",
    needs={"gpu.persistence": "persistence mode"},
    optional=("gpu.name",),
    unread="warn",
)
def persistence(subject: Subject) -> CheckOutcome:
    """With persistence mode off, the driver deinitialises the card when the last program closes it, and the next
    program waits about a second. On a machine with a screen the display keeps the card initialised."""
    on = value(subject.gpu.persistence, "persistence mode")
    if not on and subject.is_data_centre:
        return warned(
            "off: each start of a program initialises the card again, which takes seconds", on, True
        )
    return passed("on" if on else "off, the default of a desktop card", on)
