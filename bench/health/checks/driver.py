"""Theme "driver": whether a driver is installed and reaches every card.

One fault causes one failure: ``bench.health.diagnosis`` finds the cause, and only the check for that cause fails.
"""

from __future__ import annotations

from bench.health.check import CheckOutcome, check, failed, passed, skipped, value
from bench.health.diagnosis import EVIDENCE, Cause, Diagnosis, branch, diagnose
from inventory.machine.records import Machine

_NVML = "NVML return codes of nvidia-ml-py 13.615"
_OLDEST_BRANCH = 525
"""CUDA 12 programs need this branch: CUDA minor version compatibility requires driver >= 525.60.13."""
_CERTIFICATES = {"debian": "/var/lib/dkms/mok.pub", "ubuntu": "/var/lib/shim-signed/mok/MOK.der"}
"""Certificate of the key that DKMS signs with: its own key, and on Ubuntu the one that shim-signed creates
(dkms-project/dkms#104; reports from 22.04 and 24.04)."""
_ENROL = (
    "install the distribution's signed modules: dlbox provision; or enrol the signing key: "
    "sudo mokutil --import {}, reboot and confirm on the screen"
)


def _judged(
    machine: Machine, *causes: Cause, ok_message: str, fault_message: str, remedy: str | None = None
) -> CheckOutcome:
    """Fail if a card has one of ``causes``, pass if NVML works, else skip, because then another check fails."""
    diagnoses = diagnose(machine)
    mine = [d for d in diagnoses if d.cause in causes]
    if mine:
        code = f" (NVML code {machine.nvml.code})" if machine.nvml.code is not None else ""
        return failed(f"{fault_message}{_where(mine, machine)}{code}", mine[0].cause.value, remedy=remedy)
    if diagnoses or not machine.nvml.ok:
        return skipped("another check of the driver failed")
    return passed(ok_message)


def _where(diagnoses: list[Diagnosis], machine: Machine) -> str:
    """The PCI addresses of the cards, and the detail of the diagnosis if it adds something to the cause."""
    cards = ", ".join(f"{d.card.address} ({d.card.pci_id})" for d in diagnoses if d.card)
    known = ("nouveau", "vfio-pci", *([machine.nvml.why] if machine.nvml.code is not None else []))
    detail = next((d.detail for d in diagnoses if d.detail not in known), "")
    return (f": {cards}" if cards else "") + (f"; {detail}" if detail else "")


@check(
    "driver.loaded",
    title="NVIDIA driver",
    scope="machine",
    looks_at="whether NVML starts and lists every card on the PCI bus",
    limits="NVML lists every card on the bus",
    source=_NVML,
    fix="install the driver: dlbox provision",
    needs={"nvml": "NVML"},
    optional=(*EVIDENCE, "driver.cuda_version"),
)
def loaded(machine: Machine) -> CheckOutcome:
    """The driver is a kernel module and a set of libraries of the same version. NVML, its management
    library, answers only if both are present. Without them no program can use the card."""
    here = "in this container" if machine.host.environment == "container" else ""
    container = "start the container with GPU access: docker run --gpus all ..." if here else None
    causes = {d.cause for d in diagnose(machine)}
    if Cause.NOT_INSTALLED in causes:
        return _judged(
            machine,
            Cause.NOT_INSTALLED,
            ok_message="",
            fault_message=f"no NVIDIA driver {here or 'is installed'}",
            remedy=container,
        )
    if Cause.NOT_LOADED in causes:
        return _judged(
            machine,
            Cause.NOT_LOADED,
            ok_message="",
            remedy=container
            or "load the module: sudo modprobe nvidia; if that fails, read why: sudo dmesg | grep -i nvrm",
            fault_message="the NVIDIA kernel module is not loaded",
        )
    version = (
        machine.driver.library_version.value or machine.driver.module_version.value or "of unknown version"
    )
    cuda = f", CUDA up to {machine.driver.cuda_version.value}" if machine.driver.cuda_version.ok else ""
    outcome = _judged(
        machine,
        Cause.OTHER,
        ok_message=f"driver {version}{cuda}",
        fault_message=f"NVML cannot use a card ({machine.nvml.why})"
        if not machine.nvml.ok
        else "a card is on the bus, but NVML does not list it",
        remedy="read the kernel log: sudo dmesg | grep -i nvrm; reboot; else reinstall: dlbox provision",
    )
    return passed(outcome.message, version) if outcome.status == "pass" else outcome


@check(
    "driver.library",
    title="Driver library",
    scope="machine",
    looks_at="whether libnvidia-ml.so.1 can be loaded",
    limits="the library is present if the kernel module is loaded",
    source=_NVML + ", code 12",
    fix="install the driver's libraries: dlbox provision (on Debian: sudo apt install libnvidia-ml1)",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def library(machine: Machine) -> CheckOutcome:
    """The kernel module is loaded, but the user-space library is missing or not on the loader's path."""
    return _judged(
        machine,
        Cause.LIBRARY,
        ok_message="libnvidia-ml.so.1 is loaded",
        fault_message="the library libnvidia-ml.so.1 is missing",
    )


@check(
    "driver.mismatch",
    title="Driver library and kernel module",
    scope="machine",
    looks_at="NVML's comparison of the versions of library and loaded kernel module",
    limits="both have the same version",
    source=_NVML + ", code 18",
    fix="reboot, so that the kernel loads the module of the same version: sudo reboot",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def mismatch(machine: Machine) -> CheckOutcome:
    """An update replaced the driver's files while the old kernel module was loaded. Nothing is broken: the
    next boot loads the matching module. To prevent this, hold the driver's packages."""
    module, files = machine.driver.module_version.value, machine.driver.library_version.value
    versions = f" (module {module}, library {files})" if module and files and module != files else ""
    return _judged(
        machine,
        Cause.MISMATCH,
        ok_message="library and kernel module have the same version",
        fault_message=f"the driver's library and its kernel module have different versions{versions}",
    )


@check(
    "driver.permission",
    title="Permission to use the cards",
    scope="machine",
    looks_at="NVML's answer and the device nodes /dev/nvidia*",
    limits="this user can read and write the device nodes",
    source=_NVML + ", code 4",
    fix="sudo usermod -aG video,render $USER, then log in again; in a container pass the devices to the container",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def permission(machine: Machine) -> CheckOutcome:
    """Programs open /dev/nvidiactl, /dev/nvidia0 and /dev/nvidia-uvm. On some systems only members
    of a group may open them."""
    closed = [node.path for node in machine.installation.device_nodes if not node.usable]
    if closed and machine.nvml.ok:
        return failed(f"this user has no permission to use {', '.join(closed)}")
    return _judged(
        machine,
        Cause.PERMISSION,
        ok_message="this user has permission to use the cards",
        fault_message="the driver denies access to this user",
    )


@check(
    "driver.nouveau",
    title="nouveau",
    scope="machine",
    looks_at="the kernel driver bound to each card in sysfs, and the configuration of modprobe",
    limits="the driver is not nouveau",
    source="sysfs; NVIDIA driver README, chapter on nouveau",
    fix="install the NVIDIA driver, which blocks nouveau: dlbox provision; then sudo reboot",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def nouveau(machine: Machine) -> CheckOutcome:
    """nouveau is the open source display driver of the Linux kernel. A card that is bound to nouveau cannot
    run CUDA programs, and NVIDIA's module cannot use the card while nouveau does."""
    return _judged(
        machine,
        Cause.NOUVEAU,
        ok_message="no card is bound to nouveau",
        fault_message="the card is bound to the nouveau driver, which cannot run CUDA programs",
    )


@check(
    "driver.passthrough",
    title="Cards reserved for virtual machines",
    scope="machine",
    looks_at="the kernel driver bound to each card in sysfs",
    limits="the driver is not vfio-pci",
    source="sysfs; kernel documentation of VFIO",
    fix="remove the card from the vfio-pci options in /etc/modprobe.d, run sudo update-initramfs -u, then reboot",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def passthrough(machine: Machine) -> CheckOutcome:
    """vfio-pci reserves a card for a virtual machine; programs of the host cannot use it."""
    return _judged(
        machine,
        Cause.PASSTHROUGH,
        ok_message="no card is reserved for a virtual machine",
        fault_message="the card is reserved for a virtual machine",
    )


@check(
    "driver.secure-boot",
    title="Secure Boot",
    scope="machine",
    looks_at="the firmware's Secure Boot state, the kernel log, whether the module is loaded",
    limits="Secure Boot is off, or the module is signed with an enrolled key",
    source="EFI variable SecureBoot; kernel messages of module loading",
    fix=_ENROL.format("CERTIFICATE"),
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def secure_boot(machine: Machine) -> CheckOutcome:
    """With Secure Boot on, the kernel loads only modules signed with a key that the firmware trusts. A module
    built on this machine is signed with the machine's own key, which you have to enrol once."""
    state = machine.host.secure_boot
    state_text = (
        {True: "on, and the kernel accepts the module", False: "off"}.get(bool(state.value))
        if state.ok
        else state.why
    )
    return _judged(
        machine,
        Cause.SECURE_BOOT,
        ok_message=f"Secure Boot: {state_text}",
        fault_message="Secure Boot rejects the NVIDIA module",
        remedy=_ENROL.format(_CERTIFICATES.get(machine.host.distribution.id, _CERTIFICATES["debian"])),
    )


@check(
    "driver.flavour",
    title="Open or proprietary kernel module",
    scope="machine",
    looks_at="the kind of the loaded module, the card's family, and the kernel log",
    limits="GTX 10 and older: proprietary; RTX 50: open; cards between them: either",
    source="NVIDIA open-gpu-kernel-modules README; driver 615 release notes",
    fix="install the other kind of module: dlbox provision",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def flavour(machine: Machine) -> CheckOutcome:
    """NVIDIA ships the driver with two kinds of kernel module. The open module needs a Turing card or newer,
    and RTX 50 cards need the open module. With the wrong module the driver
    installs without an error but finds no card."""
    kind = machine.driver.module_flavour.value
    return _judged(
        machine,
        Cause.FLAVOUR,
        ok_message=f"the {kind} module supports the cards" if kind else "the module supports the cards",
        fault_message=f"the {kind + ' ' if kind else ''}kernel module does not support this card",
    )


@check(
    "driver.branch",
    title="Driver branch",
    scope="machine",
    looks_at="the driver's version, and the branches that support the card's family",
    limits="Maxwell, Pascal and Volta: up to 580; RTX 50: 570 or later; every card: 525 or later for CUDA 12",
    source="NVIDIA's list of supported GPUs (615.71) and CUDA compatibility guide",
    fix="install a branch that supports the card: dlbox plan shows the branch, dlbox provision installs it",
    needs={"nvml": "NVML", "driver.module_version | driver.library_version": "driver version"},
    optional=EVIDENCE,
)
def driver_branch(machine: Machine) -> CheckOutcome:
    """New driver branches no longer support old cards, and old branches do not support new cards. Frameworks
    in turn need a driver that is new enough for their CUDA version."""
    number = branch(machine)
    old = machine.nvml.ok and number is not None and number < _OLDEST_BRANCH
    if old and not diagnose(machine):
        return failed(
            f"driver branch {number} is too old for frameworks built on CUDA 12", number, _OLDEST_BRANCH
        )
    if machine.nvml.ok and number is None and not diagnose(machine):
        value(machine.driver.library_version, "driver version")
        return skipped(f"the version {machine.driver.library_version.value!r} does not have NVIDIA's format")
    outcome = _judged(
        machine,
        Cause.BRANCH,
        ok_message=f"branch {number} supports the cards",
        fault_message=f"driver branch {number} does not support this card",
    )
    return passed(outcome.message, number) if outcome.status == "pass" else outcome


@check(
    "driver.module-built",
    title="Module for the running kernel",
    scope="machine",
    looks_at="/lib/modules and DKMS for the running kernel",
    limits="nvidia.ko exists for this kernel",
    source="files of the running system",
    fix="sudo apt install linux-headers-$(uname -r) && sudo dkms autoinstall",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def module_built(machine: Machine) -> CheckOutcome:
    """The driver's packages are installed, but no module was built for this kernel. The usual cause: the
    kernel's headers were missing when the kernel was updated."""
    return _judged(
        machine,
        Cause.NOT_BUILT,
        ok_message="the running kernel has the module",
        fault_message=f"the driver has no kernel module for kernel {machine.host.kernel}",
    )


@check(
    "driver.stable",
    title="NVML answers without crashing",
    scope="machine",
    looks_at="the child process that queries NVML",
    limits="the process exits by itself within its time limit",
    source="own measurement; NVML is known to crash and hang on cards that fell off the bus",
    fix="reboot; if the fault returns, reseat the card and its power cables, then read: sudo dmesg | grep -i xid",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def stable(machine: Machine) -> CheckOutcome:
    """A separate process queries NVML, because the library can crash or hang if a card is faulty."""
    return _judged(
        machine, Cause.UNSTABLE, ok_message="NVML answered", fault_message="NVML cannot be queried"
    )


@check(
    "driver.cables",
    title="Power cables of the card",
    scope="machine",
    looks_at="NVML's return code when it starts",
    limits="the card reports power on its extra power connectors",
    source=_NVML + ", code 8",
    fix="switch off, connect every power connector of the card to the power supply, switch on",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def cables(machine: Machine) -> CheckOutcome:
    """Cards with extra power connectors do not work unless all of them are connected."""
    return _judged(
        machine,
        Cause.CABLES,
        ok_message="the power cables are connected",
        fault_message="the extra power cables of a card are not connected",
    )


@check(
    "driver.lost",
    title="Card on the bus",
    scope="machine",
    looks_at="NVML's return code when it starts, and the kernel log",
    limits="no card fell off the bus or needs a reset",
    source=_NVML + ", codes 15 and 16; Xid 79",
    fix="switch the machine off and on; if the fault returns, reseat the card, its power cables and riser, "
    "try another slot and check the power supply",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def lost(machine: Machine) -> CheckOutcome:
    """A card that no longer answers on PCI Express stays unusable until the next power cycle. The usual causes
    are a loose card, a weak power supply, a riser cable and heat."""
    return _judged(
        machine, Cause.LOST, ok_message="all cards are on the bus", fault_message="a card fell off the bus"
    )
