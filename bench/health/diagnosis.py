"""Why a card in the machine cannot be used: one named cause for each card.

Many different faults of a driver installation give the same few NVML codes. The cause follows from the code together
with the PCI bus, the loaded modules, the kernel log and the installed files.
"""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec

from inventory.cards import architectures
from inventory.cards.cards import architecture_of
from inventory.machine.records import Machine, PciCard


class Cause(StrEnum):
    """One cause of failure. Each has its own check with its own remedy."""

    NOUVEAU = "nouveau"
    PASSTHROUGH = "passthrough"
    NOT_INSTALLED = "not-installed"
    NOT_LOADED = "not-loaded"
    NOT_BUILT = "not-built"
    SECURE_BOOT = "secure-boot"
    FLAVOUR = "flavour"
    BRANCH = "branch"
    LIBRARY = "library"
    MISMATCH = "mismatch"
    PERMISSION = "permission"
    CABLES = "cables"
    LOST = "lost"
    UNSTABLE = "unstable"
    OTHER = "other"


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """Why NVML does not list a card; ``card`` is None if the cause concerns the whole machine."""

    cause: Cause
    card: PciCard | None = None
    detail: str = ""


_BY_CODE = {
    4: Cause.PERMISSION,
    8: Cause.CABLES,
    12: Cause.LIBRARY,
    15: Cause.LOST,
    16: Cause.LOST,
    18: Cause.MISMATCH,
}

_NEEDS_LEGACY = re.compile(r"supported through the NVIDIA (\d+)\.xx Legacy", re.IGNORECASE)
_NEEDS_CLOSED = re.compile(
    r"not supported by open|does not include the required GPU|open nvidia\.ko", re.IGNORECASE
)
_NEEDS_OPEN = re.compile(r"requires use of the NVIDIA open kernel modules", re.IGNORECASE)
_REFUSED = re.compile(
    r"Key was rejected by service|Loading of (unsigned )?module|Lockdown:.*module", re.IGNORECASE
)
_GONE = re.compile(r"fallen off the bus", re.IGNORECASE)


EVIDENCE = (
    "driver.module_version",
    "driver.module_flavour",
    "driver.library_version",
    "gpus.pci_address",
    "host.secure_boot",
    "installation.dkms",
    "installation.kernels",
    "installation.packages",
    "kernel_log",
)
"""Readings that show the cause of a fault. If NVML lists every card, a check can pass without them."""


def diagnose(machine: Machine) -> tuple[Diagnosis, ...]:
    """The cause for each card that NVML does not list; empty if there is no fault."""
    if machine.nvml.ok:
        return tuple(_of_card(machine, card) for card in absent(machine))
    if machine.cards:
        return tuple(_of_card(machine, card) for card in machine.cards)
    cause = _of_code(machine)
    # A computer without an NVIDIA card gives one of these two codes.
    if machine.nvml.code in (9, 12):
        return ()
    return (Diagnosis(cause=cause, detail=machine.nvml.why),)


def absent(machine: Machine) -> tuple[PciCard, ...]:
    """Cards on the bus that NVML does not list. At most as many cards as NVML's list is short of the bus."""
    missing = len(machine.cards) - len(machine.gpus)
    if missing <= 0:
        return ()
    listed = {gpu.pci_address.value for gpu in machine.gpus}
    return tuple(card for card in machine.cards if card.address not in listed)[-missing:]


def family(card: PciCard) -> str | None:
    """Architecture of a card by its PCI id; None if the id is not known."""
    return architecture_of(card.device_id)


def branch(machine: Machine) -> int | None:
    """Driver branch of the loaded module, else of the library: 580 for "580.65.06". None if neither is known."""
    for reading in (machine.driver.module_version, machine.driver.library_version):
        if reading.value and reading.value.partition(".")[0].isdigit():
            return int(reading.value.partition(".")[0])
    return None


def _of_code(machine: Machine) -> Cause:
    code = machine.nvml.code
    if machine.nvml.state == "no-permission":
        return Cause.PERMISSION
    if code is None:
        return Cause.UNSTABLE
    return _BY_CODE.get(code, Cause.OTHER)


def _of_card(machine: Machine, card: PciCard) -> Diagnosis:
    if card.driver in ("nouveau", "nova_core", "nova"):
        return Diagnosis(cause=Cause.NOUVEAU, card=card, detail=card.driver)
    if card.driver in ("vfio-pci", "vfio_pci", "xen-pciback", "pci-stub"):
        return Diagnosis(cause=Cause.PASSTHROUGH, card=card, detail=card.driver)
    if not machine.nvml.ok:
        cause = _of_code(machine)
        if cause not in (Cause.LIBRARY, Cause.OTHER) or machine.nvml.code not in (9, 12, 6, 28):
            return Diagnosis(cause=cause, card=card, detail=machine.nvml.why)
    return _module_side(machine, card)


def _module_side(machine: Machine, card: PciCard) -> Diagnosis:
    """The cause if the kernel module is not loaded, or is loaded but ignores this card."""
    log = "\n".join(machine.kernel_log.value.nvidia) if machine.kernel_log.value else ""
    if _GONE.search(log):
        return Diagnosis(
            cause=Cause.LOST, card=card, detail="the kernel log reports that the card fell off the bus"
        )
    loaded = machine.nvml.ok or machine.driver.module_version.ok or "nvidia" in machine.driver.modules
    wrong = _wrong_module(machine, card, log)
    if wrong is not None:
        return wrong
    if loaded:
        if machine.nvml.code == 12:
            return Diagnosis(cause=Cause.LIBRARY, card=card, detail=machine.nvml.why)
        return Diagnosis(
            cause=Cause.OTHER, card=card, detail="the NVIDIA module is loaded but ignores the card"
        )
    if _REFUSED.search(log) or (machine.host.secure_boot.value and _running_has_module(machine)):
        return Diagnosis(cause=Cause.SECURE_BOOT, card=card, detail=_last_line(log, _REFUSED))
    if _running_has_module(machine):
        return Diagnosis(cause=Cause.NOT_LOADED, card=card, detail=_last_line(log, re.compile("NVRM|nvidia")))
    if machine.installation.dkms.value or _driver_packages(machine):
        return Diagnosis(cause=Cause.NOT_BUILT, card=card)
    if machine.nvml.code == 9:
        return Diagnosis(cause=Cause.NOT_LOADED, card=card)
    return Diagnosis(cause=Cause.NOT_INSTALLED, card=card)


def _wrong_module(machine: Machine, card: PciCard, log: str) -> Diagnosis | None:
    """The cause if the driver's branch or the kind of its module does not support the card, else None.

    Uses the card's family and the messages of the module in the kernel log.
    """
    row = architectures.find(family(card))
    number, flavour = branch(machine), machine.driver.module_flavour.value
    legacy = _NEEDS_LEGACY.search(log)
    last, first = (row.last_branch, row.first_branch_of(card.device_id)) if row else (None, None)
    flavours = row.flavours if row else ("open", "closed")
    if legacy:
        return Diagnosis(
            cause=Cause.BRANCH,
            card=card,
            detail=f"the card's last branch is {legacy.group(1)}",
        )
    if last and number and number > last:
        return Diagnosis(cause=Cause.BRANCH, card=card, detail=f"the card's last branch is {last}")
    if first and number and number < first:
        return Diagnosis(cause=Cause.BRANCH, card=card, detail=f"the card's first branch is {first}")
    if (flavour == "open" and "open" not in flavours) or _NEEDS_CLOSED.search(log):
        return Diagnosis(cause=Cause.FLAVOUR, card=card, detail="the card needs the proprietary module")
    if (flavour == "closed" and "closed" not in flavours) or _NEEDS_OPEN.search(log):
        return Diagnosis(cause=Cause.FLAVOUR, card=card, detail="the card needs the open module")
    return None


def _running_has_module(machine: Machine) -> bool:
    kernels = machine.installation.kernels.value or ()
    return any(k.has_nvidia_module for k in kernels if k.release == machine.host.kernel)


def _driver_packages(machine: Machine) -> bool:
    packages = machine.installation.packages.value or ()
    return any(
        re.match(r"nvidia-(driver|dkms|kernel|open)|linux-modules-nvidia|cuda-drivers", p.name)
        for p in packages
    )


def _last_line(log: str, pattern: re.Pattern[str]) -> str:
    return next((line for line in reversed(log.splitlines()) if pattern.search(line)), "")
