"""Theme "driver": is there a driver, does it reach every card, will it still do so after the next boot?

One fault, one finding: ``bench.health.diagnosis`` names the cause, and only the check of that cause fails.
"""

from __future__ import annotations

from bench.health.check import Outcome, check, failed, passed, skipped, value
from bench.health.diagnosis import EVIDENCE, Cause, Diagnosis, branch, diagnose
from inventory.machine.records import Machine

_NVML = "NVML return codes of nvidia-ml-py 13.615"
_OLDEST_BRANCH = 525
"""CUDA 12 programs need it: CUDA minor version compatibility, driver >= 525.60.13."""
_CERTIFICATES = {"debian": "/var/lib/dkms/mok.pub", "ubuntu": "/var/lib/shim-signed/mok/MOK.der"}
"""Of the key that DKMS signs with: its own, and on Ubuntu the one that shim-signed makes
(dkms-project/dkms#104; reports from 22.04 and 24.04)."""
_ENROL = (
    "use the distribution's signed modules: dlbox provision; or enrol the signing key: "
    "sudo mokutil --import {}, reboot and confirm on the screen"
)


def _judged(machine: Machine, *causes: Cause, fine: str, trouble: str, remedy: str | None = None) -> Outcome:
    """Fail where a card has one of ``causes``, pass where NVML works, else skip: another check failed."""
    diagnoses = diagnose(machine)
    mine = [d for d in diagnoses if d.cause in causes]
    if mine:
        code = f" (NVML code {machine.nvml.code})" if machine.nvml.code is not None else ""
        return failed(f"{trouble}{_where(mine, machine)}{code}", mine[0].cause.value, remedy=remedy)
    if diagnoses or not machine.nvml.ok:
        return skipped("the driver has another fault: see what failed")
    return passed(fine)


def _where(diagnoses: list[Diagnosis], machine: Machine) -> str:
    """Which cards, and what is known beyond the cause's own name."""
    cards = ", ".join(f"{d.card.address} ({d.card.pci_id})" for d in diagnoses if d.card)
    known = ("nouveau", "vfio-pci", *([machine.nvml.why] if machine.nvml.code is not None else []))
    detail = next((d.detail for d in diagnoses if d.detail not in known), "")
    return (f": {cards}" if cards else "") + (f"; {detail}" if detail else "")


@check(
    "driver.loaded",
    title="NVIDIA driver",
    scope="machine",
    looks_at="whether NVML starts and lists every card that is on the PCI bus",
    limits="every card of the bus is listed",
    source=_NVML,
    fix="install the driver: dlbox provision",
    needs={"nvml": "NVML"},
    optional=(*EVIDENCE, "driver.cuda_version"),
)
def loaded(machine: Machine) -> Outcome:
    """The driver is a kernel module and a set of libraries of the same version. NVML, its management
    library, answers only when both are there. When they are not, nothing can use the card."""
    here = "in this container" if machine.host.environment == "container" else ""
    container = "start the container with GPU access: docker run --gpus all ..." if here else None
    found = {d.cause for d in diagnose(machine)}
    if Cause.NOT_INSTALLED in found:
        return _judged(
            machine,
            Cause.NOT_INSTALLED,
            fine="",
            trouble=f"no NVIDIA driver {here or 'is installed'}",
            remedy=container,
        )
    if Cause.NOT_LOADED in found:
        return _judged(
            machine,
            Cause.NOT_LOADED,
            fine="",
            remedy=container
            or "load it: sudo modprobe nvidia; then read why it was not loaded: sudo dmesg | grep -i nvrm",
            trouble="the NVIDIA kernel module is not loaded",
        )
    version = (
        machine.driver.library_version.value or machine.driver.module_version.value or "of unknown version"
    )
    cuda = f", CUDA up to {machine.driver.cuda_version.value}" if machine.driver.cuda_version.ok else ""
    outcome = _judged(
        machine,
        Cause.OTHER,
        fine=f"driver {version}{cuda}",
        trouble=f"NVML cannot use a card ({machine.nvml.why})"
        if not machine.nvml.ok
        else "NVML does not list a card that is on the bus",
        remedy="read the kernel log: sudo dmesg | grep -i nvrm; reboot; then reinstall: dlbox provision",
    )
    return passed(outcome.message, version) if outcome.status == "pass" else outcome


@check(
    "driver.library",
    title="Driver library",
    scope="machine",
    looks_at="whether libnvidia-ml.so.1 can be loaded",
    limits="present wherever the kernel module is loaded",
    source=_NVML + ", code 12",
    fix="install the driver's libraries: dlbox provision (on Debian: sudo apt install libnvidia-ml1)",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def library(machine: Machine) -> Outcome:
    """The kernel module is loaded, but the user-space library is missing or not on the loader's path."""
    return _judged(
        machine,
        Cause.LIBRARY,
        fine="libnvidia-ml.so.1 is loaded",
        trouble="the library libnvidia-ml.so.1 is missing",
    )


@check(
    "driver.mismatch",
    title="Driver library against kernel module",
    scope="machine",
    looks_at="NVML's own comparison of the library with the loaded kernel module",
    limits="the same version",
    source=_NVML + ", code 18",
    fix="reboot, so that the kernel loads the module that belongs to the library: sudo reboot",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def mismatch(machine: Machine) -> Outcome:
    """An update replaced the driver's files while the old kernel module kept running. Nothing is broken:
    the next boot loads the matching module. To keep it from happening, hold the driver's packages."""
    module, files = machine.driver.module_version.value, machine.driver.library_version.value
    versions = f" (module {module}, library {files})" if module and files and module != files else ""
    return _judged(
        machine,
        Cause.MISMATCH,
        fine="library and kernel module fit each other",
        trouble=f"the driver's library and its kernel module have different versions{versions}",
    )


@check(
    "driver.permission",
    title="Permission to use the cards",
    scope="machine",
    looks_at="NVML's answer and the device nodes /dev/nvidia*",
    limits="readable and writable for this user",
    source=_NVML + ", code 4",
    fix="sudo usermod -aG video,render $USER, then log in again; in a container give it the devices",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def permission(machine: Machine) -> Outcome:
    """Programs open /dev/nvidiactl, /dev/nvidia0 and /dev/nvidia-uvm. Some systems give these to a group."""
    closed = [node.path for node in machine.installation.device_nodes if not node.usable]
    if closed and machine.nvml.ok:
        return failed(f"this user may not use {', '.join(closed)}")
    return _judged(
        machine, Cause.PERMISSION, fine="this user may use the cards", trouble="the driver refuses this user"
    )


@check(
    "driver.nouveau",
    title="nouveau",
    scope="machine",
    looks_at="the kernel driver bound to each card in sysfs, and what modprobe is told",
    limits="not nouveau",
    source="sysfs; NVIDIA driver README, chapter on nouveau",
    fix="install the NVIDIA driver, which blocks nouveau: dlbox provision; then sudo reboot",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def nouveau(machine: Machine) -> Outcome:
    """nouveau is the free display driver of the Linux kernel. A card it holds cannot run CUDA programs, and
    NVIDIA's module cannot take the card from it while it runs."""
    return _judged(
        machine,
        Cause.NOUVEAU,
        fine="no card is held by nouveau",
        trouble="the card is held by the nouveau driver, which cannot compute",
    )


@check(
    "driver.passthrough",
    title="Cards given to virtual machines",
    scope="machine",
    looks_at="the kernel driver bound to each card in sysfs",
    limits="not vfio-pci",
    source="sysfs; kernel documentation of VFIO",
    fix="take the card out of the vfio-pci options in /etc/modprobe.d, run sudo update-initramfs -u, reboot",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def passthrough(machine: Machine) -> Outcome:
    """vfio-pci reserves a card for a virtual machine; this computer's own programs cannot use it."""
    return _judged(
        machine,
        Cause.PASSTHROUGH,
        fine="no card is reserved for a virtual machine",
        trouble="the card is reserved for a virtual machine",
    )


@check(
    "driver.secure-boot",
    title="Secure Boot",
    scope="machine",
    looks_at="the firmware's Secure Boot state, the kernel log, whether the module is loaded",
    limits="off, or a module signed with an enrolled key",
    source="EFI variable SecureBoot; kernel messages of module loading",
    fix=_ENROL.format("CERTIFICATE"),
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def secure_boot(machine: Machine) -> Outcome:
    """With Secure Boot on, the kernel loads only modules signed with a key that the firmware knows. A module
    built on this machine is signed with its own key, which you must enrol once."""
    state = machine.host.secure_boot
    words = (
        {True: "on, and the module is accepted", False: "off"}.get(bool(state.value))
        if state.ok
        else state.why
    )
    return _judged(
        machine,
        Cause.SECURE_BOOT,
        fine=f"Secure Boot: {words}",
        trouble="Secure Boot refuses the NVIDIA module",
        remedy=_ENROL.format(_CERTIFICATES.get(machine.host.distribution.id, _CERTIFICATES["debian"])),
    )


@check(
    "driver.flavour",
    title="Open or proprietary kernel module",
    scope="machine",
    looks_at="the loaded module's kind against the card's family, and the kernel log",
    limits="GTX 10 and older: proprietary; RTX 50: open; between them either",
    source="NVIDIA open-gpu-kernel-modules README; driver 615 release notes",
    fix="install the other kind of the module: dlbox provision",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def flavour(machine: Machine) -> Outcome:
    """NVIDIA ships the same driver with two kernel modules. The open one needs a Turing card or newer, and
    RTX 50 cards need the open one. With the wrong one the driver installs well and finds no card."""
    kind = machine.driver.module_flavour.value
    return _judged(
        machine,
        Cause.FLAVOUR,
        fine=f"the {kind} module drives the cards" if kind else "the cards are driven",
        trouble=f"the {kind + ' ' if kind else ''}kernel module does not drive this card",
    )


@check(
    "driver.branch",
    title="Driver branch",
    scope="machine",
    looks_at="the driver's version against the branches that support the card's family",
    limits="Maxwell, Pascal and Volta: up to 580; RTX 50: 570 or later; every card: 525 or later for CUDA 12",
    source="NVIDIA's list of supported GPUs (615.71) and CUDA compatibility guide",
    fix="install a branch that supports the card: dlbox plan shows which, dlbox provision installs it",
    needs={"nvml": "NVML", "driver.module_version | driver.library_version": "driver version"},
    optional=EVIDENCE,
)
def driver_branch(machine: Machine) -> Outcome:
    """Each driver branch drops old cards and knows new ones only from some version on. Frameworks in turn
    need a driver that is new enough for their CUDA version."""
    number = branch(machine)
    old = machine.nvml.ok and number is not None and number < _OLDEST_BRANCH
    if old and not diagnose(machine):
        return failed(
            f"driver branch {number} is too old for frameworks built on CUDA 12", number, _OLDEST_BRANCH
        )
    if machine.nvml.ok and number is None and not diagnose(machine):
        value(machine.driver.library_version, "driver version")
        return skipped(f"the version {machine.driver.library_version.value!r} is not of NVIDIA's form")
    outcome = _judged(
        machine,
        Cause.BRANCH,
        fine=f"branch {number} supports the cards",
        trouble=f"driver branch {number} does not support this card",
    )
    return passed(outcome.message, number) if outcome.status == "pass" else outcome


@check(
    "driver.module-built",
    title="Module for the running kernel",
    scope="machine",
    looks_at="/lib/modules and DKMS for the kernel that runs now",
    limits="nvidia.ko exists for it",
    source="files of the running system",
    fix="sudo apt install linux-headers-$(uname -r) && sudo dkms autoinstall",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def module_built(machine: Machine) -> Outcome:
    """The driver's packages are installed, but no module was built for this kernel: mostly because the
    kernel's headers were missing when the kernel was updated."""
    return _judged(
        machine,
        Cause.NOT_BUILT,
        fine="the running kernel has the module",
        trouble=f"the driver has no kernel module for kernel {machine.host.kernel}",
    )


@check(
    "driver.stable",
    title="NVML answers without crashing",
    scope="machine",
    looks_at="the child process in which NVML is asked",
    limits="ends by itself within its time limit",
    source="own measurement; NVML is known to crash and hang on cards that fell off the bus",
    fix="reboot; if it comes back, reseat the card and its power cables, then read: sudo dmesg | grep -i xid",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def stable(machine: Machine) -> Outcome:
    """NVML is asked in a process of its own, because on a sick card the library itself crashes or hangs."""
    return _judged(machine, Cause.UNSTABLE, fine="NVML answered", trouble="NVML cannot be asked")


@check(
    "driver.cables",
    title="Power cables of the card",
    scope="machine",
    looks_at="NVML's answer at start",
    limits="the card reports its extra power connectors as fed",
    source=_NVML + ", code 8",
    fix="switch off, plug every power connector of the card into the power supply, start again",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def cables(machine: Machine) -> Outcome:
    """Cards with extra power sockets refuse to work without them."""
    return _judged(
        machine, Cause.CABLES, fine="the cards have power", trouble="a card lacks its extra power cables"
    )


@check(
    "driver.lost",
    title="Card on the bus",
    scope="machine",
    looks_at="NVML's answer at start and the kernel log",
    limits="no card has fallen off the bus or waits for a reset",
    source=_NVML + ", codes 15 and 16; Xid 79",
    fix="switch the machine off and on; if it comes back, reseat the card, its power cables and riser, "
    "try another slot and look at the power supply",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def lost(machine: Machine) -> Outcome:
    """A card that no longer answers on PCI Express is gone until the next power cycle. Loose cards, weak
    power supplies, riser cables and heat are the usual causes."""
    return _judged(
        machine, Cause.LOST, fine="all cards are on the bus", trouble="a card has fallen off the bus"
    )
