"""Theme "driver": whether a driver is installed and reaches every card.

One fault causes one failure: ``bench.health.causes`` compares all known causes with the evidence, and only the check of
the proven cause fails. If no cause is proven, ``driver.unusable`` fails and lists the likely ones.
"""

from __future__ import annotations

from typing import NamedTuple

from bench.health.causes.explain import EVIDENCE, blocking, explain
from bench.health.causes.records import UNPROVEN, Explanation, Suspect
from bench.health.causes.situation import OLDEST_BRANCH, Situation
from bench.health.check import CheckOutcome, check, failed, passed, skipped, value, warned
from inventory.machine.records import Machine

_NVML = "NVML return codes of nvidia-ml-py 13.615"


def _judged(machine: Machine, id: str, ok_message: str) -> CheckOutcome:  # noqa: A002 - the id of the check
    """Fail if ``id`` is the cause of a fault, warn if the card with the fault is not needed, pass if NVML works, else
    skip, because then another check fails."""
    mine = [explanation for explanation in explain(machine) if explanation.id == id]
    needed = [explanation for explanation in mine if explanation.blocking]
    if needed:
        remedy = needed[0].causes[0].remedy.text if needed[0].proven else _candidates_remedy(needed[0])
        return failed(_message(needed, machine), id.partition(".")[2], remedy=remedy)
    if machine.nvml.state == "not-in-source" and not blocking(machine):
        value(machine.nvml, "the output of nvidia-smi")
    if blocking(machine) or not machine.nvml.ok:
        return skipped("another check of the driver failed")
    if mine:
        return warned(
            f"{_message(mine, machine)}; training uses the other card", id.partition(".")[2],
            remedy=f"no action is needed for the other card; for this one: {mine[0].causes[0].remedy.text}",
        )  # fmt: skip
    return passed(ok_message)


def _message(mine: list[Explanation], machine: Machine) -> str:
    """The cause, the cards and the evidence; without a proven cause the candidates with their evidence."""
    cards = ", ".join(f"{e.card.address} ({e.card.pci_id})" for e in mine if e.card)
    where = f": {cards}" if cards else ""
    first = mine[0].causes[0]
    code = f" (NVML code {machine.nvml.code})" if machine.nvml.code is not None else ""
    if not mine[0].proven:
        listed = "; ".join(f"{number}. {_candidate(s)}" for number, s in enumerate(mine[0].causes, 1))
        what = (
            "a card is on the bus, but NVML does not list it"
            if machine.nvml.ok
            else "the card cannot be used"
        )
        return f"{what}{where}{code}; likely causes, in this order: {listed}"
    also = dict.fromkeys(s.title for s in mine[0].causes[1:] if s.id != first.id)
    return (
        f"{first.title}{where}{code}; evidence: {'; '.join(first.evidence[:3])}"
        + (f"; also: {'; '.join(also)}" if also else "")
    )  # fmt: skip


def _candidate(suspect: Suspect) -> str:
    against = f"; against it: {'; '.join(suspect.against[:2])}" if suspect.against else ""
    return (
        f"{suspect.title} (for it: {'; '.join(suspect.evidence[:2])}{against}; to decide: {suspect.settle})"
    )


def _candidates_remedy(explanation: Explanation) -> str:
    first = explanation.causes[0]
    by_text: dict[str, list[str]] = {}
    for number, suspect in enumerate(explanation.causes, 1):
        by_text.setdefault(suspect.remedy.text, []).append(str(number))
    steps = [f"if it is {' or '.join(numbers)}: {text}" for text, numbers in by_text.items()]
    return "; ".join((f"first: {first.settle}", *steps)) if len(explanation.causes) > 1 else first.remedy.text


class _Row(NamedTuple):
    """A check that fails if its cause is the proven one."""

    id: str
    title: str
    looks_at: str
    limits: str
    source: str
    fix: str
    ok_message: str
    explanation: str


def _register(row: _Row) -> None:
    @check(
        row.id,
        title=row.title,
        scope="machine",
        looks_at=row.looks_at,
        limits=row.limits,
        source=row.source,
        fix=row.fix,
        explanation=row.explanation,
        needs={"nvml": "NVML"},
        optional=EVIDENCE,
    )
    def judge(machine: Machine) -> CheckOutcome:
        return _judged(machine, row.id, row.ok_message)


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
    driver = machine.driver
    version = driver.library_version.value or driver.module_version.value or "of unknown version"
    cuda = f", CUDA up to {driver.cuda_version.value}" if driver.cuda_version.ok else ""
    outcome = _judged(machine, "driver.loaded", f"driver {version}{cuda}")
    return passed(outcome.message, version) if outcome.status == "pass" else outcome


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
        inside = machine.host.environment == "container"
        remedy = (
            "pass the devices /dev/nvidia* to the container with read and write permission"
            if inside
            else None
        )
        return failed(f"this user has no permission to use {', '.join(closed)}", remedy=remedy)
    return _judged(machine, "driver.permission", "this user has permission to use the cards")


@check(
    "driver.secure-boot",
    title="Secure Boot",
    scope="machine",
    looks_at="the firmware's Secure Boot state, the kernel log, whether the module is loaded",
    limits="Secure Boot is off, or the module is signed with an enrolled key",
    source="EFI variable SecureBoot; kernel messages of module loading",
    fix="install the distribution's signed modules: dlbox provision; or enrol the signing key: sudo mokutil --import "
    "CERTIFICATE, reboot and confirm on the screen",
    needs={"nvml": "NVML"},
    optional=EVIDENCE,
)
def secure_boot(machine: Machine) -> CheckOutcome:
    """With Secure Boot on, the kernel loads only modules signed with a key that the firmware trusts. A module
    built on this machine is signed with the machine's own key, which you have to enrol once. The check fails only if
    the kernel log has the refusal; a module that wrote to the log was not refused."""
    state = machine.host.secure_boot
    text = (
        {True: "on, and the kernel accepts the module", False: "off"}[bool(state.value)]
        if state.ok
        else state.why
    )
    return _judged(machine, "driver.secure-boot", f"Secure Boot: {text}")


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
    return _judged(machine, "driver.flavour", f"the {kind + ' ' if kind else ''}module supports the cards")


@check(
    "driver.branch",
    title="Driver branch",
    scope="machine",
    looks_at="the driver's version, and the branches that support the card's family",
    limits="Maxwell, Pascal and Volta: up to 580; RTX 50: 570 or later; every card: 525 or later for CUDA 12; a card "
    "for the display beside another card gives a warning",
    source="NVIDIA's list of supported GPUs (615.71) and CUDA compatibility guide",
    fix="install a branch that supports the card: dlbox plan shows the branch, dlbox provision installs it",
    needs={"nvml": "NVML", "driver.module_version | driver.library_version": "driver version"},
    optional=EVIDENCE,
)
def driver_branch(machine: Machine) -> CheckOutcome:
    """New driver branches no longer support old cards, and old branches do not support new cards. Frameworks
    in turn need a driver that is new enough for their CUDA version."""
    number = Situation(machine).branch
    if machine.nvml.ok and not blocking(machine):
        if number is not None and number < OLDEST_BRANCH:
            return failed(
                f"driver branch {number} is too old for frameworks built on CUDA 12", number, OLDEST_BRANCH
            )
        if number is None:
            value(machine.driver.library_version, "driver version")
            return skipped(
                f"the version {machine.driver.library_version.value!r} does not have NVIDIA's format"
            )
    outcome = _judged(machine, "driver.branch", f"branch {number} supports the cards")
    return passed(outcome.message, number) if outcome.status == "pass" else outcome


_LOG = "the kernel log"
_FILES = "files of the running system"
_ROWS = (
    _Row(
        UNPROVEN, "Likely causes of an unusable card", "all evidence about a card that NVML does not list",
        "a cause is proven, or every card is listed", _NVML + "; the kernel log; sysfs; files of the driver",
        "try the listed causes in their order", "NVML lists every card",
        "If nothing proves why a card cannot be used, this check lists the likely causes, the likeliest first: what "
        "speaks for each, what speaks against it, and the command that decides.",
    ),
    _Row(
        "driver.library", "Driver library", "whether libnvidia-ml.so.1 can be loaded",
        "the library is present if the kernel module is loaded", _NVML + ", code 12",
        "install the driver's libraries: dlbox provision (on Debian: sudo apt install libnvidia-ml1)",
        "libnvidia-ml.so.1 is loaded",
        "The kernel module is loaded, but the user-space library is missing or not on the loader's path.",
    ),
    _Row(
        "driver.mismatch", "Driver library and kernel module",
        "NVML's comparison of the versions of library and loaded kernel module", "both have the same version",
        _NVML + ", code 18",
        "reboot, so that the kernel loads the module of the same version: sudo reboot; in a container: install the "
        "version of the host inside",
        "library and kernel module have the same version",
        "An update replaced the driver's files while the old kernel module was loaded: the next boot loads the "
        "matching module. To prevent this, hold the driver's packages. In a container the library must have the "
        "version of the host's module.",
    ),
    _Row(
        "driver.nouveau", "Other drivers of the card",
        "the kernel driver bound to each card in sysfs, and the configuration of modprobe",
        "the driver is not nouveau, nova or another driver of the kernel",
        "sysfs; NVIDIA driver README, chapter on nouveau; beclab/Olares#3963 (nova)",
        "install the NVIDIA driver, which blocks nouveau: dlbox provision; blacklist nova_core as nouveau; reboot",
        "no card is bound to nouveau or nova",
        "nouveau and nova are display drivers of the Linux kernel. A card that is bound to one of them cannot run CUDA "
        "programs, and NVIDIA's module cannot use the card meanwhile. nova binds as NovaCore.",
    ),
    _Row(
        "driver.passthrough", "Cards reserved for virtual machines", "the kernel driver bound to each card in sysfs",
        "the driver is not vfio-pci; a warning if another card works", "sysfs; kernel documentation of VFIO",
        "remove the card from the vfio-pci options in /etc/modprobe.d, run sudo update-initramfs -u, then reboot",
        "no card is reserved for a virtual machine",
        "vfio-pci reserves a card for a virtual machine; programs of the host cannot use it.",
    ),
    _Row(
        "driver.module-built", "Module for the running kernel", "/lib/modules and DKMS for the running kernel",
        "nvidia.ko exists for this kernel", _FILES,
        "sudo apt install linux-headers-$(uname -r) && sudo dkms autoinstall", "the running kernel has the module",
        "The driver's packages are installed, but no module was built for this kernel. The usual cause: the kernel's "
        "headers were missing when the kernel was updated.",
    ),
    _Row(
        "driver.prebuilt-missing", "Prebuilt module for the running kernel",
        "/lib/modules and the installed packages linux-modules-nvidia-*",
        "Ubuntu's prebuilt nvidia.ko exists for this kernel", _FILES + "; names of Ubuntu's packages",
        "sudo apt install linux-modules-nvidia-BRANCH-KERNEL and the metapackage that follows the kernel's series",
        "no prebuilt module is missing",
        "Ubuntu's prebuilt modules follow a series of kernels by a metapackage. If the kernel came by another "
        "metapackage, such as the one of the hardware enablement stack, it has no module. DKMS is not used there.",
    ),
    _Row(
        "driver.build-failed", "Compilation of the module", "DKMS' log of the last build for the running kernel",
        "the log has no error of the compiler", "/var/lib/dkms/nvidia*/*/build/make.log",
        "install a driver that compiles for this kernel: dlbox plan; or start the kernel before",
        "no build of the module failed",
        "An older driver does not compile for a newer kernel, whose interfaces have changed.",
    ),
    _Row(
        "driver.compiler", "Compiler of the module", _LOG + " and DKMS' build log",
        "the module was compiled for this kernel, with its compiler", "messages of the module loader; make.log",
        "install the compiler that built the kernel, and build the module again: sudo dkms autoinstall",
        "the module fits the kernel",
        "The kernel refuses a module that was compiled for another kernel. A compiler older than the kernel's does not "
        "know the options of its build.",
    ),
    _Row(
        "driver.switched-off", "Card switched off", "modprobe's configuration, udev rules, the kernel command line",
        "nothing blocks the module nvidia or removes the card from the bus",
        "modprobe.d(5); canonical nvidia-prime",
        "switch the card on: sudo prime-select nvidia; or remove the lines; then reboot",
        "the configuration does not switch the card off",
        "prime-select and similar programs switch the card of a laptop off: they block NVIDIA's module, and a udev "
        "rule removes the card from the bus, so that it is on no list.",
    ),
    _Row(
        "driver.bar-space", "Address space of the card", _LOG + " and the memory regions in sysfs",
        "BAR 1 of each card has an address", "messages of the kernel and of NVIDIA's module",
        "firmware setup: switch on Above 4G Decoding and Resizable BAR, switch off CSM",
        "every card has its address space",
        "A card with much memory asks for a large memory region (BAR 1). Older boards give it no address unless Above "
        "4G Decoding is on.",
    ),
    _Row(
        "driver.gsp-firmware", "GSP firmware", _LOG + " and the files below /lib/firmware/nvidia",
        "the firmware of the module's version is installed", "messages of NVIDIA's module",
        "install module and firmware of one version: dlbox provision", "the module loads its firmware",
        "Cards from Turing on run a part of the driver on their GSP processor. Its firmware file must have the exact "
        "version of the module.",
    ),
    _Row(
        "driver.container-lost", "Card in the container", "NVML's return code and the device nodes in a container",
        "the container can open the card's device nodes", _NVML + ", code 999; NVIDIA/nvidia-container-toolkit#1227",
        "restart the container, on its host", "the container has access to the cards",
        "A reload of systemd on the host can take the card away from a running container. NVML then reports an unknown "
        "error.",
    ),
    _Row(
        "driver.wsl", "Driver of Windows", "NVML under WSL2, and driver packages inside it",
        "the library of Windows' driver answers", _NVML + "; NVIDIA's guide to CUDA on WSL",
        "update NVIDIA's driver on Windows, then in PowerShell: wsl --shutdown", "NVML answers",
        "Under WSL2 the driver belongs to Windows. A Linux driver inside WSL2 hides it.",
    ),
    _Row(
        "driver.stable", "NVML answers without crashing", "the child process that queries NVML",
        "the process exits by itself within its time limit",
        "measured with dlbox; NVML is known to crash and hang on cards that fell off the bus",
        "reboot; if the fault returns, reseat the card and its power cables, then read: sudo dmesg | grep -i xid",
        "NVML answered", "A separate process queries NVML, because the library can crash or hang if a card is faulty.",
    ),
    _Row(
        "driver.cables", "Power cables of the card", "NVML's return code when it starts, and the kernel log",
        "the card reports power on its extra power connectors", _NVML + ", code 8",
        "switch off, connect every power connector of the card to the power supply, switch on",
        "the power cables are connected",
        "Cards with extra power connectors do not work unless all of them are connected.",
    ),
    _Row(
        "driver.lost", "Card on the bus", "NVML's return code when it starts, and the first fault in the kernel log",
        "no card fell off the bus or needs a reset", _NVML + ", codes 15 and 16; Xid 79",
        "switch the machine off and on; if the fault returns, reseat the card, its power cables and riser, try another "
        "slot and check the power supply",
        "all cards are on the bus",
        "A card that no longer answers on PCI Express stays unusable until the next power cycle. The usual causes are "
        "a loose card, a weak power supply, a riser cable and heat. The first message about the card counts: Xid "
        "154 and failed calls that follow are consequences.",
    ),
)  # fmt: skip

for _row in _ROWS:
    _register(_row)
