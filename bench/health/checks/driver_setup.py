"""Theme "driver", second part: how it is set up, and whether it will still work after the next boot."""

from __future__ import annotations

import re

from bench.health.check import Outcome, Subject, check, passed, skipped, value, warned
from bench.health.diagnosis import EVIDENCE, diagnose
from inventory.machine.records import Machine, Package


@check(
    "driver.next-boot",
    title="Driver after the next boot",
    scope="machine",
    looks_at="/lib/modules and DKMS for the newest installed kernel",
    limits="nvidia.ko exists for it, or headers to build it from",
    source="files of the running system",
    fix="sudo apt install linux-headers-KERNEL && sudo dkms autoinstall -k KERNEL",
    needs={"nvml": "NVML", "installation.kernels": "installed kernels"},
    optional=EVIDENCE,
    unread="warn",
)
def next_boot(machine: Machine) -> Outcome:
    """A kernel update takes effect at the next boot. If no module exists for the new kernel, the driver is
    gone then, long after the update that caused it."""
    if diagnose(machine):
        return skipped("the driver has another fault: see what failed")
    kernels = [k for k in value(machine.installation.kernels, "installed kernels") if k.bootable]
    running = next((k for k in kernels if k.release == machine.host.kernel), None)
    if running is None or not running.has_nvidia_module:
        return skipped("where the running module comes from is not visible here")
    newest = kernels[-1]
    built = any(newest.release in d.built_for for d in machine.installation.dkms.value or ())
    if newest.has_nvidia_module or built:
        return passed(f"kernel {newest.release} has the module", newest.release)
    missing = "" if newest.has_headers else " and no headers to build it from"
    packages = newest.release if not newest.has_headers else ""
    return warned(
        f"kernel {newest.release}, which the next boot starts, has no NVIDIA module{missing}",
        newest.release,
        remedy=("sudo apt install linux-headers-" + packages + " && " if packages else "")
        + f"sudo dkms autoinstall -k {newest.release}",
    )


@check(
    "driver.nouveau-blocked",
    title="nouveau blocked",
    scope="machine",
    looks_at="modprobe's configuration and the kernel's command line",
    limits="nouveau is blacklisted; if not, it warns",
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
def nouveau_blocked(machine: Machine) -> Outcome:
    """At boot whichever driver comes first takes the card. NVIDIA's packages keep nouveau from loading; an
    installation by hand may have left that out."""
    if diagnose(machine):
        return skipped("the driver has another fault: see what failed")
    blocked = value(machine.installation.nouveau_blacklisted, "modprobe's configuration")
    kernels = value(machine.installation.kernels, "installed kernels")
    if not any(k.has_nvidia_module for k in kernels):
        return skipped("where the running module comes from is not visible here")
    return (
        passed("yes", True, True)
        if blocked
        else warned("nouveau may take the card at the next boot", False, True)
    )


_CORE = re.compile(r"libcuda1$|libnvidia-(ml1$|compute-)|nvidia-(driver|kernel|dkms|open)(-|$)")
"""Each carries the driver's branch at the head of its version, where that head is a branch."""


def _branch(package: Package) -> str | None:
    """535 of 535.261.03-1 and of 1:535.261.03-1ubuntu1; None of 1.1.0-2 and of 20220217+3."""
    head = re.match(r"(?:\d+:)?(\d{3})\.\d", package.version)
    return head.group(1) if head else None


@check(
    "driver.packages",
    title="Driver packages held",
    scope="machine",
    looks_at="dpkg's status of the driver's packages, unattended upgrades",
    limits="all held or none held",
    applies_to="Debian and Ubuntu",
    source="reports of version mismatches after partial holds and unattended upgrades",
    fix="hold all of them: dlbox provision; or let all go: sudo apt-mark unhold NAME",
    needs={"installation.packages": "driver packages"},
    unread="warn",
)
def packages(machine: Machine) -> Outcome:
    """An automatic update of the driver's libraries while the old module runs stops every CUDA program until
    a reboot. Holding only some of the packages makes it worse: they drift apart.

    Those that are versioned apart from the driver (Wayland's and GBM's glue, Debian's nvidia-support) cannot drift
    from its module and do not count."""
    found = value(machine.installation.packages, "driver packages")
    if not found:
        return skipped("the driver was not installed from packages")
    branches = {_branch(p) for p in found if _CORE.match(p.name)} - {None}
    installed = [p for p in found if _branch(p) in branches] if branches else list(found)
    held = [p for p in installed if p.held]
    if held and len(held) < len(installed):
        loose = [p.name for p in installed if not p.held]
        return warned(
            f"{len(held)} of {len(installed)} driver packages are held; loose: {', '.join(loose[:4])}",
            len(held),
            len(installed),
            remedy=f"sudo apt-mark hold {' '.join(loose)}",
        )
    if held:
        return passed(f"all held ({len(installed)})", len(held))
    note = (
        "; unattended upgrades may replace them while they run"
        if machine.installation.unattended_upgrades
        else ""
    )
    return passed(f"none held ({len(installed)} installed){note}", 0)


@check(
    "driver.device-nodes",
    title="Device nodes",
    scope="machine",
    looks_at="/dev/nvidia0 and on, /dev/nvidiactl, /dev/nvidia-uvm",
    limits="one for each card, and the two shared ones",
    source="NVIDIA driver README; compared with the number of cards that NVML lists",
    fix="create them: sudo nvidia-modprobe -c 0 -u",
    needs={"nvml": "NVML"},
    unread="warn",
)
def device_nodes(machine: Machine) -> Outcome:
    """CUDA opens these files. In containers they are given one by one, and one may have been forgotten."""
    if not machine.nvml.ok:
        return skipped("the driver has another fault: see what failed")
    nodes = {node.path for node in machine.installation.device_nodes}
    if not nodes:
        return skipped("this system shows no device nodes of the NVIDIA module")
    missing = [path for path in ("/dev/nvidiactl", "/dev/nvidia-uvm") if path not in nodes]
    numbered = sum(1 for path in nodes if path.removeprefix("/dev/nvidia").isdigit())
    if numbered < len(machine.gpus):
        missing.append(f"{len(machine.gpus) - numbered} of /dev/nvidia0 and on")
    if missing:
        return warned(f"missing: {', '.join(missing)}", numbered, len(machine.gpus))
    return passed(f"{numbered} of {len(machine.gpus)}, and the shared ones", numbered, len(machine.gpus))


@check(
    "driver.persistence",
    title="Persistence mode",
    looks_at="NVML's persistence mode",
    limits="none: off is the normal state of a desktop card",
    source="NVIDIA driver persistence documentation",
    fix="sudo systemctl enable --now nvidia-persistenced",
    needs={"gpu.persistence": "persistence mode"},
    unread="warn",
)
def persistence(subject: Subject) -> Outcome:
    """With persistence off, the driver forgets the card when the last program closes it, and the next one
    waits about a second. On a machine with a screen the display keeps it awake anyway."""
    on = value(subject.gpu.persistence, "persistence mode")
    return passed("on" if on else "off, which is normal for a desktop card", on)
